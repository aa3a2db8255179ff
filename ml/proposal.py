"""What `ml new` proposes for a table: task, metric, split, candidates, and thresholds from first models."""

import json
import math
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

    from ml.data.infer import Guess
    from ml.project import Project

MAX_ROWS_TRIED = 20_000
MIN_GAIN = 0.02  # over saying always the same
GIVES_AWAY = 0.999  # ROC AUC, or R², of one column alone
SKEWED = 0.65  # share of the largest class from which accuracy says little
TEST_SHARE = 0.25
POSITIVE_WORDS = ("yes", "true", "y", "1", "late", "bad", "default", "churn", "positive")
# One line that is quick, boosted trees in two ways, and CatBoost as its makers set it.
GRIDS: dict[str, dict[str, dict[str, list[Any]]]] = {
    "classification": {
        "LogisticRegression": {"C": [0.1, 1.0, 10.0], "max_iter": [5000]},
        "HistGradientBoostingClassifier": {
            "learning_rate": [0.05],
            "max_iter": [200],
            "max_leaf_nodes": [8, 16],
        },
        "CatBoostClassifier": {"iterations": [1000]},
    },
    "regression": {
        "Ridge": {"alpha": [0.1, 1.0, 10.0]},
        "HistGradientBoostingRegressor": {
            "learning_rate": [0.05],
            "max_iter": [300],
            "max_leaf_nodes": [8, 16],
        },
        "CatBoostRegressor": {"iterations": [1000]},
    },
}


@dataclass(frozen=True)
class Proposal:
    """All that project.toml will say, and lines for the person who reads what was guessed."""

    name: str
    task: Literal["classification", "regression"]
    why: str
    target: str
    identity: str
    source: dict[str, Any]
    guesses: "list[Guess]"
    pairs: list[tuple[str, str]]
    metric: str = ""
    floor: float = 0.01
    ceiling: float = 1e9
    gain: float = 0.0
    rows: int = 0
    told: list[str] = field(default_factory=list)

    @property
    def features(self) -> dict[str, list[str]]:
        """The columns that a model learns from: numeric and categorical."""
        return {
            "numeric": [one.name for one in self.guesses if one.role == "number"],
            "categorical": [one.name for one in self.guesses if one.role == "category"],
        }

    @property
    def time(self) -> str | None:
        """The column that says when a row was, if each row has one."""
        found = [one.name for one in self.guesses if one.role == "time" and not one.nullable]
        return found[0] if len(found) == 1 else None

    @property
    def positive(self) -> Any:
        """The class of two that the scores of one class are about, if the classes are texts."""
        values = next(one.values for one in self.guesses if one.name == self.target)
        if self.task != "classification" or len(values) != 2 or not isinstance(values[0], str):
            return None
        return next((one for one in values if one.lower() in POSITIVE_WORDS), None)


def propose_grid(task: str) -> str:
    """Return the text of ``grid.json``."""
    lines = [f'  "{name}": {json.dumps(grid)}' for name, grid in GRIDS[task].items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def judge(proposal: Proposal, project: "Project", table: "pd.DataFrame") -> Proposal:
    """Return the proposal with what first models teach: what gives the target away, and thresholds.

    The contract must hold for the whole table; else ``MlError`` says which guess to look at.
    """
    from ml.data.contract import check, load_contract
    from ml.data.giveaways import giveaways
    from ml.data.infer import leave_out
    from ml.data.split import check_rows, split
    from ml.errors import MlError

    rows = check(table, load_contract(project), f"{proposal.name}: contract.py as it was guessed")
    rows = rows.sample(min(len(rows), MAX_ROWS_TRIED), random_state=0).sort_index().reset_index(drop=True)
    check_rows(rows, project)
    parts = split(rows, project)
    features = [name for names in proposal.features.values() for name in names]
    if not features:
        raise MlError(f"no column to learn '{proposal.target}' from: all are ids, texts, dates or constant")
    with warnings.catch_warnings(action="ignore"):
        scores = giveaways(project, parts["train"][features], parts["train"][proposal.target])
    given = {name for name, score in scores.items() if score > GIVES_AWAY}
    if given and given != set(features):
        guesses = [
            leave_out(one, "tells the target all alone", "was it known before?") if one.name in given else one
            for one in proposal.guesses
        ]
        proposal = replace(proposal, guesses=guesses)
    return _with_thresholds(proposal, project, parts, len(table))


def _with_thresholds(
    proposal: Proposal, project: "Project", parts: "dict[str, pd.DataFrame]", count: int
) -> Proposal:
    """Fit two quick candidates; thresholds lie half an interval below what the better one reached."""
    import numpy as np
    from sklearn.dummy import DummyClassifier, DummyRegressor

    from ml.quality.metrics import RecordedPredictions, error_measure, interval
    from ml.training.grid import EstimatorChoice
    from ml.training.scores import positive_class, scorer
    from ml.training.search import fit

    train, test, target = parts["train"], parts["test"], proposal.target
    classes = proposal.task == "classification"
    metric = _metric(proposal, train[target])
    error = "log_loss" if classes else "mean_absolute_error"
    project = project.model_copy(
        update={
            "features": project.features.model_copy(update=proposal.features),
            "positive": proposal.positive,
        }
    )
    positive = positive_class(project, train[target])
    kind = "Classifier" if classes else "Regressor"
    line = (
        EstimatorChoice("LogisticRegression", {"max_iter": 5000}) if classes else EstimatorChoice("Ridge", {})
    )
    trees = EstimatorChoice(f"HistGradientBoosting{kind}", {"max_iter": 100, "max_leaf_nodes": 8})
    answer = test[target].to_numpy()
    found = []
    for choice in (line, trees):
        pipeline = fit(project, choice, train.drop(columns=target), train[target])
        said = RecordedPredictions.of(pipeline, test.drop(columns=target))
        found.append((float(scorer(metric, positive)(said, np.arange(len(test)), answer)), choice, said))
    score, choice, said = max(found, key=lambda one: one[0])
    low, high = interval(metric, said, answer, project.seed, positive)
    worst_error = interval(error, said, answer, project.seed, positive)
    reached = float(error_measure(error, positive)(said, np.arange(len(test)), answer))
    dummy = (DummyClassifier() if classes else DummyRegressor()).fit(train[[target]], train[target])
    nothing = float(scorer(metric, positive)(dummy, test[[target]], answer))
    floor = max(0.01, _down(low - (high - low) / 2))
    reached_by = f"{choice.estimator} {metric} {score:.3f} ({low:.3f} to {high:.3f}) on {len(test)} test rows"
    told = [
        f"task: {proposal.task} ({proposal.why}); metric: {metric}; "
        + (f"split by time ({proposal.time})" if proposal.time else "split by a hash of the id"),
        f"first model: {reached_by}, {nothing:.3f} without looking; the floor is {floor:g}",
    ]
    if score - nothing < MIN_GAIN:
        told.append("look: no column seems to tell the target; a model will hardly be blessed")
    return replace(
        proposal,
        metric=metric,
        floor=floor,
        ceiling=_up(worst_error[1] + (worst_error[1] - reached)),
        gain=max(0.0, _down((score - nothing) / 3)),
        rows=count,
        told=told,
    )


def _metric(proposal: Proposal, target: "pd.Series") -> str:
    if proposal.task == "regression":
        return "r2"
    shares = target.value_counts(normalize=True)
    if shares.max() <= SKEWED:
        return "accuracy"
    return "roc_auc" if len(shares) == 2 else "balanced_accuracy"


def _down(value: float) -> float:
    return math.floor(value * 100) / 100


def _up(value: float) -> float:
    unit = 10.0 ** (math.floor(math.log10(max(value, 1e-12))) - 1)
    return float(f"{math.ceil(value / unit) * unit:.6g}")


def project_text(proposal: Proposal, ports: tuple[int, int]) -> str:
    """Return the text of ``project.toml``, with a word on what each part is for."""
    metric = proposal.metric or ("accuracy" if proposal.task == "classification" else "r2")
    error = "log_loss" if proposal.task == "classification" else "mean_absolute_error"
    features = proposal.features
    missing = {
        one.name: min(1.0, _up(one.missing * 1.5 + 0.02))
        for one in proposal.guesses
        if one.kept and one.nullable
    }
    lines = [
        f"# {proposal.name}: written by `ml new`; every number in here may be changed",
        f"title = {_text(f'{proposal.name}: {proposal.target}')}",
        f'task = "{proposal.task}"',
        f"target = {_text(proposal.target)}",
        *([f"positive = {_text(proposal.positive)}"] if proposal.positive else []),
        f"id = {_text(proposal.identity)}",
        "nightly = true                    # the job `nightly` trains it",
        "",
        "[source]",
        *(f"{key} = {_value(value)}" for key, value in proposal.source.items()),
        "",
        "[split]",
        *(['kind = "time"                     # the latest rows are the test'] if proposal.time else []),
        *([f"by = {_text(proposal.time)}"] if proposal.time else []),
        f"test_share = {TEST_SHARE}",
        "",
        "[features]",
        f"numeric = {_names(features['numeric'])}",
        f"categorical = {_names(features['categorical'])}",
        "max_categories = 12               # with more, CatBoost takes a column as it is, others its mean",
        "",
        "[training]",
        f'metric = "{metric}"',
        "folds = 5",
        "",
        "[data_gates]                      # beyond the contract; shares of rows",
        f"min_rows = {max(1, int(proposal.rows * 0.8))}",
        f"max_missing = {_value(missing)}",
        "max_shared_rows = 0.1             # test rows equal to a train row but for the id",
        "max_row_change = 0.5              # against the data of the channel's champion, as all below",
        "max_psi = 0.25",
        "",
        *_gates_text(metric, error, proposal, ports),
    ]
    return "\n".join(lines) + "\n"


def _gates_text(metric: str, error: str, proposal: Proposal, ports: tuple[int, int]) -> list[str]:
    return [
        "[gates]                           # on the test rows",
        f"min_gain_over_dummy = {proposal.gain:g}",
        "max_surprise = 0.1                # test score minus cross-validated score",
        "champion_tolerance = 0.02",
        "max_seconds_per_request = 0.5",
        "max_model_bytes = 50_000_000",
        "",
        "[gates.floors]                    # half an interval below what a first model reached",
        f"{metric} = {proposal.floor:g}",
        "",
        "[gates.ceilings]",
        f"{error} = {proposal.ceiling:g}",
        "",
        "[canary]                          # how a new version is tried before it takes over",
        'mode = "shadow"',
        "seconds = 3",
        "min_requests = 100",
        "replay = true",
        "",
        "[channels]                        # the loopback port on which each channel's service listens",
        f"production = {ports[0]}",
        f"staging = {ports[1]}",
    ]


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _names(names: list[str]) -> str:
    line = f"[{', '.join(map(_text, names))}]"
    return line if len(line) < 90 else "[\n" + "".join(f"    {_text(name)},\n" for name in names) + "]"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)} = {_value(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return (
        _text(value)
        if isinstance(value, str | bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
