"""Does the model behave as the project's ``expectations.py`` says, whatever the data says?"""

from collections.abc import Callable

import pandas as pd

from ml.expectations import Expectation, share_broken
from ml.training.bundle import Bundle


def test_expectation(
    expectation: Expectation, gate: Callable[..., None], candidate: Bundle, test_rows: pd.DataFrame
) -> None:
    """No more rows than it allows are answered against the expectation."""
    share = share_broken(expectation, candidate, test_rows)
    gate(
        "expectation",
        expectation.name,
        share,
        at_most=expectation.most_broken,
        note="(share of rows that break it)",
    )
