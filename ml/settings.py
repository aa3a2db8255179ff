"""The groups of settings of ``project.toml``: typed, frozen and validated."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Port = Annotated[int, Field(ge=1, le=65535)]
Share = Annotated[float, Field(ge=0, le=1)]
Variable = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]  # of the environment


class Settings(BaseModel):
    """A group of settings: unknown keys and wrong types are refused, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ChannelSettings(Settings):
    """Where a channel is served, and whether Jenkins asks a person before a version goes there.

    A plain number in ``project.toml`` is the port.
    """

    port: Port
    approval: bool = False

    @model_validator(mode="before")
    @classmethod
    def _of_a_port(cls, content: Any) -> Any:
        return {"port": content} if isinstance(content, int) else content


class Split(Settings):
    """How the labelled rows are divided: by a hash of the id, in groups, or in time.

    ``by`` is the column of the group (a customer is on one side), or of the time: the latest rows are the
    test, and ``gap_days`` before them, and before each fold of the cross-validation, are left out. With a
    ``validation_share`` candidates are compared on those rows instead of by cross-validation. A table that
    grows has a test of ``max_test_days`` at most, and a validation part of as many: what is newer is learned.
    """

    kind: Literal["hash", "group", "time"] = "hash"
    by: str | None = None
    test_share: float = Field(gt=0, lt=1)
    max_test_days: float | None = Field(default=None, gt=0)
    validation_share: float = Field(default=0, ge=0, lt=1)
    gap_days: float = Field(default=0, ge=0)

    @property
    def held_out_share(self) -> float:
        """The share of rows that no model is fitted on."""
        return self.test_share + self.validation_share

    @model_validator(mode="after")
    def _check(self) -> "Split":
        if (self.kind == "hash") != (self.by is None):
            raise ValueError('name the column in by, with kind = "group" or kind = "time"')
        if self.gap_days and self.kind != "time":
            raise ValueError('gap_days needs kind = "time"')
        if self.max_test_days is not None and self.kind != "time":
            raise ValueError('max_test_days needs kind = "time"')
        if self.held_out_share >= 1:
            raise ValueError("test_share and validation_share leave nothing to learn from")
        return self


class Versions(Settings):
    """Whether what the data stage built is kept so that it can be brought back.

    ``keep``: beside the versions of models. ``dvc``: in this remote (a folder, or a URL that DVC knows as
    ssh://, s3://, gdrive://), by the program ``dvc``.
    """

    keep: bool = False
    dvc: Annotated[str, Field(pattern="^[^-]")] | None = None


class Features(Settings):
    """The columns the estimator sees, and the functions of ``features.py`` that make some of them.

    A category with more than ``max_categories`` values is not written as one column a value.
    """

    functions: list[str] = []
    numeric: list[str] = []
    categorical: list[str] = []
    max_categories: int = Field(default=50, ge=2)

    @property
    def columns(self) -> list[str]:
        """All feature columns, numeric ones first."""
        return [*self.numeric, *self.categorical]

    @model_validator(mode="after")
    def _check(self) -> "Features":
        if not self.columns:
            raise ValueError("name at least one column in numeric or categorical")
        twice = sorted({column for column in self.columns if self.columns.count(column) > 1})
        if twice:
            raise ValueError(f"column named twice: {', '.join(twice)}")
        return self


class Training(Settings):
    """How candidates are compared: the scikit-learn scorer and the number of cross-validation folds.

    Of a larger table, ``max_rows`` are learned from, and of its test rows as many judge: those with the
    lowest hashes in each class. ``windows_days``: learn from so many newest days only, or since the rows came
    true otherwise, if that predicts the newest rows better than all. ``backend``: whether the search runs on
    this machine or a Dask cluster, which changes nothing in the model.
    """

    metric: str
    folds: int = Field(default=5, ge=2, le=50)
    max_rows: int | None = Field(default=None, ge=1000)
    windows_days: list[Annotated[float, Field(gt=0)]] = []
    backend: Literal["local", "dask"] = Field(default="local", exclude=True)


class Key(Settings):
    """A column whose values must be found in another table, a CSV file."""

    column: str
    file: str
    key: str


class Timeliness(Settings):
    """A column of ISO 8601 dates: the day it begins with, and how old the newest of them may be."""

    column: str
    max_age_days: float | None = Field(default=None, gt=0)
    first: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = None

    @model_validator(mode="after")
    def _check(self) -> "Timeliness":
        if self.max_age_days is None and self.first is None:
            raise ValueError("name max_age_days, first or both")
        return self


class Rows(Settings):
    """The rows in which a column has a value, or a text that matches a regular expression."""

    column: str
    value: int | float | str | bool | None = None
    matches: str | None = None

    @model_validator(mode="after")
    def _check(self) -> "Rows":
        if (self.value is None) == (self.matches is None):
            raise ValueError("name either a value or a regular expression in matches")
        try:
            re.compile(self.matches or "")
        except re.error as error:
            raise ValueError(f"matches is no regular expression: {error}") from error
        return self


class Usual(Settings):
    """What rows of a kind usually have in a column: a median, or certain values in most of them."""

    name: str
    rows: Rows
    column: str
    between: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    values: list[int | float | str] = []
    min_share: float = Field(default=1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> "Usual":
        if (self.between is None) == (not self.values):
            raise ValueError("name either between (of the median) or values")
        return self


class Lag(Settings):
    """A column that goes with another one of so many rows before, when the rows are in order."""

    column: str
    of: str
    order: str
    rows: int = 1


class DataGates(Settings):
    """What the labelled rows must satisfy beyond the contract; a gate that is left out is not run.

    The champion of the channel is the reference of ``max_row_change``, ``max_changed_rows``, ``max_unseen``,
    ``max_label_shift`` and of the drift measures: without one they are not run.
    """

    min_rows: int | None = Field(default=None, gt=0)
    max_row_change: Share | None = None
    max_changed_rows: Share | None = None
    max_missing: dict[str, Share] = {}
    max_duplicates: Share | None = None
    max_shared_rows: Share | None = None
    max_feature_score: float | None = Field(default=None, gt=0, le=1)
    keys: list[Key] = []
    timeliness: Timeliness | None = None
    max_garbled: Share | None = 0.0
    max_stretch: Share | None = None
    max_one_value: dict[str, Share] = {}
    usual: list[Usual] = []
    lags: list[Lag] = []
    max_unseen: Share | None = None
    max_label_shift: Share | None = None
    max_psi: float | None = Field(default=None, gt=0)
    max_ks: float | None = Field(default=None, gt=0, lt=1)
    max_cramers_v: float | None = Field(default=None, gt=0, lt=1)


class Slices(Settings):
    """Named parts of the test rows: single columns or crossings, and what each part must reach.

    ``bins`` cuts a column of numbers at the given values.
    """

    by: list[Annotated[list[str], Field(min_length=1)]] = Field(min_length=1)
    bins: dict[str, Annotated[list[float], Field(min_length=1)]] = {}
    min_rows: int = Field(default=20, ge=2)
    floor: float | None = None
    max_gap: float | None = Field(default=None, gt=0)


class Fairness(Settings):
    """Columns that must not decide by themselves, and how far their values may be treated differently."""

    sensitive: list[str] = Field(min_length=1)
    max_selection_rate_difference: Share | None = None
    max_error_rate_difference: Share | None = None


Damage = Literal["noise", "swapped categories", "missing values", "units", "text"]


class Gates(Settings):
    """What a candidate must satisfy to be blessed; a gate whose setting is left out is not run."""

    floors: dict[str, float] = Field(min_length=1)
    ceilings: dict[str, float] = {}
    min_gain_over_dummy: float | None = None
    min_gain_over_one_feature: float | None = None
    max_gap: float | None = None
    max_surprise: float | None = None
    max_score: float | None = None
    max_divergence: float | None = Field(default=None, gt=0)
    max_seed_spread: float | None = Field(default=None, gt=0)
    champion_tolerance: float | None = Field(default=None, ge=0)
    min_mcnemar_p: float | None = Field(default=None, gt=0, lt=1)
    slices: Slices | None = None
    fairness: Fairness | None = None
    max_damage: dict[Damage, float] = {}
    max_seconds_per_row: float | None = Field(default=None, gt=0)
    max_seconds_per_request: float | None = Field(default=None, gt=0)
    max_seconds_to_load: float | None = Field(default=None, gt=0)
    max_model_bytes: int | None = Field(default=None, gt=0)
    max_memory_bytes: int | None = Field(default=None, gt=0)


class Notify(Settings):
    """Who is told what, by variables that hold addresses as the library apprise writes them.

    ``team`` hears of refused gates, withdrawn candidates, failed builds and causes; ``data_owner`` of broken
    feeds. An address is mailto://…, slack://…, tgram://…, msteams://…, json://… (a web hook).
    """

    team: list[Variable] = []
    data_owner: list[Variable] = []


class Canary(Settings):
    """How a candidate is tried before it takes over, and what it must not do; without a champion it is not.

    ``shadow``: it scores what the champion answers. ``canary``: it answers a share of the requests.
    ``replay`` lets the deploy ask the test rows itself, until ``min_requests`` are reached, for a service
    that has no traffic yet. p50 and p99 may be ``max_latency_ratio`` times the champion's, and the slack.
    Answers are compared on the same rows: ``max_share_change`` is of the share of any class (of numbers: of
    the mean, in standard deviations), ``max_changed`` of rows that get another class (of numbers: of the
    variance). ``max_psi`` only warns. ``inconclusive``: what becomes of a candidate that could not be judged.
    """

    mode: Literal["none", "shadow", "canary"] = "none"
    share: float = Field(default=0.1, gt=0, lt=1)
    seconds: float = Field(default=60, gt=0, le=7 * 86400)
    min_requests: int = Field(default=200, ge=1)
    replay: bool = False
    max_error_rate_increase: Share = 0.01
    max_latency_ratio: float = Field(default=2.0, ge=1)
    latency_slack_seconds: float = Field(default=0.02, ge=0)
    max_share_change: Share = 0.1
    max_changed: Share = 0.2
    max_psi: float = Field(default=0.25, gt=0)
    max_quality_loss: Share = 0.05
    inconclusive: Literal["hold", "deploy", "withdraw"] = "hold"
