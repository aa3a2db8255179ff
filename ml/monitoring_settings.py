"""How the answers of a service are looked at, and what may follow: the group ``[monitoring]``."""

from typing import Literal

from pydantic import Field, model_validator

from ml.settings import Settings, Share

# What one look may find; monitoring/diagnosis.py says how.
Cause = Literal[
    "nothing",
    "drift",
    "concept",
    "drift and concept",
    "broken feed",
    "labels",
    "service",
    "source",
]


class Monitoring(Settings):
    """What one look of the monitor judges, when it is sure, and which causes start a training by themselves.

    A look is at the answers of the last ``window_days``, and at those of as many days before
    ``matured_days`` ago, whose labels must have come. ``max_loss_increase`` is of the mean loss of a row (log
    loss, error, absolute error) on the test rows, and so is ``max_miscalibration``, which answers put right
    would save. ``false_alarms_a_year`` holds for all looks of a year together. Each look asks the tables
    of the source whether they deliver as agreed (``ask_source``), and if told so (``labels_from_source``)
    what came true of the rows with the same id. ``train_on`` names the
    causes that start a training; the next one waits ``cool_down_days``, twice as long after each that was
    refused, and for ``min_new_labels``. What is older than ``keep_days`` is deleted from the store, and the
    oldest of more than ``keep_rows`` answers.
    """

    window_days: float = Field(default=7, gt=0)
    matured_days: float = Field(default=1, ge=0)
    min_rows: int = Field(default=200, ge=30)
    min_labels: int = Field(default=100, ge=30)
    looks_a_year: int = Field(default=8760, ge=1)
    false_alarms_a_year: float = Field(default=0.05, gt=0, lt=1)
    max_psi: float = Field(default=0.25, gt=0)
    max_missing_increase: Share = 0.1
    max_unseen: Share = 0.05
    max_loss_increase: float = Field(default=0.1, ge=0)
    max_miscalibration: float = Field(default=0.03, ge=0)
    max_milliseconds: float | None = Field(default=None, gt=0)
    ask_source: bool = True
    labels_from_source: bool = False
    train_on: list[Literal["concept", "drift and concept"]] = []
    cool_down_days: float = Field(default=7, ge=0)
    min_new_labels: int = Field(default=500, ge=1)
    keep_days: float = Field(default=400, gt=0)
    keep_rows: int = Field(default=20_000_000, ge=1000)

    @model_validator(mode="after")
    def _check(self) -> "Monitoring":
        if self.keep_days < 5 * self.window_days + self.matured_days:
            raise ValueError("keep_days must hold the window, the four before it, and matured_days")
        return self
