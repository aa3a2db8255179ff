"""What the quality probably is where labels have not come yet."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from ml.monitoring.losses import LEAST_PROBABILITY, Mean, as_text, class_columns, losses
from ml.monitoring.tables import as_numbers, plain
from ml.project import Project

# Sampling error of an estimate on both sides, in standard errors, as NannyML takes it.
STANDARD_ERRORS = 3
FOLDS = 3
GROUPS = 5  # of the rows that a nanny learns from, each left out once
SURE = 2  # standard errors


@dataclass(frozen=True)
class Estimate:
    """The mean loss that is expected, and in words of a metric: ``accuracy``, ``roc_auc`` or the error."""

    loss: Mean
    metrics: dict[str, float]

    @property
    def interval(self) -> tuple[float, float]:
        """The mean loss less and plus its sampling error."""
        half = STANDARD_ERRORS * self.loss.error
        return self.loss.value - half, self.loss.value + half


def estimate(
    project: Project, reference: pd.DataFrame, inputs: pd.DataFrame, said: pd.DataFrame
) -> Estimate | None:
    """Return what the loss of answered rows probably is; none for a model without probabilities.

    ``reference`` are the test rows with the target and what was said of them.
    """
    if project.task == "regression":
        return _direct(project, reference, inputs, said)
    return _by_confidence(project, reference, said) if class_columns(said) else None


def _by_confidence(project: Project, reference: pd.DataFrame, said: pd.DataFrame) -> Estimate:
    """Return the estimate from calibrated probabilities: each row is right as often as it is said to be.

    Source: NannyML, Confidence-based Performance Estimation (2022); isotonic calibration of each class
    against the rest, where it helps: Zadrozny and Elkan (2002). It holds as long as the world is the same
    for equal inputs.
    """
    classes = class_columns(said)
    truth = as_text(reference[project.target]).to_numpy()
    columns = [_calibrated(reference[name], truth == label, said[name]) for label, name in classes.items()]
    chances = np.column_stack(columns)
    chances /= np.maximum(chances.sum(axis=1, keepdims=True), 1e-12)
    stated = np.clip(said[list(classes.values())].to_numpy(float), LEAST_PROBABILITY, 1.0)
    expected = -(chances * np.log(stated)).sum(axis=1)
    # What a row will lose varies by what comes true, too, and not only by what is expected of it.
    spread = (chances * np.log(stated) ** 2).sum(axis=1) - expected**2
    error = float(np.sqrt((spread.sum() + ((expected - expected.mean()) ** 2).sum()))) / len(said)
    answers = as_text(said["prediction"])
    places = answers.map({label: place for place, label in enumerate(classes)}).to_numpy(int)
    metrics = {"accuracy": float(chances[np.arange(len(said)), places].mean())}
    if len(classes) == 2:
        second = chances[:, 1]
        both = np.concatenate([np.ones(len(said)), np.zeros(len(said))])
        metrics["roc_auc"] = float(
            roc_auc_score(
                both,
                np.tile(said[list(classes.values())[1]].to_numpy(float), 2),
                sample_weight=np.concatenate([second, 1 - second]),
            )
        )
    return Estimate(Mean(float(expected.mean()), error, len(said)), metrics)


def _calibrated(before: pd.Series, right: np.ndarray, now: pd.Series) -> np.ndarray:
    """Return how often rows are right that are said to be; as stated, if a calibration is not surely closer.

    That is judged on rows that a calibration did not learn from: of a model that is calibrated, it would
    only learn the noise, and no longer tell rows apart that the model does.
    """
    from sklearn.isotonic import IsotonicRegression
    from sklearn.model_selection import KFold, cross_val_predict

    stated, isotonic = before.to_numpy(float), IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    apart = cross_val_predict(isotonic, stated, right.astype(float), cv=folds)
    closer = (stated - right) ** 2 - (apart - right) ** 2
    if closer.mean() <= SURE * closer.std() / np.sqrt(len(closer)):
        return now.to_numpy(float)
    return np.asarray(isotonic.fit(stated, right).predict(now.to_numpy(float)))


def _direct(project: Project, reference: pd.DataFrame, inputs: pd.DataFrame, said: pd.DataFrame) -> Estimate:
    """Return the estimate of a nanny: a second model that learned how far off the first is for which inputs.

    Source: NannyML, Direct Loss Estimation (2022). Part of the error is its spread on rows that it did not
    learn from, and what it would say if it had learned from others, which is much where inputs are new: the
    delete-a-group jackknife, Kott, Journal of Official Statistics 17 (2001).
    """
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.model_selection import KFold
    from sklearn.pipeline import make_pipeline

    names = [name for name in inputs if name in reference]
    before = reference[names].assign(prediction=reference["prediction"])
    features = plain(before)
    asked = plain(inputs[names].assign(prediction=said["prediction"].to_numpy()), before)
    lost = losses(project, reference, reference[project.target])
    nanny = make_pipeline(as_numbers(features), HistGradientBoostingRegressor(random_state=project.seed))
    nanny[0].sparse_threshold = 0
    off, means = np.empty(len(lost)), []
    for learned, left in KFold(GROUPS).split(features):
        nanny.fit(features.iloc[learned], lost[learned])
        off[left] = lost[left] - nanny.predict(features.iloc[left])
        means.append(nanny.predict(asked).mean())
    told = nanny.fit(features, lost).predict(asked)
    learning = (GROUPS - 1) * float(np.var(means))
    error = float(np.sqrt((told.var() + off.var()) / len(told) + learning))
    return Estimate(Mean(float(told.mean()), error, len(told)), {"mean_absolute_error": float(told.mean())})
