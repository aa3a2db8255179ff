"""When a cause starts a training: not twice, not too often, not against a person."""

from datetime import UTC, datetime

import pytest

from ml.monitoring.looks import Training
from ml.monitoring.retrain import (
    DEPLOYED,
    NEVER_BEGAN,
    NOT_DEPLOYED,
    NOTHING_NEW,
    REFUSED,
    Decision,
    decide,
    outcome_of,
)
from ml.monitoring.window import DAY
from ml.monitoring_settings import Monitoring
from ml.registry.channel import Action, Move

NOW = 1_800_000_000.0
SETTINGS = Monitoring(train_on=["concept"], cool_down_days=7, min_new_labels=100)


def move(action: Action, days_ago: float) -> Move:
    at = datetime.fromtimestamp(NOW - days_ago * DAY, UTC).isoformat()
    return Move.model_validate({"version": 2, "from": 1, "action": action, "at": at})


def training(days_ago: float, outcome: str | None, number: int = 1) -> Training:
    return Training(number, NOW - days_ago * DAY, "concept", 1, outcome)


def asked(
    *trainings: Training, moves: tuple[Move, ...] = (), labels: int = 500, cause: str = "concept"
) -> Decision:
    return decide(SETTINGS, cause, list(trainings), moves, labels, NOW)  # type: ignore[arg-type]


def test_a_cause_that_is_named_starts_one() -> None:
    assert asked(moves=(move("deploy", 30),)).train


@pytest.mark.parametrize("cause", ["nothing", "drift", "broken feed", "labels", "service"])
def test_what_training_does_not_cure_starts_none(cause: str) -> None:
    assert asked(cause=cause) == Decision(False)


@pytest.mark.parametrize(
    ("decision", "because"),
    [
        (asked(cause="drift and concept"), "monitoring.train_on does not name 'drift and concept'"),
        (asked(labels=99), "99 of at least 100 new labels"),
        (asked(training(0.5, None)), "a training is on since"),
        (asked(training(6.9, DEPLOYED)), "the next one waits until"),
        (asked(training(13, REFUSED)), "1 refused in a row"),
        (asked(training(50, NOT_DEPLOYED), training(27, REFUSED, 2)), "2 refused in a row"),
        (asked(training(0.9, NEVER_BEGAN), training(0.5, NEVER_BEGAN, 2)), "2 refused in a row"),
        (asked(moves=(move("deploy", 9), move("rollback", 2))), "a person took the channel back"),
        (asked(moves=(move("deploy", 9), move("undeploy", 2))), "a person took the channel back"),
    ],
)
def test_a_reason_not_to_train_is_told(decision: Decision, because: str) -> None:
    assert not decision.train and because in decision.because


def test_it_goes_on_after_the_cool_down_and_after_a_deploy_by_hand() -> None:
    assert asked(training(7.1, DEPLOYED)).train
    assert asked(training(14.1, REFUSED)).train
    assert asked(training(20, DEPLOYED), training(0.3, NEVER_BEGAN, 2)).train, "nobody heard of it"
    assert asked(moves=(move("rollback", 9), move("deploy", 2))).train


@pytest.mark.parametrize(
    ("moves", "days_ago", "outcome"),
    [
        ([], 0.1, None),
        ([], 1.1, NOT_DEPLOYED),
        ([move("deploy", 5)], 0.1, None),
        ([move("shadow", 0.2), move("deploy", 0.1)], 0.5, DEPLOYED),
        ([move("shadow", 0.2), move("withdraw", 0.1)], 0.5, REFUSED),
    ],
)
def test_what_became_of_a_training_is_seen_in_the_channel(
    moves: list[Move], days_ago: float, outcome: str | None
) -> None:
    assert outcome_of(training(days_ago, None), moves, NOW) == outcome


def test_what_was_asked_for_and_never_began_is_over_after_some_hours() -> None:
    assert outcome_of(training(0.2, None), [], NOW, began=False) is None
    assert outcome_of(training(0.3, None), [], NOW, began=False) == NEVER_BEGAN
    assert outcome_of(training(0.3, None), [], NOW, began=True) is None
    assert outcome_of(training(0.3, None), [move("deploy", 0.1)], NOW, began=False) == DEPLOYED


def test_a_training_that_found_the_same_rows_is_over_and_says_what_to_do() -> None:
    assert outcome_of(training(0.1, None), [], NOW, began=False, unchanged=True) == NOTHING_NEW
    waits = asked(training(0.5, NOTHING_NEW))
    assert not waits.train and 'kind = "feedback"' in waits.because
