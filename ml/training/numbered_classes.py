"""A classifier that takes only 0, 1, 2, … for classes, with whatever the classes of a project are."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone


class NumberedClasses(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Numbers the classes, in their order, for the estimator inside, which XGBoost wants."""

    def __init__(self, estimator: Any) -> None:
        """Wrap an unfitted estimator."""
        self.estimator = estimator

    def fit(self, rows: Any, target: Any) -> "NumberedClasses":
        """Fit a copy of the estimator on numbered classes."""
        self.classes_, numbers = np.unique(np.asarray(target), return_inverse=True)
        self.fitted_ = clone(self.estimator).fit(rows, numbers)
        return self

    def predict(self, rows: Any) -> Any:
        """Return the class of each row, as the target has it."""
        return self.classes_[self.fitted_.predict(rows)]

    def predict_proba(self, rows: Any) -> Any:
        """Return the probability of each class, in the order of ``classes_``: shape (rows, classes)."""
        return self.fitted_.predict_proba(rows)
