"""The settings of a source: where tables come from, and what is agreed on with who delivers them."""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, model_validator

from ml.settings import Settings, Share, Variable

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Role = Literal["labelled", "unlabelled"]
Count = Annotated[int, Field(gt=0)]


class Format(Settings):
    """How a text table is written; a sheet is of a spreadsheet. What is not said is the plain default.

    ``skip_lines`` stand before the header; ``skip_blanks`` says that one may stand behind each separator;
    ``empty`` are words that stand for no value, beside the usual.
    """

    separator: str = Field(default=",", min_length=1, max_length=3)
    encoding: str = "utf-8-sig"
    decimal: Literal[".", ","] = "."
    thousands: Literal[",", ".", " ", "'", "_"] | None = None
    skip_lines: int = Field(default=0, ge=0)
    skip_blanks: bool = False
    empty: list[str] = []
    sheet: str | None = None

    @property
    def csv_options(self) -> dict[str, Any]:
        """What tells pandas how to read such a text; ``empty`` is left to who knows the columns."""
        return {
            "sep": self.separator,
            "encoding": self.encoding,
            "decimal": self.decimal,
            "thousands": self.thousands,
            "skipinitialspace": self.skip_blanks,
            "skiprows": self.skip_lines,
        }


class Agreed(Settings):
    """What every kind of source may declare of its tables.

    ``labelled`` names the table (a path, a URL, a file with a query, …); a table that is joined or appended
    calls it ``table``. ``rows`` and ``min_rows``: how many are agreed on. ``max_seconds`` is the time to
    deliver them, ``max_age_days`` how old the newest delivery may be, where the source tells.
    ``join`` adds columns of other tables, ``append`` rows to the labelled ones; ``snapshot`` stands in when
    the source cannot be reached. ``number_rows`` names a column that is made, for a table without an id: the
    number of the row.
    """

    labelled: str = Field(validation_alias=AliasChoices("labelled", "table"))
    unlabelled: str | None = None
    join: list["Join"] = []
    append: list["AnyTable"] = []
    snapshot: "FilesSource | None" = None
    number_rows: str | None = None
    rows: dict[Role, Count] = {}
    min_rows: dict[Role, Count] = {}
    max_seconds: float | None = Field(default=None, gt=0)
    max_age_days: float | None = Field(default=None, gt=0)


class FilesSource(Agreed):
    """Tables in files: a path, a glob or a folder, relative to the project's folder or absolute.

    ``csv`` is what ``files`` was called when it read nothing else.
    """

    kind: Literal["csv", "files"] = "csv"
    sha256: dict[Role, Sha256] = {}
    format: Format = Format()


class UrlSource(Agreed):
    """Tables that a web server delivers; ``token_from`` names the variable that holds a bearer token.

    An unchanged file (``ETag``, ``Last-Modified``) is not fetched again. ``file_type`` is the ending that
    tells how to read it, if the URL has none.
    """

    kind: Literal["url"]
    sha256: dict[Role, Sha256] = {}
    format: Format = Format()
    file_type: Annotated[str, Field(pattern=r"^\.[a-z.]+$")] | None = None
    token_from: Variable | None = None
    retries: int = Field(default=3, ge=0, le=10)
    max_bytes: int = Field(default=2_000_000_000, gt=0)
    max_seconds: float | None = Field(default=300, gt=0)


class QueryCheck(Settings):
    """A query with one value that it must give, asked before the table is fetched."""

    sql: str
    name: str = ""
    equals: int | float | str | None = None
    between: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None

    @model_validator(mode="after")
    def _check(self) -> "QueryCheck":
        if (self.equals is None) == (self.between is None):
            raise ValueError("name either equals or between")
        return self


class SqlSource(Agreed):
    """Tables that queries give: ``labelled`` names a ``.sql`` file of the project's folder.

    The database is an SQLite file (``database``), or an SQLAlchemy URL in the variable that ``url_from``
    names. ``parameters`` are bound to the query's names (``:since``); ``days_ago`` to the day so many days
    before today.
    """

    kind: Literal["sql"]
    database: str | None = None
    url_from: Variable | None = None
    parameters: dict[str, int | float | str] = {}
    days_ago: dict[str, int] = {}
    checks: list[QueryCheck] = []
    max_seconds: float | None = Field(default=300, gt=0)

    @model_validator(mode="after")
    def _check(self) -> "SqlSource":
        if (self.database is None) == (self.url_from is None):
            raise ValueError("name either database (an SQLite file) or url_from (a variable with its URL)")
        return self


class FeedbackSource(Agreed):
    """What the service answered and what came true of it; ``labelled`` names the channel."""

    kind: Literal["feedback"]
    matured_days: float = Field(default=0, ge=0)


class DvcSource(Agreed):
    """Files of a DVC repository (a folder or a git URL) at a revision: a commit, a tag or a branch."""

    kind: Literal["dvc"]
    repository: Annotated[str, Field(pattern="^[^-]")] = "."
    revision: Annotated[str, Field(pattern="^[^-]")] | None = None
    format: Format = Format()
    max_seconds: float | None = Field(default=300, gt=0)


class CatboostSource(Settings):
    """A data set that ``catboost.datasets`` downloads, and the snapshot to use when it cannot be reached."""

    kind: Literal["catboost"]
    dataset: Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]
    timeout_seconds: float = Field(default=10, gt=0, le=3600)
    snapshot: FilesSource

    @model_validator(mode="after")
    def _check(self) -> "CatboostSource":
        tables = {"labelled"} | ({"unlabelled"} if self.snapshot.unlabelled else set())
        if set(self.snapshot.sha256) != tables:
            raise ValueError("snapshot.sha256 must name the sha256 of each snapshot table")
        return self


AnySource = Agreed | CatboostSource


def agreed_of(source: AnySource) -> Agreed:
    """Return what is agreed on of a source's tables; of a published data set its snapshot says so."""
    return source.snapshot if isinstance(source, CatboostSource) else source


def format_of(source: AnySource) -> Format:
    """Return how a source writes text tables; the plain default where it has no files."""
    written: Format = getattr(agreed_of(source), "format", Format())
    return written


AnyTable = Annotated[
    FilesSource | UrlSource | SqlSource | FeedbackSource | DvcSource, Field(discriminator="kind")
]


class Join(Settings):
    """Another table whose columns are added to each row by the key columns in ``on``, one partner at most.

    ``max_without_partner`` is the share of rows for which there need not be one.
    """

    source: AnyTable = Field(validation_alias="from")
    on: list[str] = Field(min_length=1)
    max_without_partner: Share = 0.0


for _kind in (FilesSource, UrlSource, SqlSource, FeedbackSource, DvcSource, CatboostSource, Join):
    _kind.model_rebuild()
