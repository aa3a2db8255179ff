"""What is asked of a source, and what it hands over."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from ml.errors import MlError
from ml.source_settings import Role

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pa

    from ml.data.gap_words import Words

# Of a larger table so many rows are in memory at a time; and so many are the sample that statistics look at.
BATCH_ROWS = 250_000


class SourceAway(MlError):
    """The source cannot be reached now: a snapshot may stand in for it."""


def secret(variable: str) -> str:
    """Return what a variable of the environment holds; one that is not set raises ``MlError``."""
    value = os.environ.get(variable)
    if not value:
        raise MlError(f"the variable {variable}, which project.toml names under its source, is not set")
    return value


@dataclass(frozen=True)
class Asked:
    """One table of a source: its name there, its role here, and the columns that are read as text.

    ``words`` are values of a text column that would be gaps elsewhere; ``contract`` is today's.

    ``folder`` is the project's: what is relative is looked for there. ``scratch`` is deleted at the end.
    """

    project: str
    folder: Path
    scratch: Path
    name: str
    role: Role = "labelled"
    text_columns: tuple[str, ...] = ()
    words: "Words" = field(default_factory=dict)
    target: str = ""
    id: str = ""
    personal: tuple[str, ...] = ()
    contract: "pa.DataFrameSchema | None" = None


Received = TypeVar("Received")


@dataclass(frozen=True)
class Tables(Generic[Received]):
    """The labelled rows, the rows without a target if there are any, and a line on where each comes from."""

    labelled: Received
    unlabelled: Received | None
    origin: str
    unlabelled_origin: str = ""


Batches: TypeAlias = "Iterator[pd.DataFrame]"
