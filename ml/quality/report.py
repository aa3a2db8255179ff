"""The page of a build: the verdict, every gate, the champion beside the candidate, pictures, lineage.

It is written twice. ``report.html`` holds all in one file, to mail or to keep. ``report/index.html`` has its
style sheet and pictures beside it: Jenkins shows published pages under a policy that forbids inlined ones.
"""

import base64
import html
import json
import shutil
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from ml.files import read_json
from ml.project import Project
from ml.quality import plots
from ml.quality.loosened import loosened_line
from ml.quality.metrics import RecordedPredictions
from ml.records import DataManifest, Gate, Judged
from ml.registry.provenance import build_text, commit_text
from ml.training.bundle import Bundle, load_bundle
from ml.workspace import Workspace

STYLE = Path(__file__).with_suffix(".css")
BAR_WIDTH = 120  # pixels
COLOURS = {"passed": "#48bb78", "refused": "#e53e3e"}


def write_report(folder: Path, project: Project, workspace: Workspace, judged: Judged) -> None:
    """Write ``report.html``, and ``report/index.html`` with its style sheet and pictures, into ``folder``."""
    bundle = load_bundle(workspace.folder("train"))
    test = pd.read_parquet(workspace.folder("data") / "test.parquet")
    figures = read_json(folder / "figures.json")
    beside = folder / "report"
    beside.mkdir()
    shutil.copy(STYLE, beside / "style.css")
    captions, inlined = {}, {}
    for name, (caption, figure) in _pictures(project, workspace, bundle, test, figures).items():
        buffer = BytesIO()
        figure.savefig(buffer, dpi=110, format="png")
        pyplot.close(figure)
        (beside / f"{name}.png").write_bytes(buffer.getvalue())
        captions[name] = caption
        inlined[name] = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    data = workspace.record(DataManifest)
    judgement, lineage = _judgement(project, data, judged, figures), _lineage(bundle, data, judged)
    for file, style, source in (
        (folder / "report.html", f"<style>{STYLE.read_text(encoding='utf-8')}</style>", inlined.__getitem__),
        (beside / "index.html", '<link rel="stylesheet" href="style.css">', lambda name: f"{name}.png"),
    ):
        file.write_text(
            _page(project.title, style, judgement, _gallery(captions, source), lineage), encoding="utf-8"
        )


def _pictures(
    project: Project, workspace: Workspace, bundle: Bundle, test: pd.DataFrame, figures: dict[str, Any]
) -> dict[str, tuple[str, Figure]]:
    """Return caption and figure of each picture there is something to draw for."""
    metric, target, positive = project.training.metric, test[project.target], bundle.manifest.positive
    recorded = RecordedPredictions.of(bundle.pipeline, test.drop(columns=project.target))
    log = (workspace.folder("train") / "trials.jsonl").read_text("utf-8").splitlines()
    found: dict[str, tuple[str, Figure]] = {}
    if project.task == "regression":
        found["predictions"] = ("Test rows", plots.predicted_against_true(recorded, target))
    else:
        if recorded.probabilities is not None and len(bundle.pipeline.classes_) == 2:
            curves = plots.roc_and_precision_recall(recorded, target, positive)
            found["curves"] = ("Curves on the test rows", curves)
            calibration = plots.calibration(recorded, target, positive)
            found["calibration"] = ("Are its probabilities true?", calibration)
        found["confusion"] = ("Confusion matrix on the test rows", plots.confusion(recorded, target))
    if "slices" in figures:
        found["slices"] = (
            "Slices of the test rows",
            plots.slices(figures["slices"], metric, figures["score"]),
        )
    if "robustness" in figures:
        found["robustness"] = ("Damaged test rows", plots.robustness(figures["robustness"], metric))
    if "importance" in figures:
        found["importance"] = ("Features, by what they add", plots.importance(figures["importance"], metric))
    if "training curve" in figures:
        found["training"] = ("Does it still learn?", plots.training_curve(figures["training curve"]))
    found["trials"] = ("All trials", plots.trials([json.loads(line) for line in log], metric))
    return found


def _judgement(project: Project, data: DataManifest, judged: Judged, figures: dict[str, Any]) -> str:
    gates = judged.gates
    word, style = ("blessed", "passed") if judged.blessed else ("not blessed", "refused")
    counts = {
        outcome: sum(gate.outcome == outcome for gate in gates)
        for outcome in ("passed", "refused", "warning", "not run")
    }
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    refused = "".join(
        f"<li><b>{html.escape(gate.gate)}</b>: {html.escape(gate.message)}</li>"
        for gate in gates
        if gate.outcome == "refused"
    )
    loosened = loosened_line(judged.loosened)
    parts = [
        f'<h1>{html.escape(project.title)}</h1><p class="verdict">The model is <span class="{style}">{word}'
        f"</span>. Gates: {told}.</p>",
        f"<ul>{refused}</ul>" if refused else "",
        f"<p><b>{html.escape(loosened)}</b></p>" if loosened else "",
        _champion(judged.champion, figures),
        f"<h2>Gates</h2>{_gates(gates)}",
        f"<h2>Data</h2>{_gates(data.gates)}" if data.gates else "",
    ]
    return "".join(parts)


def _champion(version: int | None, figures: dict[str, Any]) -> str:
    if "champion" not in figures:
        return ""
    rows = [
        [
            name,
            _number(both["candidate"]),
            _number(both["champion"]),
            _number(both["candidate"] - both["champion"]),
        ]
        for name, both in figures["champion"].items()
    ]
    head = ["score on the same rows", "candidate", f"champion (version {version})", "difference"]
    return f"<h2>Candidate and champion</h2>{_table(head, rows)}"


def _gates(gates: list[Gate]) -> str:
    """Return the gates, the refused ones first; those that were not run are folded away."""
    rows = [
        [
            f'<span class="{gate.outcome}">{gate.outcome}</span>',
            gate.gate,
            _number(gate.value),
            _bar(gate),
            _number(gate.threshold),
            " to ".join(_number(end) for end in gate.interval or []),
            gate.message,
        ]
        for outcome in ("refused", "warning", "passed")
        for gate in gates
        if gate.outcome == outcome
    ]
    left_out = [[gate.gate, gate.message] for gate in gates if gate.outcome == "not run"]
    header = ["outcome", "gate", "value", "", "threshold", "95 % interval", "in words"]
    folded = (
        f"<details><summary>{len(left_out)} not run</summary>{_table(['gate', 'why'], left_out)}</details>"
    )
    return f'<div class="gates">{_table(header, rows)}</div>' + (folded if left_out else "")


def _bar(gate: Gate) -> str:
    """Return the value as a bar with a line at the threshold; attributes only, as Jenkins forbids styles."""
    value, threshold = gate.value, gate.threshold
    if value is None or threshold is None:
        return ""
    low, high = min(0.0, value, threshold), max(value, threshold, 0.0)
    scale = BAR_WIDTH / (high - low) if high > low else 0.0
    zero, end, line = ((number - low) * scale for number in (0.0, value, threshold))
    return (
        f'<svg width="{BAR_WIDTH + 4}" height="14" role="img"><rect x="{min(zero, end) + 1:.1f}" y="3" '
        f'width="{max(abs(end - zero), 1):.1f}" height="8" fill="{COLOURS.get(gate.outcome, "#a0aec0")}"/>'
        f'<rect x="{line:.1f}" y="0" width="2" height="14" fill="#1a202c"/></svg>'
    )


def _lineage(bundle: Bundle, data: DataManifest, judged: Judged) -> str:
    manifest, source, rows = bundle.manifest, bundle.manifest.provenance, data.rows_out
    facts = {
        "Model": f"{manifest.estimator} {json.dumps(manifest.parameters)}",
        "sha256": bundle.sha256,
        "Trained": f"{manifest.finished}, best of {manifest.trials} trials",
        "Data": f"{data.source}: {rows['train']} train rows, {rows['test']} test rows",
        "Train rows sha256": manifest.data_sha256["train.parquet"],
        "Commit": commit_text(source),
        **({"Positive class": manifest.positive} if manifest.positive is not None else {}),
        "Environment": f"Python {source.python}, requirements.txt {source.lock_sha256}",
        "Jenkins build": build_text(source),
        "Champion": f"version {judged.champion}" if judged.champion is not None else "none yet",
    }
    return _table(
        ["", ""], ([key, f"<code>{html.escape(str(value))}</code>"] for key, value in facts.items())
    )


def _gallery(captions: dict[str, str], source: Callable[[str], str]) -> str:
    return "".join(
        f'<figure><img src="{source(name)}" alt="{html.escape(text)}"><figcaption>{html.escape(text)}'
        "</figcaption></figure>"
        for name, text in captions.items()
    )


def _page(title: str, style: str, judgement: str, gallery: str, lineage: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<meta name="viewport" content="width=device-width">{style}</head>
<body>{judgement}<h2>Pictures</h2><div class="pictures">{gallery}</div><h2>Lineage</h2>{lineage}</body></html>
"""


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    """Return a table; cells that are our own mark-up are taken as they are."""
    ours = ("<span", "<svg", "<code")
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>"
        + "".join(f"<td>{cell if cell.startswith(ours) else html.escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
