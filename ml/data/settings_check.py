"""Settings that mean nothing: a column that is not there, a threshold that its measure cannot reach."""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator

from ml.errors import MlError
from ml.project import Project

# Scores of scikit-learn that end at 1 (and of which a model that knows anything has more than the least)
ENDS_AT_ONE = (
    "accuracy",
    "average_precision",
    "balanced_accuracy",
    "d2_",
    "explained_variance",
    "f1",
    "jaccard",
    "matthews_corrcoef",
    "precision",
    "r2",
    "recall",
    "roc_auc",
    "top_k_accuracy",
)
NO_LEAST = ("d2_", "explained_variance", "r2")  # and of which more than 1 may be lost
MIN_FLOOR = 0.01
ERRORS_UP_TO_ONE = ("calibration_error", "brier_score")


def check_settings(project: Project, contract: Collection[str]) -> None:
    """Raise ``MlError`` with the first setting that names no column or can never refuse, or never pass."""
    if problem := next(answers_among([*contract, *project.features.columns]), None):
        raise MlError(f"{project.folder / 'contract.py'}: {problem}")
    for problem in (*_columns(project, contract), *_personal(project), *_thresholds(project)):
        raise MlError(f"{project.folder / 'project.toml'}: {problem}")


def answers_among(names: Iterable[str]) -> Iterator[str]:
    """Name the columns that are called as answers are: both would stand in one table."""
    for name in names:
        if name == "prediction" or name.startswith("probability_"):
            yield (
                f"column '{name}' is called as an answer of the model is: rename it in the source (in a "
                f'query: AS "given_{name}")'
            )


def _columns(project: Project, known: Collection[str]) -> Iterator[str]:
    file = project.folder / "features.py"
    # What functions make is told by their code alone; a name that does not stand there is not made.
    code = set(re.findall(r"\w+", file.read_text(encoding="utf-8"))) if file.exists() else set()
    made = {*known, *(code if project.features.functions else ())}
    data, slices, fairness = project.data_gates, project.gates.slices, project.gates.fairness
    named: list[tuple[str, Collection[str], Collection[str]]] = [
        ("personal", project.personal, known),
        ("features", project.features.columns, made),
        ("data_gates.max_missing", list(data.max_missing), made),
        ("data_gates.max_one_value", list(data.max_one_value), known),
        ("data_gates.keys", [one.column for one in data.keys], known),
        ("data_gates.timeliness", [data.timeliness.column] if data.timeliness else [], known),
        ("data_gates.usual", [name for one in data.usual for name in (one.column, one.rows.column)], known),
        ("data_gates.lags", [name for one in data.lags for name in (one.column, one.of, one.order)], known),
        ("gates.slices.by", [name for by in slices.by for name in by] if slices else [], known),
        ("gates.slices.bins", list(slices.bins) if slices else [], known),
        ("gates.fairness.sensitive", fairness.sensitive if fairness else [], known),
    ]
    for setting, names, there in named:
        for name in names:
            if name not in there:
                near = difflib.get_close_matches(name, [*known, *project.features.columns], 1)
                meant = f": did you mean '{near[0]}'?" if near and near[0] != name else ""
                made_too = ", and no function of features.py makes it" if there is made else ""
                yield f"{setting}: no column '{name}' in contract.py{made_too}{meant}"


def _personal(project: Project) -> Iterator[str]:
    """Name the settings that would show the values of a personal column, in the report or in the model."""
    slices = project.gates.slices
    for setting, names, why in (
        ("gates.slices.by", {name for by in slices.by for name in by} if slices else set(), "the report"),
        ("features.categorical", set(project.features.categorical), "the model"),
    ):
        for name in sorted(names & set(project.personal)):
            yield f"{setting}: '{name}' is in personal, and {why} would tell its values: make a feature of it"


def _thresholds(project: Project) -> Iterator[str]:
    gates, metric = project.gates, project.training.metric
    floors = dict(gates.floors)
    for name, floor in floors.items():
        yield from _floor(f"gates.floors.{name}", name, floor)
    if gates.slices and gates.slices.floor is not None:
        yield from _floor("gates.slices.floor", metric, gates.slices.floor)
    for name, ceiling in gates.ceilings.items():
        if ceiling <= 0 or (name in ERRORS_UP_TO_ONE and ceiling > 1):
            yield f"gates.ceilings.{name} = {ceiling:g} means nothing: {name} lies between 0 and 1 or above"
    if not metric.startswith(ENDS_AT_ONE):
        return
    differences = {
        "min_gain_over_dummy": gates.min_gain_over_dummy,
        "min_gain_over_one_feature": gates.min_gain_over_one_feature,
        "max_gap": gates.max_gap,
        "max_surprise": gates.max_surprise,
        "max_score": gates.max_score,
        "max_seed_spread": gates.max_seed_spread,
        "champion_tolerance": gates.champion_tolerance,
        "slices.max_gap": gates.slices.max_gap if gates.slices else None,
    }
    if not metric.startswith(NO_LEAST):
        differences |= {f"max_damage.{name}": value for name, value in gates.max_damage.items()}
    for name, value in differences.items():
        if value is not None and value > 1:
            yield f"gates.{name} = {value:g} means nothing: {metric} ends at 1"


def _floor(setting: str, metric: str, floor: float) -> Iterator[str]:
    if metric.startswith("neg_") and floor > 0:
        yield f"{setting} = {floor:g} means nothing: {metric} is never above 0"
    elif metric.startswith(ENDS_AT_ONE) and not MIN_FLOOR <= floor <= 1:
        yield f"{setting} = {floor:g} means nothing: name a value of {metric} between {MIN_FLOOR:g} and 1"
