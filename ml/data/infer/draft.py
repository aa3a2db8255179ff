"""What was guessed of a table: typed, frozen, each guess with its reason and whether it is doubtful."""

from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["id", "target", "feature", "time", "group", "personal", "left out"]
Kind = Literal["whole number", "number", "category", "code", "date", "text", "objects"]
Task = Literal["classification", "regression"]

ROLES: tuple[Role, ...] = ("id", "target", "feature", "time", "group", "personal", "left out")
POSITIVE_WORDS = ("yes", "true", "y", "late", "bad", "default", "churn", "positive", "fraud", "failed")
PYTHON_TYPES: dict[Kind, str] = {"whole number": "int", "number": "float"}


@dataclass(frozen=True)
class Column:
    """One column: what it holds, what it is for, and the rules of the contract, in pandera's own names.

    ``date_format`` is how its dates are written, for ``strptime``.
    """

    name: str
    kind: Kind
    role: Role
    why: str
    doubtful: bool = False
    nullable: bool = False
    unique: bool = False
    rules: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    example: Any = None
    values: int = 0
    date_format: str | None = None

    @property
    def python_type(self) -> str:
        """The type that the contract gives it; a whole number that may be missing is a float to pandas."""
        return (
            "float" if self.nullable and self.kind == "whole number" else PYTHON_TYPES.get(self.kind, "str")
        )


@dataclass(frozen=True)
class Guess:
    """One guess about the table as a whole."""

    about: str
    guess: str
    why: str
    doubtful: bool = False


@dataclass(frozen=True)
class Draft:
    """Everything that was guessed: what the files of a project are written from.

    ``ordered`` are pairs of columns of which the first is never above the second.
    """

    target: str
    task: Task
    metric: str
    folds: int
    columns: tuple[Column, ...]
    ordered: tuple[tuple[str, str], ...] = ()
    guesses: tuple[Guess, ...] = ()

    def of(self, *roles: Role) -> list[Column]:
        """Return the columns of these roles, in the order of the table."""
        return [one for one in self.columns if one.role in roles]

    @property
    def id(self) -> str:
        """The column that names each row."""
        return self.of("id")[0].name

    @property
    def positive(self) -> str | None:
        """The class of two texts that scores of one class are about, if its name says so."""
        classes = next(one for one in self.columns if one.name == self.target).rules.get("isin", [])
        if len(classes) != 2 or not all(isinstance(one, str) for one in classes):
            return None
        found = [one for one in classes if one.lower() in POSITIVE_WORDS]
        return found[0] if len(found) == 1 else None

    @property
    def kept(self) -> list[Column]:
        """The columns that the contract has."""
        return [one for one in self.columns if one.role != "left out"]

    @property
    def numeric(self) -> list[str]:
        """The features that are numbers."""
        return [one.name for one in self.of("feature") if one.kind in ("number", "whole number")]

    @property
    def categorical(self) -> list[str]:
        """The features that are categories."""
        return [one.name for one in self.of("feature") if one.kind in ("category", "code")]

    @property
    def dates(self) -> list[Column]:
        """The columns of dates that features are made from."""
        return [one for one in self.of("feature", "time") if one.kind == "date"]

    @property
    def doubtful(self) -> list[str]:
        """What a person should look at, a line each."""
        told = [f"{one.about}: {one.guess}: {one.why}" for one in self.guesses if one.doubtful]
        told += [f"column '{one.name}': {one.role}: {one.why}" for one in self.columns if one.doubtful]
        return told + [f"column '{one.name}': {note}" for one in self.columns for note in one.notes]
