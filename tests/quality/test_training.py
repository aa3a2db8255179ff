"""Is the model what training makes of these rows, by skill and not by luck?"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.inspection import permutation_importance
from sklearn.metrics import mean_squared_error

from ml import locations
from ml.files import digest
from ml.project import Project
from ml.registry.recalls import active, trained_on
from ml.registry.versions import Registry
from ml.serving import GOLDEN_TOLERANCE
from ml.training.bundle import Bundle, largest_difference, predict
from ml.training.grid import EstimatorChoice
from ml.training.pipeline import feature_table
from ml.training.scores import scorer
from ml.training.search import fit
from ml.training.window import newest
from ml.workspace import Workspace

OTHER_SEEDS = 2
SHUFFLES = 5  # of each feature: the mean is told, and the spread around it
MAX_LISTED = 300  # letters of names in a message, whose end is cut off


def test_made_under_this_lock(gate: Callable[..., None], candidate: Bundle) -> None:
    """The versions it was trained with are those it is tested and served with."""
    same = candidate.manifest.provenance.lock_sha256 == digest(locations.LOCK_FILE)
    gate("environment", "trained under another lock", 0.0 if same else 1.0, at_most=0.0)


def test_trained_on_no_recalled_row(
    gate: Callable[..., None], project: Project, workspace: Workspace
) -> None:
    """None of the rows that it learned from was marked bad since."""
    registry = Registry(project.name)
    hit = trained_on(registry, active(registry), workspace.folder("train"))
    gate("recall", "recalled rows that it was trained on", int((hit > 0).sum()), at_most=0)


def test_repeated_training_gives_the_same_model(
    gate: Callable[..., None],
    project: Project,
    candidate: Bundle,
    train: pd.DataFrame,
    test_rows: pd.DataFrame,
) -> None:
    """Fitted anew as the manifest tells, on the training rows alone, it answers the same.

    Not to the last bit: another agent may have trained it, whose processor adds up in another order.
    """
    again = predict(_fit(project, candidate, train), project, test_rows)
    difference = largest_difference(candidate.predict(test_rows), again, project)
    gate("reproducible", "largest difference to a training repeated", difference, at_most=GOLDEN_TOLERANCE)


def test_seeds(
    gate: Callable[..., None],
    declared: Callable[..., float],
    project: Project,
    positive: Any,
    candidate: Bundle,
    train: pd.DataFrame,
    test_rows: pd.DataFrame,
    test_target: pd.Series,
    test_score: float,
) -> None:
    """Other seeds give models that are about as good: this one was not lucky."""
    most = declared(project.gates.max_seed_spread, "max_seed_spread")
    scores = [test_score] + [
        scorer(project.training.metric, positive)(
            _fit(project, candidate, train, (project.seed + step) % 2**32), test_rows, test_target
        )
        for step in range(1, OTHER_SEEDS + 1)
    ]
    gate("seeds", f"spread of {project.training.metric}", float(np.ptp(scores)), at_most=most)


def test_the_test_error_does_not_rise_while_training_goes_on(
    gate: Callable[..., None],
    declared: Callable[..., float],
    project: Project,
    candidate: Bundle,
    train: pd.DataFrame,
    test_rows: pd.DataFrame,
    test_target: pd.Series,
    figures: dict[str, Any],
) -> None:
    """The last step is not much worse than the best one on held-out rows."""
    most = declared(project.gates.max_divergence, "max_divergence")
    estimator = candidate.pipeline[-1]
    staged = "staged_predict_proba" if project.task == "classification" else "staged_predict"
    if not hasattr(estimator, staged):
        pytest.skip(f"{candidate.manifest.estimator} has no steps to watch")
    error = _log_loss(estimator.classes_) if project.task == "classification" else mean_squared_error
    curves = {}
    for name, rows, target in (
        ("training", train.drop(columns=project.target), train[project.target]),
        ("test", test_rows, test_target),
    ):
        features = candidate.pipeline[:-1].transform(rows)
        curves[name] = [float(error(target, step)) for step in getattr(estimator, staged)(features)]
    figures["training curve"] = curves
    least = min(curves["test"])
    gate(
        "divergence",
        "rise of the test error after its least",
        (curves["test"][-1] - least) / least,
        at_most=most,
        note=f"(least at step {int(np.argmin(curves['test'])) + 1} of {len(curves['test'])})",
    )


def test_every_feature_helps(
    warn: Callable[[str, str], None],
    project: Project,
    positive: Any,
    candidate: Bundle,
    test_rows: pd.DataFrame,
    test_target: pd.Series,
    figures: dict[str, Any],
) -> None:
    """A feature that can be shuffled without loss is told; that refuses nothing."""
    features = feature_table(candidate.project, test_rows)
    found = permutation_importance(
        candidate.pipeline[len(project.features.functions) :],
        features,
        test_target,
        scoring=scorer(project.training.metric, positive),
        n_repeats=SHUFFLES,
        random_state=project.seed,
    )
    figures["importance"] = {
        name: {"mean": float(mean), "spread": float(spread)}
        for name, mean, spread in zip(features, found.importances_mean, found.importances_std, strict=True)
    }
    useless = [str(name) for name, mean in zip(features, found.importances_mean, strict=True) if mean <= 0]
    if useless:
        warn("features that do not help", f"{listed(useless)}: shuffling them costs nothing")


def listed(names: list[str]) -> str:
    """Return as many whole names as a message has room for, and how many there are beyond them."""
    lengths = np.cumsum([len(name) + 2 for name in names])
    shown = max(1, int((lengths <= MAX_LISTED).sum()))
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _log_loss(classes: np.ndarray) -> Callable[[pd.Series, np.ndarray], float]:
    """Return the log loss without scikit-learn's checks, which hundreds of steps need not pass."""

    def loss(target: pd.Series, probabilities: np.ndarray) -> float:
        told = probabilities[np.arange(len(target)), np.searchsorted(classes, target)]
        return float(-np.log(np.clip(told, np.finfo(told.dtype).eps, 1)).mean())

    return loss


def _fit(project: Project, candidate: Bundle, train: pd.DataFrame, seed: int | None = None) -> Any:
    manifest = candidate.manifest
    chosen = EstimatorChoice(manifest.estimator, manifest.parameters)
    train = newest(project, train, manifest.window_days)
    return fit(project, chosen, train.drop(columns=project.target), train[project.target], seed)
