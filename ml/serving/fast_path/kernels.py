"""How each family of estimators turns numbers into an answer, without what scikit-learn does around it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.utils.extmath import softmax

from ml.serving.fast_path.columns import NotCompiled
from ml.serving.fast_path.trees import ObliviousTrees, Tree, Trees, leaf, tree_of, tree_of_histogram
from ml.training.numbered_classes import NumberedClasses

# From the numbers of rows, shape (rows, numbers), to predictions and, of each class, their probabilities.
# They are lists: most requests are of one row, and of one number Python makes another sooner than NumPy does.
Answer = tuple[list[Any], list[list[float]]]
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
    return lambda matrix: ((matrix @ weights + constant).tolist(), [])


def _logistic(estimator: Any) -> Kernel:
    weights, constant, classes = estimator.coef_.T, estimator.intercept_, _classes(estimator)

    def two(matrix: np.ndarray) -> Answer:
        scores = (matrix @ weights + constant).ravel()
        return _two_classes(classes, (scores > 0).tolist(), expit(scores))

    def many(matrix: np.ndarray) -> Answer:
        scores = matrix @ weights + constant
        return _of_many(classes, scores, softmax(scores))

    return two if len(classes) == 2 else many


def _tree(estimator: Any) -> Kernel:
    fitted, classes = estimator.tree_, _classes(estimator)

    def answer(matrix: np.ndarray) -> Answer:
        said = fitted.predict(matrix.astype(np.float32))
        return _of_many(classes, said, said) if classes else (said[:, 0].tolist(), [])

    return answer


def _forest(estimator: Any) -> Kernel:
    trees = Trees([tree_of(one.tree_) for one in estimator.estimators_])
    count, classes = len(estimator.estimators_), _classes(estimator)

    def answer(matrix: np.ndarray) -> Answer:
        said = trees.sums(_as_sklearn_s_trees_see_it(matrix)) / count
        return _of_many(classes, said, said) if classes else (said[:, 0].tolist(), [])

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
    classes, loss = _classes(estimator), estimator._loss
    is_logistic = type(loss).__name__ == "HalfBinomialLoss"

    def answer(matrix: np.ndarray) -> Answer:
        found = sums(matrix)
        if not classes:
            return number(found.ravel()).tolist(), []
        if found.shape[1] > 1:
            return _of_many(classes, found, loss.predict_proba(found))
        scores = found.ravel()
        likely = expit(scores) if is_logistic else loss.predict_proba(scores)[:, 1]
        return _two_classes(classes, is_second(scores).tolist(), likely)

    return answer


def _classes(estimator: Any) -> list[Any]:
    """Return the classes of a classifier; a regression has none."""
    return list(np.asarray(getattr(estimator, "classes_", [])).tolist())


def _two_classes(classes: list[Any], is_second: list[bool], likely: np.ndarray) -> Answer:
    """Return the answer, given whether it is the second of two classes and how likely that is."""
    second = likely.tolist()
    return [classes[one] for one in is_second], [[1 - one for one in second], second]


def _of_many(classes: list[Any], scores: np.ndarray, likely: np.ndarray) -> Answer:
    """Return the class with the largest score, and how likely each is: both of shape (rows, classes)."""
    return [classes[one] for one in scores.argmax(axis=1).tolist()], likely.T.tolist()


def _catboost(estimator: Any) -> Kernel:
    classes, categories = _classes(estimator), estimator.get_cat_feature_indices()

    def given(matrix: np.ndarray) -> np.ndarray:
        """Return numbers as CatBoost takes them: those that stand for categories must be whole ones."""
        if not categories:
            return matrix
        found = matrix.astype(object)
        found[:, categories] = matrix[:, categories].astype(int)
        return found

    def own_sums(matrix: np.ndarray) -> np.ndarray:
        said = estimator.predict(given(matrix), prediction_type="RawFormulaVal", thread_count=1)
        return np.asarray(said).reshape(len(matrix), -1)

    # What it makes of categories with many values only CatBoost itself knows.
    sums = own_sums if categories else ObliviousTrees(estimator).sums

    def number(matrix: np.ndarray) -> Answer:
        return sums(matrix)[:, 0].tolist(), []

    def two(matrix: np.ndarray) -> Answer:
        scores = sums(matrix)[:, 0]
        return _two_classes(classes, (scores > 0).tolist(), expit(scores))

    def many(matrix: np.ndarray) -> Answer:
        # Its exponential function rounds otherwise than any other: only CatBoost itself says the same.
        likely = estimator.predict_proba(given(matrix), thread_count=1)
        return _of_many(classes, likely, likely)

    if type(estimator).__name__ == "CatBoostRegressor":
        return number
    return two if len(classes) == 2 else many


def _dummy(estimator: Any) -> Kernel:
    if getattr(estimator, "strategy", "") in ("stratified", "uniform"):
        raise NotCompiled(f"{type(estimator).__name__} answers at random")
    row = np.zeros((1, 1))
    said = np.ravel(estimator.predict(row)).tolist()
    [likely] = estimator.predict_proba(row).tolist() if hasattr(estimator, "predict_proba") else [[]]

    def answer(matrix: np.ndarray) -> Answer:
        return said * len(matrix), [[one] * len(matrix) for one in likely]

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
