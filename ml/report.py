"""The page of a build: what was trained, how it was judged, and pictures of it.

Pictures and style sheet are files beside the page, not parts of it: Jenkins shows published pages under a
policy that forbids inline styles and inlined pictures.
"""

import html
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402  (the backend is chosen first)
from sklearn.inspection import permutation_importance  # noqa: E402
from sklearn.metrics import ConfusionMatrixDisplay, RocCurveDisplay  # noqa: E402

from ml.model import Bundle, load_bundle  # noqa: E402
from ml.project import Project  # noqa: E402
from ml.provenance import build_text, commit_text  # noqa: E402
from ml.workspace import Workspace  # noqa: E402

COLOUR = "#2b6cb0"
STYLE = Path(__file__).with_suffix(".css")


def write_report(folder: Path, project: Project, workspace: Workspace, verdict: dict[str, Any]) -> None:
    """Write ``report.html`` and its pictures below ``report/`` into ``folder``."""
    bundle = load_bundle(workspace.folder("train"))
    test = pd.read_parquet(workspace.folder("data") / "test.parquet")
    trials = [
        json.loads(line)
        for line in (workspace.folder("train") / "trials.jsonl").read_text("utf-8").splitlines()
    ]
    (folder / "report").mkdir()
    shutil.copy(STYLE, folder / "report" / "style.css")
    rows, target = test.drop(columns=project.target), test[project.target]
    pictures = {
        "confusion": ("Confusion matrix on the test rows", _confusion(bundle, rows, target)),
        "importance": (
            f"Loss of {project.training.metric} when a column is shuffled",
            _importance(bundle, rows, target),
        ),
        "trials": ("All trials: score in cross-validation", _trials(trials, project.training.metric)),
    }
    if len(bundle.pipeline.classes_) == 2:
        pictures = {"roc": ("ROC curve on the test rows", _roc(bundle, rows, target))} | pictures
    for name, (_, figure) in pictures.items():
        figure.savefig(folder / "report" / f"{name}.png", dpi=110)
        pyplot.close(figure)
    page = _page(
        project,
        bundle,
        workspace.record("data"),
        verdict,
        {name: text for name, (text, _) in pictures.items()},
    )
    (folder / "report.html").write_text(page, encoding="utf-8")


def _roc(bundle: Bundle, rows: pd.DataFrame, target: pd.Series) -> Any:
    figure, axes = pyplot.subplots(figsize=(5, 4), layout="constrained")
    RocCurveDisplay.from_estimator(
        bundle.pipeline,
        rows,
        target,
        ax=axes,
        name=bundle.manifest["estimator"],
        plot_chance_level=True,
        curve_kwargs={"color": COLOUR},
    )
    return figure


def _confusion(bundle: Bundle, rows: pd.DataFrame, target: pd.Series) -> Any:
    figure, axes = pyplot.subplots(figsize=(5, 4), layout="constrained")
    ConfusionMatrixDisplay.from_estimator(
        bundle.pipeline, rows, target, ax=axes, cmap="Blues", colorbar=False
    )
    return figure


def _importance(bundle: Bundle, rows: pd.DataFrame, target: pd.Series) -> Any:
    project = bundle.project
    found = permutation_importance(
        bundle.pipeline, rows, target, scoring=project.training.metric, n_repeats=5, random_state=project.seed
    )
    table = pd.DataFrame({"mean": found.importances_mean, "spread": found.importances_std}, index=list(rows))
    table = table[(table != 0).any(axis=1)].sort_values("mean")
    figure, axes = pyplot.subplots(figsize=(5, 4), layout="constrained")
    axes.barh(table.index, table["mean"], xerr=table["spread"], color=COLOUR, ecolor="#a0aec0")
    axes.set_xlabel(f"mean loss of {project.training.metric}, 5 shuffles")
    return figure


def _trials(trials: list[dict[str, Any]], metric: str) -> Any:
    table = pd.DataFrame(
        [
            (one["estimator"], one["scores"][metric]["mean"], one["scores"][metric]["standard_deviation"])
            for one in trials
        ],
        columns=["estimator", "mean", "spread"],
    )
    order = table.groupby("estimator")["mean"].max().sort_values().index
    figure, axes = pyplot.subplots(figsize=(5, 4), layout="constrained")
    for place, estimator in enumerate(order):
        mine = table[table["estimator"] == estimator].sort_values("mean", ignore_index=True)
        heights = place + (mine.index - (len(mine) - 1) / 2) * 0.1
        axes.errorbar(
            mine["mean"], heights, xerr=mine["spread"], fmt="o", markersize=4, color=COLOUR, ecolor="#cbd5e0"
        )
    axes.set_yticks(range(len(order)), [name.removesuffix("Classifier") for name in order])
    axes.set_xlabel(f"{metric}: mean and deviation over the folds")
    return figure


def _page(
    project: Project, bundle: Bundle, data: dict[str, Any], verdict: dict[str, Any], pictures: dict[str, str]
) -> str:
    manifest, source, rows = bundle.manifest, bundle.manifest["provenance"], data["rows_out"]
    facts = {
        "Model": f"{manifest['estimator']} {json.dumps(manifest['parameters'])}",
        "sha256": bundle.sha256,
        "Trained": f"{manifest['finished']}, best of {manifest['trials']} trials",
        "Data": f"{data['source']}: {rows['train']} train rows, {rows['test']} test rows",
        "Commit": commit_text(source),
        "Jenkins build": build_text(source),
        "Champion": f"version {verdict['champion']}" if verdict["champion"] is not None else "none yet",
    }
    gates = (
        [
            _gate_cell(gate),
            gate["gate"],
            _number(gate["value"]),
            _number(gate["threshold"]),
            " to ".join(_number(end) for end in gate["interval"] or []),
            gate["message"],
        ]
        for gate in verdict["gates"]
    )
    word, style = ("blessed", "passed") if verdict["blessed"] else ("not blessed", "refused")
    figures = "".join(
        f'<figure><img src="report/{name}.png" alt=""><figcaption>{html.escape(text)}</figcaption></figure>'
        for name, text in pictures.items()
    )
    summary = "".join(
        f"<tr><th>{key}</th><td><code>{html.escape(str(value))}</code></td></tr>"
        for key, value in facts.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(project.title)}</title>
<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="report/style.css"></head>
<body><h1>{html.escape(project.title)}</h1><p>The model is <span class="{style}">{word}</span>.</p>
<table>{summary}</table>
<h2>Gates</h2>{_table(["outcome", "gate", "value", "threshold", "95 % interval", "in words"], gates)}
<h2>Pictures</h2><div class="pictures">{figures}</div></body></html>
"""


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>"
        + "".join(f"<td>{cell if cell.startswith('<span') else html.escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _gate_cell(gate: dict[str, Any]) -> str:
    return f'<span class="{gate["outcome"].replace(" ", "-")}">{gate["outcome"]}</span>'


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
