"""Whether a cause starts a training: never two at once, never what a person took back, not too often."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from ml.monitoring.looks import Training
from ml.monitoring.window import DAY
from ml.monitoring_settings import Cause, Monitoring
from ml.registry.channel import Move

# After so long nobody trains any more: what was asked for was refused, or never came to an end.
TRAINING_DAYS = 1.0
DEPLOYED, REFUSED, NOT_DEPLOYED = "deployed", "refused", "not deployed"
LOST = (REFUSED, NOT_DEPLOYED)


@dataclass(frozen=True)
class Decision:
    """Whether to train, and the reason; a reason not to train is told once, when it begins."""

    train: bool
    because: str = ""


def outcome_of(training: Training, moves: Iterable[Move], now: float) -> str | None:
    """Return what became of a training by the moves since; none as long as it may go on."""
    since = [one for one in moves if datetime.fromisoformat(one.at).timestamp() >= training.at]
    if any(one.action == "deploy" for one in since):
        return DEPLOYED
    if any(one.action in ("withdraw", "hold") for one in since):
        return REFUSED
    return NOT_DEPLOYED if now - training.at > TRAINING_DAYS * DAY else None


def decide(
    settings: Monitoring,
    cause: Cause,
    trainings: list[Training],
    moves: tuple[Move, ...],
    labels_since: int,
    now: float,
    hindered: str = "",
) -> Decision:
    """Return whether a cause starts a training now; ``labels_since`` are those the champion did not see.

    ``hindered`` says why no data can be built now, if that is so.
    """
    if cause not in ("concept", "drift and concept"):
        return Decision(False)
    if cause not in settings.train_on:
        return Decision(False, f"train again: monitoring.train_on does not name '{cause}', so a person may")
    last = moves[-1] if moves else None
    if last and last.action in ("rollback", "undeploy"):
        return Decision(False, f"a person took the channel back at {last.at}, so a person decides")
    if any(one.outcome is None for one in trainings):
        return Decision(False, f"a training is on since {_day(trainings[-1].at)}")
    if trainings:
        lost = 0
        for one in reversed(trainings):
            if one.outcome not in LOST:
                break
            lost += 1
        wait = settings.cool_down_days * 2**lost * DAY
        if now < trainings[-1].at + wait:
            told = f", {lost} refused in a row" if lost else ""
            return Decision(
                False,
                f"the last training was at {_day(trainings[-1].at)}{told}: the next one waits until "
                f"{_day(trainings[-1].at + wait)}",
            )
    if labels_since < settings.min_new_labels:
        return Decision(False, f"{labels_since} of at least {settings.min_new_labels} new labels came")
    if hindered:
        return Decision(False, f"the source does not deliver: {hindered}")
    return Decision(True, f"{labels_since} labels came since the champion was made")


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
