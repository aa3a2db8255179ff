"""The records that stages leave for each other, typed and frozen; nobody parses another's text.

``format`` counts what a record means: 2 since each gate says its kind. A record of format 1, in a version
that was registered before, is brought up to date when it is read.
"""

import hashlib
import json
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ml.errors import MlError, describe
from ml.monitoring_settings import Cause

FORMAT = 2
GateOutcome = Literal["passed", "warning", "refused", "not run"]
DeployOutcome = Literal["deployed", "already deployed", "withdrawn", "inconclusive"]
ALREADY_DEPLOYED: DeployOutcome = "already deployed"


class Part(BaseModel):
    """A record or a part of one: it is not changed, and what a later version may add to it is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Gate(Part):
    """One check that can refuse, and what came of it; ``kind`` is none for one that was not run."""

    gate: str
    kind: str | None = None
    outcome: GateOutcome
    message: str
    value: float | None = None
    threshold: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def about(self) -> str:
        """The name without the kind, e.g. the metric of a floor."""
        return self.gate.removeprefix(f"{self.kind}: ")


class Provenance(Part):
    """Where a process came from, and why it was started; none stands for what there is not."""

    git_commit: str | None
    git_clean: bool | None
    build_number: str | None
    build_url: str | None
    python: str
    platform: str
    lock_sha256: str
    why: str | None = None


class Score(Part):
    """A score of cross-validation: mean, standard deviation and the score of each fold."""

    mean: float
    standard_deviation: float
    folds: list[float]


class Record(Part):
    """What every record tells of its own run: what went in and came out (sha256 by name), when, how long.

    ``path`` is where the stage that it is ``made_by`` leaves it in the build folder.
    """

    made_by: ClassVar[str]
    path: ClassVar[str]

    format: int = 1
    stage: str
    project: str
    inputs: dict[str, Any]
    outputs: dict[str, str]
    finished: str
    seconds: float

    @model_validator(mode="before")
    @classmethod
    def _update(cls, content: Any) -> Any:
        return _with_kinds(content)


class LintReport(Record):
    """What a check of the code found, one line each."""

    made_by: ClassVar[str] = "lint"
    path: ClassVar[str] = "lint/manifest.json"
    findings: list[str]


class DataManifest(Record):
    """Where the rows came from, how many there are, what the gates found, and what drift is measured by."""

    made_by: ClassVar[str] = "data"
    path: ClassVar[str] = "data/manifest.json"
    source: str
    contract: str
    compared_with_version: int | None = None
    gates: list[Gate] = []
    rows_in: dict[str, int]
    rows_out: dict[str, int]
    reference_statistics: dict[str, dict[str, Any]]
    columns: dict[str, str] = {}

    @property
    def version(self) -> str:
        """The hash of these very rows as they were divided: equal data has equal versions."""
        tables = {name: self.outputs[name] for name in sorted(self.outputs) if name.endswith(".parquet")}
        return hashlib.sha256(json.dumps(tables).encode()).hexdigest()


class ModelManifest(Record):
    """What a model is, how it was chosen, what it was made of and by what; durations in seconds.

    It learned from the newest ``window_days`` (none: all rows); ``windows`` is what each choice scored.
    """

    made_by: ClassVar[str] = "train"
    path: ClassVar[str] = "model/manifest.json"
    estimator: str
    parameters: dict[str, Any]
    positive: int | float | str | bool | None = None
    cross_validation: dict[str, Score]
    training_score: float
    trials: int
    seeds: dict[str, int]
    window_days: float | None = None
    windows: dict[str, float] = {}
    data_sha256: dict[str, str]
    durations: dict[str, float]
    provenance: Provenance


class Judged(Part):
    """What the tests of the model found of one model, beside a champion if there was one."""

    blessed: bool
    model_sha256: str
    champion: int | None
    loosened: list[str] = []
    gates: list[Gate]


class Verdict(Judged, Record):
    """What was judged, and in which run."""

    made_by: ClassVar[str] = "quality"
    path: ClassVar[str] = "quality/verdict.json"


class Deployment(Record):
    """What became of a version in a channel, and the figures of its trial if there was one."""

    made_by: ClassVar[str] = "deploy"
    path: ClassVar[str] = "deploy/deployment.json"
    channel: str
    version: int
    previous_version: int | None
    target: str
    urls: list[str]
    sha256: str
    outcome: DeployOutcome
    why: list[str]
    warnings: list[str] = []
    trial: dict[str, Any] | None = None


class ColumnFigures(Part):
    """What became of an input column: shares of missing values, its move, and what is broken in it."""

    column: str
    missing: float
    missing_before: float
    psi: float | None
    moved: bool
    broken: str = ""


class BrokenColumn(Part):
    """A column that is broken, in all rows or a part of them, since when (Unix time), and in what."""

    column: str
    part: str
    begins: float
    why: str


class NotLearned(Part):
    """Labels that nobody learns from: of rows since a time (Unix time), of one sender or of all."""

    begins: float
    why: str
    sender: str | None = None


class QualityFigures(Part):
    """The mean loss of a part of the rows (none: all): on the test rows, and on labels that came true."""

    part: str
    before: float
    now: float
    error: float
    labels: int
    lost: bool


class StatedFigures(Part):
    """Rows of which about the same was stated: the mean of it, and of what came true."""

    stated: float
    true: float
    labels: int


class CalibrationFigures(Part):
    """What was stated against what came true, and what a row would save, were the answers put right by that.

    ``off`` tells whether they save surely and considerably more than on the test rows.
    """

    bins: list[StatedFigures]
    saved: float
    error: float
    saved_before: float
    off: bool


class Look(Record):
    """What one look of the monitor saw, the cause it names, and what it asks for.

    ``begins`` and ``ends`` are Unix times. ``estimated`` is the mean loss that is expected where labels have
    not come, with its interval. ``died`` is the build that trained last, if it came to no end.
    """

    made_by: ClassVar[str] = "monitor"
    path: ClassVar[str] = "monitor/look.json"
    channel: str
    version: int | None
    begins: float
    ends: float
    answers: int = 0
    labels: int = 0
    cause: Cause
    why: list[str] = []
    asks: Literal["", "train"] = ""
    because: str = ""
    columns: list[ColumnFigures] = []
    broken: list[BrokenColumn] = []
    not_learned: list[NotLearned] = []
    said: list[ColumnFigures] = []
    quality: list[QualityFigures] = []
    calibration: CalibrationFigures | None = None
    weighted: bool = False
    estimated: tuple[float, float, float] | None = None
    estimated_metrics: dict[str, float] = {}
    loss_before: float | None = None
    not_seen: list[str] = []
    figures: dict[str, float] = {}
    died: str = ""


class VersionRecord(Part):
    """A registered version: the digests that tell it from others, who registered it, and all its files."""

    format: int = 1
    version: int
    project: str
    identity: dict[str, str]
    registered: str
    provenance: Provenance
    outputs: dict[str, str]


RECORDS: dict[str, type[Record]] = {
    one.made_by: one for one in (LintReport, DataManifest, ModelManifest, Verdict, Deployment, Look)
}
AnyPart = TypeVar("AnyPart", bound=Part)
AnyRecord = TypeVar("AnyRecord", bound=Record)


def parse(kind: type[AnyPart], content: dict[str, Any], what: str) -> AnyPart:
    """Return a record from the content of its file; what is none raises ``MlError`` that names ``what``."""
    try:
        return kind.model_validate(content, strict=False)
    except ValidationError as error:
        raise MlError(f"{what} is no {kind.__name__}: {describe(error)}") from error


def _with_kinds(content: Any) -> Any:
    """Return a record of format 1 with the kind of each gate, which only its name told then."""
    if not isinstance(content, dict) or "gates" not in content or content.get("format", 1) >= FORMAT:
        return content
    gates = [{"kind": gate["gate"].partition(":")[0]} | gate for gate in content["gates"]]
    return content | {"gates": gates}
