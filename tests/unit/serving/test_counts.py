"""What is counted of labels, whatever their kind is."""

from typing import Any

import pytest

from ml.serving.counts import Counts
from ml.serving.prometheus import Metrics
from ml.store.lookup import Answered


@pytest.mark.parametrize(
    ("said", "label", "outcome"),
    [
        (1, 1, "right"),
        ("no", "yes", "wrong"),
        (20.5, 21.0, "known"),
        (20.5, 21, "known"),
        (20.5, "warm", "wrong"),  # the target was a number when this was said
        ("warm", 20.5, "wrong"),
    ],
)
def test_a_label_is_compared_with_what_was_said(said: Any, label: Any, outcome: str) -> None:
    metrics = Metrics()
    Counts(metrics).labelled(Answered({3: said}), label)
    assert f'ml_feedback_total{{outcome="{outcome}",version="3"}} 1.0' in metrics.text().decode()


def test_what_both_versions_of_a_trial_said_is_compared_with_the_label() -> None:
    metrics = Metrics()
    Counts(metrics).labelled(Answered({3: 20.0, 4: 21.0}, candidate=4), 23.0)
    told = metrics.text().decode()
    assert 'ml_pair_sums{of="error",version="4"} -1.0' in told
    assert 'ml_pair_sums{of="champion error",version="4"} 3.0' in told
