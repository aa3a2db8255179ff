"""The page of a build: verdict and figures that matter, what to do, pictures, every gate, lineage.

It is written twice. ``report.html`` holds all in one file, to mail or to keep. ``report/index.html`` has its
style sheet and pictures beside it: Jenkins shows published pages under a policy that forbids inlined ones.
"""

import base64
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from ml.data.difference import row_changes
from ml.errors import MlError
from ml.files import read_json
from ml.project import Project
from ml.quality import plots
from ml.quality.column_pictures import columns
from ml.quality.drawing import WIDTH, Picture, number
from ml.quality.gate_tables import all_gates, counted, troubles
from ml.quality.loosened import loosened_line
from ml.quality.markup import LINK, STYLE, Markup, element, facts, page, table
from ml.quality.metrics import RecordedPredictions
from ml.records import DataManifest, Gate, Judged
from ml.registry.provenance import build_text, commit_text
from ml.registry.versions import Registry
from ml.training.bundle import Bundle, load_bundle
from ml.training.folds import read_part
from ml.workspace import ROWS_FILE, Workspace

# Which picture says most of a kind of gates; the first that was drawn is shown beside the refusal.
TELLING = {
    "floor": ("curves", "predictions", "confusion"),
    "ceiling": ("calibration", "predictions"),
    "slice": ("slices",),
    "champion": ("champion",),
    "robustness": ("robustness",),
    "divergence": ("training",),
    "gap": ("training", "trials"),
    "gain": ("importance",),
    "too good to be true": ("importance",),
    "warning": ("importance",),
    "seeds": ("trials",),
}
REFUSED = "refused.png"  # the picture for the page of a build


def write_report(folder: Path, project: Project, workspace: Workspace, judged: Judged) -> None:
    """Write ``report.html`` and ``report/index.html`` into ``folder``; ``refused.png`` if a gate refused."""
    bundle, data = load_bundle(workspace.folder("train")), workspace.record(DataManifest)
    test = read_part(project, workspace.folder("data"), "test")
    figures = read_json(folder / "figures.json")
    beside = folder / "report"
    beside.mkdir()
    shutil.copy(STYLE, beside / "style.css")
    pictures = _pictures(project, workspace, bundle, test, figures, judged.gates)
    reference, without = _against_reference(project, workspace, data, judged.champion)
    if reference:
        pictures["data"] = reference
    drawn = {name: picture.svg() for name, picture in pictures.items()}
    for name, content in drawn.items():
        (beside / f"{name}.svg").write_bytes(content)
    if refused := [gate for gate in judged.gates if gate.outcome == "refused"]:
        plots.refused(refused).png(folder / REFUSED)
    for file, style, source in (
        (folder / "report.html", f"<style>{STYLE.read_text(encoding='utf-8')}</style>", _inlined),
        (beside / "index.html", LINK, lambda name, content: f"{name}.svg"),
    ):
        images = {name: _image(picture, source(name, drawn[name])) for name, picture in pictures.items()}
        parts = _parts(project, bundle, data, judged, figures, images, without)
        file.write_text(page(project.title, style, *parts), encoding="utf-8")


def _inlined(name: str, content: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(content).decode()


def _image(picture: Picture, source: str) -> Markup:
    image = Markup(element("img", src=source, alt=picture.finding).removesuffix("</img>"))
    wide = {"class_": "whole"} if picture.figure.get_figwidth() > 1.1 * WIDTH else {}
    return element("figure", image, element("figcaption", picture.caption), **wide)


def _parts(
    project: Project,
    bundle: Bundle,
    data: DataManifest,
    judged: Judged,
    figures: dict[str, Any],
    images: dict[str, Markup],
    without: str,
) -> list[str]:
    """Return the sections of the page in their order; a picture beside a refusal is not shown again."""
    left = dict(images)

    def picture_of(kind: str) -> str:
        name = next((one for one in TELLING.get(kind, ()) if one in left), None)
        return left.pop(name) if name else ""

    warned = troubles(
        [*judged.gates, *(gate for gate in data.gates if gate.outcome == "warning")], picture_of
    )
    return [
        _verdict(project, judged),
        _cards(project, judged, figures),
        _champion(project, judged, figures),
        warned,
        element("h2", "Pictures"),
        element("p", without, class_="note") if without else "",
        element("div", *left.values(), class_="pictures"),
        element("h2", "Gates"),
        all_gates(judged.gates),
        element("h2", "Data"),
        element(
            "p", f"{data.source}: {data.rows_out['train']} train rows, {data.rows_out['test']} test rows"
        ),
        all_gates(data.gates),
        element("h2", "Lineage"),
        facts(_lineage(bundle, data, judged)),
    ]


def _verdict(project: Project, judged: Judged) -> Markup:
    word, style = ("blessed", "passed") if judged.blessed else ("not blessed", "refused")
    loosened = loosened_line(judged.loosened)
    return element(
        "header",
        element("h1", project.title),
        element(
            "p",
            "The model is ",
            element("span", word, class_=f"badge {style}"),
            f". Gates: {counted(judged.gates)}.",
            class_="verdict",
        ),
        element("p", element("b", loosened)) if loosened else "",
    )


def _cards(project: Project, judged: Judged, figures: dict[str, Any]) -> Markup:
    """Return the three figures that matter first: score, a second one, what was gained."""
    metric = project.training.metric
    found = {gate.gate: gate for gate in judged.gates if gate.value is not None}
    floors, ceilings = project.gates.floors, project.gates.ceilings
    cards = []
    if score := found.get(f"floor: {metric}"):
        cards.append(_card(metric, score))
    elif "score" in figures:
        known = {"value": figures["score"], "interval": tuple(figures["score interval"])}
        cards.append(_card(metric, Gate(gate=metric, outcome="passed", message="", **known)))
    others = [f"ceiling: {name}" for name in sorted(ceilings, key=lambda name: name != "calibration_error")]
    others += [f"floor: {name}" for name in floors if name != metric]
    if second := next((found[name] for name in others if name in found), None):
        cards.append(_card(second.about.replace("_", " "), second))
    if gain := found.get(f"champion: {metric}, candidate minus champion"):
        cards.append(_card(f"{metric} over champion, version {judged.champion}", gain, sign="+", sure="99 %"))
    elif gain := found.get("gain: over a dummy"):
        cards.append(_card(f"{metric} over a dummy", gain, sign="+"))
    return element("div", *cards, class_="cards")


def _card(title: str, gate: Gate, sign: str = "", sure: str = "95 %") -> Markup:
    assert gate.value is not None
    ends = [f"{end:{sign}.3g}" for end in gate.interval or ()]
    bar = f"threshold {number(gate.threshold)}" if gate.threshold is not None else ""
    told = ", ".join(filter(None, [f"{sure} interval {' to '.join(ends)}" if ends else "", bar]))
    figure = element("span", f"{gate.value:{sign}.4g}", class_=f"figure {gate.outcome}")
    return element("p", element("span", title, class_="title"), figure, element("small", told), class_="card")


def _champion(project: Project, judged: Judged, figures: dict[str, Any]) -> Markup:
    if "champion" not in figures:
        return Markup()
    tested = {gate.about: gate for gate in judged.gates if gate.kind == "champion"}
    rows = []
    for name, both in figures["champion"].items():
        gate = tested.get(f"{name}, candidate minus champion")
        interval = " to ".join(f"{end:+.4f}" for end in gate.interval or ()) if gate else ""
        difference = both["candidate"] - both["champion"]
        rows.append(
            [name, number(both["candidate"]), number(both["champion"]), f"{difference:+.4g}", interval]
        )
    head = ["score on the same rows", "candidate", f"champion (version {judged.champion})", "difference"]
    return element(
        "section",
        element("h2", "Candidate and champion"),
        table([*head, "99 % interval of it"], rows, class_="figures"),
    )


def _pictures(
    project: Project,
    workspace: Workspace,
    bundle: Bundle,
    test: pd.DataFrame,
    figures: dict[str, Any],
    gates: list[Gate],
) -> dict[str, Picture]:
    """Return each picture that there is something to draw for, those first that tell most."""
    metric, target, positive = project.training.metric, test[project.target], bundle.manifest.positive
    recorded = RecordedPredictions.of(bundle.pipeline, test.drop(columns=project.target))
    found: dict[str, Picture] = {}
    if project.task == "regression":
        found["predictions"] = plots.predicted_against_true(recorded, target)
    else:
        if recorded.probabilities is not None and len(bundle.pipeline.classes_) == 2:
            found["calibration"] = plots.calibration(recorded, target, positive)
            found["curves"] = plots.roc_and_precision_recall(recorded, target, positive)
        found["confusion"] = plots.confusion(recorded, target)
    drawings: dict[str, Callable[[Any, str], Picture]] = {
        "importance": plots.importance,
        "robustness": plots.robustness,
    }
    for name, draw in drawings.items():
        if figures.get(name):
            found[name] = draw(figures[name], metric)
    if parts := [gate for gate in gates if gate.kind == "slice" and gate.about in figures.get("slices", {})]:
        found["slices"] = plots.slices(parts, figures["slices"], metric, figures["score"])
    if compared := [gate for gate in gates if gate.kind == "champion" and gate.interval]:
        found["champion"] = plots.against_champion(compared)
    if "training curve" in figures:
        found["training"] = plots.training_curve(figures["training curve"])
    log = (workspace.folder("train") / "trials.jsonl").read_text("utf-8").splitlines()
    found["trials"] = plots.trials([json.loads(line) for line in log], metric)
    return found


def _against_reference(
    project: Project, workspace: Workspace, data: DataManifest, champion: int | None
) -> tuple[Picture | None, str]:
    """Return the picture of the data beside the champion's, or why there is none."""
    if champion is None:
        return None, "The data are not compared with a champion's: the channel has none."
    try:
        before = Registry(project.name).data_manifest(champion).reference_statistics
    except (OSError, MlError) as error:
        return None, f"The data are not compared with the champion's: {error}"
    found = columns(data.reference_statistics, before, f"version {champion}")
    if found is None:
        return None, f"The data of version {champion} have no column that can be compared."
    theirs = Registry(project.name).folder(champion) / "model" / ROWS_FILE
    ours = workspace.folder("data") / ROWS_FILE
    return replace(found, caption=f"{found.caption}; since then {row_changes(theirs, ours)}"), ""


def _lineage(bundle: Bundle, data: DataManifest, judged: Judged) -> dict[str, str]:
    manifest, source = bundle.manifest, bundle.manifest.provenance
    found = {
        "Model": f"{manifest.estimator} {json.dumps(manifest.parameters)}",
        "sha256": bundle.sha256,
        "Trained": f"{manifest.finished}, best of {manifest.trials} trials",
        "Train rows sha256": manifest.data_sha256["train.parquet"],
        "Commit": commit_text(source),
        **({"Positive class": str(manifest.positive)} if manifest.positive is not None else {}),
        "Environment": f"Python {source.python}, requirements.txt {source.lock_sha256}",
        "Jenkins build": build_text(source),
        "Champion": f"version {judged.champion}" if judged.champion is not None else "none yet",
    }
    return {key: element("code", value) for key, value in found.items()}
