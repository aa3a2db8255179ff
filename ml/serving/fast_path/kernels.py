"""How each family of estimators turns numbers into an answer, without what scikit-learn does around it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.utils.extmath import softmax

from ml.serving.fast_path.columns import NotCompiled
from ml.serving.fast_path.trees import ObliviousTrees, Tree, Trees, leaf, tree_of, tree_of_histogram
from ml.training.numbered_classes import NumberedClasses

# From the numbers of rows, shape (rows, numbers), to predictions and, of classes, their probabilities.
Answer = tuple[np.ndarray, np.ndarray | None]
Kernel = Callable[[np.ndarray], Answer]


def kernel_of(estimator: Any) -> Kernel:
    """Return the kernel of a fitted estimator; raise ``NotCompiled`` for a family that is not known."""
    kind = type(estimator.estimator if isinstance(estimator, NumberedClasses) else estimator)
    make = KERNELS.get(kind.__name__)
    if make is None or kind.__module__.split(".")[0] not in ("sklearn", "catboost"):
        raise NotCompiled(f"{kind.__name__} has no fast path")
    return make(estimator)


def _linear(estimator: Any) -> Kernel:
    weights, constant = estimator.coef_.T, estimator.intercept_
    return lambda matrix: (matrix @ weights + constant, None)


def _logistic(estimator: Any) -> Kernel:
    weights, constant, classes = estimator.coef_.T, estimator.intercept_, estimator.classes_

    def two(matrix: np.ndarray) -> Answer:
        scores = (matrix @ weights + constant).ravel()
        return classes[(scores > 0).astype(int)], _two_classes(expit(scores))

    def many(matrix: np.ndarray) -> Answer:
        scores = matrix @ weights + constant
        return classes[scores.argmax(axis=1)], softmax(scores)

    return two if len(classes) == 2 else many


def _tree(estimator: Any) -> Kernel:
    fitted, classes = estimator.tree_, getattr(estimator, "classes_", None)

    def answer(matrix: np.ndarray) -> Answer:
        said = fitted.predict(matrix.astype(np.float32))
        return (said[:, 0], None) if classes is None else (classes[said.argmax(axis=1)], said)

    return answer


def _forest(estimator: Any) -> Kernel:
    trees = Trees([tree_of(one.tree_) for one in estimator.estimators_])
    count, classes = len(estimator.estimators_), getattr(estimator, "classes_", None)

    def answer(matrix: np.ndarray) -> Answer:
        said = trees.sums(_as_sklearn_s_trees_see_it(matrix)) / count
        return (said[:, 0], None) if classes is None else (classes[said.argmax(axis=1)], said)

    return answer


def _as_sklearn_s_trees_see_it(matrix: np.ndarray) -> np.ndarray:
    """Return numbers rounded to single precision, which are compared with thresholds of double precision."""
    return matrix.astype(np.float32).astype(float)


def _boosting(estimator: Any) -> Kernel:
    if estimator.init_ != "zero" and not type(estimator.init_).__name__.startswith("Dummy"):
        raise NotCompiled(f"{type(estimator).__name__} begins with {type(estimator.init_).__name__}")
    [beginning] = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), dtype=np.float32))
    trees = [[tree_of(one.tree_, estimator.learning_rate) for one in own] for own in estimator.estimators_.T]
    sums = _sums(beginning, trees)
    return _of_sums(
        estimator,
        lambda matrix: sums(_as_sklearn_s_trees_see_it(matrix)),
        lambda scores: scores >= 0,
        lambda scores: scores,
    )


def _histogram_boosting(estimator: Any) -> Kernel:
    [beginning] = estimator._baseline_prediction
    trees = [list(map(tree_of_histogram, own)) for own in zip(*estimator._predictors, strict=True)]
    sums = _sums(beginning, trees)
    return _of_sums(estimator, sums, lambda scores: scores > 0, estimator._loss.link.inverse)


def _sums(beginning: np.ndarray, trees: list[list[Tree]]) -> Callable[[np.ndarray], np.ndarray]:
    """Return where boosting begins plus what its trees add: numbers of rows to shape (rows, sums).

    Of several classes each has a beginning, and trees of its own.
    """
    each = [Trees([leaf(beginning[[number]]), *own]) for number, own in enumerate(trees)]
    if len(each) == 1:
        return each[0].sums
    return lambda matrix: np.concatenate([one.sums(matrix) for one in each], axis=1)


def _of_sums(
    estimator: Any,
    sums: Callable[[np.ndarray], np.ndarray],
    is_second: Callable[[np.ndarray], np.ndarray],
    number: Callable[[np.ndarray], np.ndarray],
) -> Kernel:
    """Return what scikit-learn's boosting makes of its sums: classes and probabilities, or a number."""
    classes, loss = getattr(estimator, "classes_", None), estimator._loss

    def answer(matrix: np.ndarray) -> Answer:
        found = sums(matrix)
        if classes is None:
            return number(found.ravel()), None
        if found.shape[1] > 1:
            return classes[found.argmax(axis=1)], loss.predict_proba(found)
        scores = found.ravel()
        likely = _two_classes(expit(scores)) if is_logistic else loss.predict_proba(scores)
        return classes[is_second(scores).astype(int)], likely

    is_logistic = type(loss).__name__ == "HalfBinomialLoss"
    return answer


def _two_classes(likely: np.ndarray) -> np.ndarray:
    """Return the probabilities of both classes, from those of the second: shape (rows, 2)."""
    both = np.empty((len(likely), 2))
    both[:, 1] = likely
    np.subtract(1, likely, out=both[:, 0])
    return both


def _catboost(estimator: Any) -> Kernel:
    trees, classes = ObliviousTrees(estimator), getattr(estimator, "classes_", [])

    def number(matrix: np.ndarray) -> Answer:
        return trees.sums(matrix)[:, 0], None

    def two(matrix: np.ndarray) -> Answer:
        scores = trees.sums(matrix)[:, 0]
        return classes[(scores > 0).astype(int)], _two_classes(expit(scores))

    def many(matrix: np.ndarray) -> Answer:
        # Its exponential function rounds otherwise than any other: only CatBoost itself says the same.
        likely = estimator.predict_proba(matrix)
        return classes[likely.argmax(axis=1)], likely

    if type(estimator).__name__ == "CatBoostRegressor":
        return number
    return two if len(classes) == 2 else many


def _dummy(estimator: Any) -> Kernel:
    if getattr(estimator, "strategy", "") in ("stratified", "uniform"):
        raise NotCompiled(f"{type(estimator).__name__} answers at random")
    row = np.zeros((1, 1))
    said = np.ravel(estimator.predict(row))
    likely = estimator.predict_proba(row) if hasattr(estimator, "predict_proba") else None

    def answer(matrix: np.ndarray) -> Answer:
        count = len(matrix)
        return np.repeat(said, count), None if likely is None else np.repeat(likely, count, axis=0)

    return answer


KERNELS: dict[str, Callable[[Any], Kernel]] = {
    **dict.fromkeys(("LinearRegression", "Ridge", "Lasso", "ElasticNet"), _linear),
    "LogisticRegression": _logistic,
    **dict.fromkeys(("DecisionTreeClassifier", "DecisionTreeRegressor"), _tree),
    **dict.fromkeys(("ExtraTreeClassifier", "ExtraTreeRegressor"), _tree),
    **dict.fromkeys(("RandomForestClassifier", "RandomForestRegressor"), _forest),
    **dict.fromkeys(("ExtraTreesClassifier", "ExtraTreesRegressor"), _forest),
    **dict.fromkeys(("GradientBoostingClassifier", "GradientBoostingRegressor"), _boosting),
    **dict.fromkeys(("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"), _histogram_boosting),
    **dict.fromkeys(("CatBoostClassifier", "CatBoostRegressor"), _catboost),
    **dict.fromkeys(("DummyClassifier", "DummyRegressor"), _dummy),
}
