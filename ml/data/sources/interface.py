"""What a source hands over."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Tables:
    """The labelled rows, the rows without a target if there are any, and a line on where each comes from."""

    labelled: pd.DataFrame
    unlabelled: pd.DataFrame | None
    origin: str
    unlabelled_origin: str = ""
