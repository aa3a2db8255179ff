"""Many trees as a few arrays, walked level by level for all of them at once."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from ml.serving.fast_path.columns import NotCompiled

BLOCK_ROWS = 128


@dataclass(frozen=True)
class Tree:
    """One tree: of each node the feature, the largest value that goes left, both children, and the values."""

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    is_leaf: np.ndarray
    values: np.ndarray  # shape (nodes, numbers a leaf)
    depth: int


class Trees:
    """Trees of yes and no; a leaf leads to itself, so that all are walked down to the same depth."""

    def __init__(self, trees: list[Tree]) -> None:
        """Lay the nodes of all trees behind each other.

        A node has two places, one for each answer: what is known of it stands in both, and from the place
        of an answer leads the way to the first place of a child.
        """
        starts = [0, *accumulate(len(one.feature) for one in trees)]
        children = []
        for start, one in zip(starts, trees, strict=False):
            itself = np.arange(len(one.feature))
            ways = [np.where(one.is_leaf, itself, way) for way in (one.left, one.right)]
            children.append(2 * (np.stack(ways, axis=1).ravel() + start))
        self._roots, self._children = 2 * np.array(starts[:-1]), np.concatenate(children)
        self._feature = _twice([np.where(one.is_leaf, 0, one.feature) for one in trees])
        self._threshold = _twice([np.where(one.is_leaf, np.inf, one.threshold) for one in trees])
        self._values = _twice([one.values for one in trees])
        self._depth = max(one.depth for one in trees)

    def sums(self, matrix: np.ndarray) -> np.ndarray:
        """Return the sums over all trees: shape (rows, numbers a leaf)."""
        return _in_blocks(lambda rows: _in_order(self._values_of(rows)), matrix)

    def _values_of(self, matrix: np.ndarray) -> np.ndarray:
        """Return what each tree says of each row: shape (rows, trees, numbers a leaf)."""
        numbers, at = matrix.ravel(), self._roots
        if len(matrix) == 1:
            for _ in range(self._depth):
                goes_right = numbers.take(self._feature.take(at)) > self._threshold.take(at)
                at = self._children.take(at + goes_right)
            alone: np.ndarray = self._values.take(at, axis=0)[None]
            return alone
        first = (np.arange(len(matrix)) * matrix.shape[1])[:, None]  # of each row, among all numbers
        at = np.broadcast_to(at, (len(matrix), len(at)))
        for _ in range(self._depth):
            goes_right = numbers.take(self._feature.take(at) + first) > self._threshold.take(at)
            at = self._children.take(at + goes_right)
        found: np.ndarray = self._values.take(at, axis=0)
        return found


def _twice(parts: list[np.ndarray]) -> np.ndarray:
    return np.repeat(np.concatenate(parts), 2, axis=0)


def leaf(values: np.ndarray) -> Tree:
    """Return a tree that says the same of every row."""
    none = np.zeros(1, dtype=int)
    return Tree(none, np.zeros(1), none, none, np.ones(1, dtype=bool), values[None], 0)


def tree_of(fitted: Any, rate: float = 1.0) -> Tree:
    """Return a tree of scikit-learn's (``tree_``), what it says multiplied by ``rate``."""
    values = rate * fitted.value[:, 0, :]
    is_leaf = fitted.children_left == -1
    return Tree(
        fitted.feature,
        fitted.threshold,
        fitted.children_left,
        fitted.children_right,
        is_leaf,
        values,
        fitted.max_depth,
    )


def tree_of_histogram(predictor: Any) -> Tree:
    """Return a tree of scikit-learn's histogram boosting."""
    nodes = predictor.nodes
    if nodes["is_categorical"].any():
        raise NotCompiled("a tree splits by categories")
    return Tree(
        nodes["feature_idx"].astype(int),
        nodes["num_threshold"],
        nodes["left"].astype(int),
        nodes["right"].astype(int),
        nodes["is_leaf"].astype(bool),
        nodes["value"][:, None],
        int(nodes["depth"].max(initial=0)),
    )


class ObliviousTrees:
    """CatBoost's trees: all nodes of a level ask the same, so the answers are the binary number of a leaf."""

    def __init__(self, model: Any) -> None:
        """Read a fitted model; raise ``NotCompiled`` for one of another kind of trees or splits."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.json"
            model.save_model(str(file), format="json")
            trees = json.loads(file.read_bytes()).get("oblivious_trees")
        splits = [one["splits"] or [] for one in trees or []]
        if not splits or any(one["split_type"] != "FloatFeature" for own in splits for one in own):
            raise NotCompiled("a tree asks more than whether a number is greater")
        shape = len(splits), max(map(len, splits))
        self._feature, self._border = np.zeros(shape, dtype=int), np.full(shape, np.inf, dtype=np.float32)
        for number, own in enumerate(splits):
            for level, one in enumerate(own):
                self._feature[number, level] = one["float_feature_index"]
                self._border[number, level] = one["border"]
        counts = [int(count) for count in model.get_tree_leaf_counts()]
        self._first = np.array([0, *accumulate(counts)][:-1])
        self._bits = 1 << np.arange(shape[1])
        self._leaves = np.asarray(model.get_leaf_values()).reshape(sum(counts), -1)
        scale, bias = model.get_scale_and_bias()
        self._scale, self._bias = scale, np.atleast_1d(bias)

    def sums(self, matrix: np.ndarray) -> np.ndarray:
        """Return the sums over all trees: shape (rows, numbers a leaf)."""
        found: np.ndarray = _in_blocks(self._sums_of, matrix.astype(np.float32)) * self._scale + self._bias
        return found

    def _sums_of(self, numbers: np.ndarray) -> np.ndarray:
        leaves = (numbers[:, self._feature] > self._border) @ self._bits + self._first
        return _in_order(self._leaves.take(leaves, axis=0))


def _in_blocks(sums: Callable[[np.ndarray], np.ndarray], matrix: np.ndarray) -> np.ndarray:
    """Return the sums of all rows, a block at a time: what all trees say of it stays in the cache."""
    if len(matrix) <= BLOCK_ROWS:
        return sums(matrix)
    starts = range(0, len(matrix), BLOCK_ROWS)
    return np.concatenate([sums(matrix[start : start + BLOCK_ROWS]) for start in starts])


def _in_order(values: np.ndarray) -> np.ndarray:
    """Return the sums over the second axis, added one by one as a loop does: other orders round otherwise."""
    found: np.ndarray = values.cumsum(axis=1)[:, -1]
    return found
