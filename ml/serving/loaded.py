"""A version in memory, ready to answer, and the versions among which requests are dealt out."""

import hashlib
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ml.data.request import RowReader, label_reader, row_reader
from ml.data.rows import Row, rows_to_table
from ml.errors import MlError
from ml.registry.channel import Challenger
from ml.serving import MAX_ROWS
from ml.serving.fast_path import FastPath, build_fast_path
from ml.serving.fast_path.columns import NotCompiled
from ml.training.bundle import Bundle, predict_rows

TENTHS = [f"{tenth / 10:g}" for tenth in range(10)]


@dataclass(frozen=True, eq=False)
class LoadedVersion:
    """A version in memory, ready to answer, with what reads rows and labels from JSON.

    ``scoring`` says in words which way it answers, and why.
    """

    version: int
    bundle: Bundle
    reader: RowReader
    read_label: Callable[[Any], Any]
    fast_path: FastPath | None = None
    scoring: str = "pandas"

    @cached_property
    def columns(self) -> frozenset[str]:
        """The columns that its contract knows."""
        return frozenset(self.bundle.request_contract.columns)

    @property
    def rows_at_once(self) -> int:
        """How many rows may be scored on the spot."""
        return self.fast_path.rows_at_once if self.fast_path else 0

    def answer_at_once(self, rows: list[Row]) -> list[Row] | None:
        """Return the answers of the fast path; nothing if there is none, or it is not sure of these rows."""
        path = self.fast_path
        try:
            return path.answer(rows) if path is not None and path.checks.passed(rows) else None
        except Exception:  # a project's own function for one row may: the pickle is asked then
            return None

    def answer(self, rows: list[Row]) -> list[Row]:
        """Return id, prediction and probabilities of each row, or raise ``MlError`` for a broken contract."""
        if self.fast_path and self.fast_path.for_many and (found := self.answer_at_once(rows)) is not None:
            return found
        contract = self.bundle.request_contract
        personal, checked = self.bundle.project.personal, self.reader.complete
        return self.answer_table(rows_to_table(rows, contract, checked=checked, personal=personal))

    def answer_table(self, table: Any) -> list[dict[str, Any]]:
        """Return the same of a table that was checked."""
        return predict_rows(self.bundle.pipeline, self.bundle.project, table)

    def bins(self, answers: list[dict[str, Any]]) -> list[str]:
        """Return where predictions belong in the histogram: a tenth of probability, or of golden values."""
        if self.bundle.project.task == "classification":
            last = next(reversed(answers[0]))
            if not last.startswith("probability_"):
                return [str(one["prediction"]) for one in answers]
            return [TENTHS[min(int(one[last] * 10), 9)] for one in answers]
        places = (bisect_right(self._edges, one["prediction"]) for one in answers)
        return [f"{self._edges[place - 1]:g}" for place in places]

    @cached_property
    def _edges(self) -> list[float]:
        golden = [one["prediction"] for one in self.bundle.golden["predictions"]]
        return [-np.inf, *np.quantile(golden, np.linspace(0, 1, 11)[1:-1]).tolist()]


@dataclass(frozen=True, eq=False)
class Routing:
    """The versions among which requests are dealt out, taken once so that an answer comes from one model."""

    champion: LoadedVersion | None = None
    candidate: LoadedVersion | None = None
    trial: Challenger | None = None

    def other(self, answering: LoadedVersion) -> LoadedVersion | None:
        """Return the version that scores a request in the background, for comparison: every pair counts."""
        if self.champion is None or self.candidate is None or self.trial is None:
            return None
        if answering is self.candidate:
            return self.champion
        return None if self.trial.share else self.candidate

    def unknown_to(self, answering: LoadedVersion) -> frozenset[str]:
        """Return the columns that a champion lets pass because the candidate on trial brings them in."""
        if answering is not self.champion or self.candidate is None:
            return frozenset()
        return self.candidate.columns - answering.columns

    def choose(self, key: Callable[[], str]) -> LoadedVersion | None:
        """Return the version that answers a request; the same key gets the same one all through a canary."""
        if self.champion is None or self.candidate is None or self.trial is None or not self.trial.share:
            return self.champion
        digest = hashlib.sha256(f"{self.candidate.version} {key()}".encode()).digest()
        chosen = int.from_bytes(digest[:8]) < self.trial.share * 2**64
        return self.candidate if chosen else self.champion


def ready(version: int, bundle: Bundle) -> LoadedVersion:
    """Return a model with what reads its requests, and its fast path if it can have one."""
    reader = row_reader(bundle.request_contract, bundle.project, MAX_ROWS)
    label = label_reader(bundle.contract, bundle.project.target)
    try:
        path = build_fast_path(bundle)
    except (NotCompiled, MlError) as reason:
        return LoadedVersion(version, bundle, reader, label, None, f"pandas: {reason}")
    return LoadedVersion(version, bundle, reader, label, path, path.told)
