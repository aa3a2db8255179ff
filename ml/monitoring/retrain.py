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
# A look may die before anybody hears what it asks for: what has not begun by then is asked for once more.
BEGIN_HOURS = 6.0
DEPLOYED, REFUSED, NOT_DEPLOYED, NEVER_BEGAN = "deployed", "refused", "not deployed", "never began"
NOTHING_NEW = "nothing new"
LOST = (REFUSED, NOT_DEPLOYED, NEVER_BEGAN, NOTHING_NEW)


@dataclass(frozen=True)
class Decision:
    """Whether to train, and the reason; a reason not to train is told once, when it begins."""

    train: bool
    because: str = ""


def outcome_of(
    training: Training, moves: Iterable[Move], now: float, *, began: bool = True, unchanged: bool = False
) -> str | None:
    """Return what became of a training by the moves since; none as long as it may go on.

    ``began`` tells whether any training of the project began since it was asked for, ``unchanged`` whether a
    build since found the same rows, and so the same model.
    """
    since = [one for one in moves if datetime.fromisoformat(one.at).timestamp() >= training.at]
    if any(one.action == "deploy" for one in since):
        return DEPLOYED
    if any(one.action in ("withdraw", "hold") for one in since):
        return REFUSED
    if unchanged:
        return NOTHING_NEW
    if not began and now - training.at > BEGIN_HOURS * 3600:
        return NEVER_BEGAN
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
        return Decision(False, f"monitoring.train_on does not name '{cause}': a person may train")
    last = moves[-1] if moves else None
    if last and last.action in ("rollback", "undeploy"):
        return Decision(False, f"a person took the channel back at {last.at}, so a person decides")
    if any(one.outcome is None for one in trainings):
        return Decision(False, f"a training is on since {_day(trainings[-1].at)}")
    if trainings and not _once_more(trainings):
        lost = 0
        for one in reversed(trainings):
            if one.outcome not in LOST:
                break
            lost += 1
        wait = settings.cool_down_days * 2**lost * DAY
        if now < trainings[-1].at + wait:
            told = f", {lost} refused in a row" if lost else ""
            if trainings[-1].outcome == NOTHING_NEW:
                told = (
                    " and found no row that is new: let the source bring what production answered "
                    '([[source.append]], kind = "feedback")'
                )
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


def _once_more(trainings: list[Training]) -> bool:
    """Tell whether the last training never began, and the one before did."""
    last = [one.outcome for one in trainings[-2:]]
    return last[-1] == NEVER_BEGAN and last != [NEVER_BEGAN, NEVER_BEGAN]


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
