"""The builds of a project, one line each: what Jenkins keeps of the score after it discarded a build.

``build/<project>/history.jsonl`` outlives the folders of the stages, and no stage takes it as an input.
"""

import json
import os
from pathlib import Path

from pydantic import ConfigDict, ValidationError

from ml.errors import MlError
from ml.files import read_json
from ml.project import Project
from ml.records import DataManifest, ModelManifest, Part, Verdict
from ml.registry.provenance import provenance
from ml.registry.versions import Registry
from ml.workspace import Workspace

FILE = "history.jsonl"  # in the build folder of the project
MAX_BUILDS = 100


class BuildFigures(Part):
    """One build: where it ran, what was decided, and the figures of its model; none for what there is not.

    ``champion_score`` is on the rows that the champion was not trained on, and ``score_beside`` the
    candidate's on the same ones; ``score`` is on all test rows. ``seconds`` is by stage.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    number: int | None = None
    url: str | None = None
    finished: str
    commit: str | None = None
    blessed: bool
    refused: str | None = None
    metric: str
    score: float | None = None
    low: float | None = None
    high: float | None = None
    champion: int | None = None
    champion_score: float | None = None
    score_beside: float | None = None
    train_rows: int
    test_rows: int
    seconds: dict[str, float] = {}

    @property
    def name(self) -> str:
        """What the build is called: its number, or when it ended by hand."""
        return f"#{self.number}" if self.number is not None else self.finished[5:16].replace("T", " ")

    def same_build(self, other: "BuildFigures") -> bool:
        """Tell whether both lines are of one build: of one number or, run by hand, of one end."""
        ours, theirs = (one.number or one.finished for one in (self, other))
        return ours == theirs


def figures_of(project: Project, workspace: Workspace, verdict: Verdict) -> BuildFigures:
    """Return the figures of this build from the records in its folder; ``MlError`` if one is missing."""
    data, model = workspace.record(DataManifest), workspace.record(ModelManifest)
    metric, source = project.training.metric, provenance()
    drawn = read_json(workspace.folder("quality") / "figures.json")
    beside = drawn.get("champion", {}).get(metric, {})
    floor = next((gate for gate in verdict.gates if gate.gate == f"floor: {metric}"), None)
    low, high = (floor and floor.interval) or drawn.get("score interval") or (None, None)
    refused = (gate.gate for gate in verdict.gates if gate.outcome == "refused")
    number = source.build_number or ""
    return BuildFigures(
        number=int(number) if number.isdecimal() else None,
        url=source.build_url,
        finished=verdict.finished,
        commit=source.git_commit,
        blessed=verdict.blessed,
        refused=None if verdict.blessed else next(refused, "no gate was run"),
        metric=metric,
        score=floor.value if floor else drawn.get("score"),
        low=low,
        high=high,
        champion=verdict.champion,
        champion_score=beside.get("champion"),
        score_beside=beside.get("candidate"),
        train_rows=data.rows_out["train"],
        test_rows=data.rows_out["test"],
        seconds={one.stage: one.seconds for one in (data, model, verdict)},
    )


def read_history(file: Path) -> list[BuildFigures]:
    """Return the builds that a file tells of, oldest first; a line that cannot be read is left out.

    Of several lines about one build the last counts: "Restart from Stage" copies that of the build before.
    A missing file is an empty history; one that cannot be opened raises ``OSError``.
    """
    found: list[BuildFigures] = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []:
        try:
            told = BuildFigures.model_validate(json.loads(line), strict=False)
        except (ValueError, ValidationError):
            continue
        found = _with(found, told)
    return found[-MAX_BUILDS:]


def _with(entries: list[BuildFigures], entry: BuildFigures) -> list[BuildFigures]:
    """Return the builds and a newer line, in place of an earlier one about the same build."""
    return [*(one for one in entries if not one.same_build(entry)), entry]


def append(file: Path, entry: BuildFigures) -> list[BuildFigures]:
    """Add a build to the file, in place of an earlier line about it, and return all that is kept now."""
    entries = _with(read_history(file), entry)[-MAX_BUILDS:]
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        lines = (json.dumps(one.model_dump(mode="json"), allow_nan=False) + "\n" for one in entries)
        aside.write_text("".join(lines), encoding="utf-8")
        aside.replace(file)
    except ValueError as error:
        raise MlError(f"a figure is infinite or no number: {error}") from error
    finally:
        aside.unlink(missing_ok=True)
    return entries


def keep(project: Project, workspace: Workspace, verdict: Verdict) -> None:
    """Add this build to the history and draw its pages; raises ``OSError`` or ``MlError`` if it cannot.

    If its line is the last already, and no version or pointer is newer than the pages, they stay.
    """
    entry, registry = figures_of(project, workspace, verdict), Registry(project.name)
    pages = workspace.root / "history"
    if [entry] == read_history(workspace.root / FILE)[-1:] and pages.exists():
        told = [file.stat().st_mtime for file in registry.root.glob("*/[!.]*")]
        if pages.stat().st_mtime > max(told, default=0.0):
            return
    from ml.quality.history_pages import write_history

    entries = append(workspace.root / FILE, entry)
    write_history(pages, project, entries, registry)
