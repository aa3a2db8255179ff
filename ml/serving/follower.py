"""Following a channel: the versions it points to are loaded beside the old ones, proved, and swapped in."""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field, TypeAdapter

from ml.console import say
from ml.data.request import expressed, label_adapter, request_model
from ml.data.rows import rows_to_table
from ml.errors import MlError
from ml.files import now
from ml.registry.channel import Candidate
from ml.registry.versions import Registry
from ml.serving import GOLDEN_TOLERANCE, MOST_ROWS
from ml.training.bundle import Bundle, load_version, predict_columns

# A pointer that did not change is read again all the same: a clock or a file system may be coarse.
READ_AGAIN_SECONDS = 2.0


@dataclass(frozen=True, eq=False)
class Served:
    """A version in memory, ready to answer; the adapters read one row or a list of them from JSON."""

    version: int
    bundle: Bundle
    row: TypeAdapter[Any]
    rows: TypeAdapter[Any]
    label: TypeAdapter[Any]
    checked: bool  # the adapters say all that the contract says

    @cached_property
    def columns(self) -> frozenset[str]:
        """The columns that its contract knows."""
        return frozenset(self.bundle.request_contract.columns)

    def answer(self, rows: list[BaseModel]) -> list[dict[str, Any]]:
        """Return id, prediction and probabilities of each row, or raise ``MlError`` for a broken contract."""
        contract = self.bundle.request_contract
        return self.answer_table(rows_to_table(rows, contract, checked=self.checked))

    def answer_table(self, table: Any) -> list[dict[str, Any]]:
        """Return the same of a table that was checked."""
        columns = predict_columns(self.bundle.pipeline, self.bundle.project, table)
        values = [column.tolist() for column in columns.values()]
        return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]

    def bin(self, answer: dict[str, Any]) -> str:
        """Return where a prediction belongs in the histogram: a tenth of probability, or of golden values."""
        if self.bundle.project.task == "classification":
            last = [value for key, value in answer.items() if key.startswith("probability_")]
            return f"{min(int(last[-1] * 10), 9) / 10:g}" if last else str(answer["prediction"])
        return f"{self._edges[np.searchsorted(self._edges, answer['prediction'], 'right') - 1]:g}"

    @cached_property
    def _edges(self) -> np.ndarray:
        golden = [one["prediction"] for one in self.bundle.golden["predictions"]]
        return np.concatenate([[-np.inf], np.quantile(golden, np.linspace(0, 1, 11)[1:-1])])


@dataclass(frozen=True, eq=False)
class Serving:
    """All that a request needs to know, taken once so that one answer comes from one model."""

    champion: Served | None = None
    candidate: Served | None = None
    trial: Candidate | None = None

    def other(self, served: Served) -> Served | None:
        """Return the version that scores a request in the background, for comparison: every pair counts."""
        if self.champion is None or self.candidate is None or self.trial is None:
            return None
        if served is self.candidate:
            return self.champion
        return None if self.trial.share else self.candidate

    def unknown_to(self, served: Served) -> frozenset[str]:
        """Return the columns that a champion lets pass because the candidate on trial brings them in."""
        if served is not self.champion or self.candidate is None:
            return frozenset()
        return self.candidate.columns - served.columns

    def choose(self, key: Callable[[], str]) -> Served | None:
        """Return the version that answers a request; the same key gets the same one all through a canary."""
        if self.champion is None or self.candidate is None or self.trial is None or not self.trial.share:
            return self.champion
        digest = hashlib.sha256(f"{self.candidate.version} {key()}".encode()).digest()
        chosen = int.from_bytes(digest[:8]) < self.trial.share * 2**64
        return self.candidate if chosen else self.champion


class Follower:
    """Holds the versions that answer; ``follow`` is called again and again."""

    def __init__(self, registry: Registry, channel: str) -> None:
        """Follow one channel of a registry; nothing is loaded yet."""
        self.registry, self.channel = registry, channel
        self.serving = Serving()
        self.refused: dict[int, str] = {}
        self.swaps = 0
        self.since: str | None = None
        self._loaded: dict[int, Served] = {}
        self._seen: tuple[int, ...] | None = None
        self._read_at = -READ_AGAIN_SECONDS
        self._complained = ""

    def follow(self) -> bool:
        """Serve what the channel points to, else keep what answers and note why; tell of a change."""
        before, refused = self.serving, dict(self.refused)
        trial = before.trial
        if trial and trial.over():
            self.serving = Serving(before.champion)
        if self._pointer_moved():
            try:
                self._take()
                self._complained = ""
            except (MlError, OSError) as error:
                self._seen = None
                if str(error) != self._complained:
                    say(f"serve: cannot read the channel, nothing changes: {error}")
                self._complained = str(error)
        return self.serving is not before or self.refused != refused

    def _pointer_moved(self) -> bool:
        try:
            found = os.stat(self.registry.channel_file(self.channel))
            seen: tuple[int, ...] = (found.st_mtime_ns, found.st_ino, found.st_size)
        except OSError:
            seen = ()
        if seen == self._seen and time.monotonic() - self._read_at < READ_AGAIN_SECONDS:
            return False
        self._seen, self._read_at = seen, time.monotonic()
        return True

    def _take(self) -> None:
        channel = self.registry.channel(self.channel)
        if channel.version is None and not channel.history:
            return  # nothing was ever deployed, or the registry is out of reach
        trial = channel.candidate if channel.candidate and not channel.candidate.over() else None
        before = self.serving.champion
        champion = self._get(channel.version) or (before if channel.version else None)
        candidate = self._get(trial.version) if trial else None
        found = Serving(champion, candidate, trial if candidate else None)
        old = self.serving
        if (found.champion, found.candidate, found.trial) != (old.champion, old.candidate, old.trial):
            self.serving = found
        if champion is not before:
            self.swaps += 1
            self.since = now() if champion else None
            answers = f"version {champion.version} answers" if champion else "no version answers"
            say(f"serve: {self.registry.project} {answers}")
        self._get(channel.previous)  # so that a rollback finds it ready
        wanted = {channel.version, channel.previous, trial.version if trial else None}
        kept = {one.version for one in (champion, candidate) if one}
        self._loaded = {one: self._loaded[one] for one in self._loaded if one in wanted | kept}
        self.refused = {one: why for one, why in self.refused.items() if one in wanted}

    def _get(self, version: int | None) -> Served | None:
        if version is None or version in self.refused:
            return None
        if version not in self._loaded:
            try:
                self._loaded[version] = self._load(version)
            except Exception as error:  # whatever is wrong with a version, the old one goes on answering
                self.refused[version] = str(error)
                say(f"serve: version {version} is refused: {error}")
                return None
        return self._loaded[version]

    def _load(self, version: int) -> Served:
        bundle = load_version(self.registry, version)
        if (difference := bundle.replay_golden()) > GOLDEN_TOLERANCE:
            raise MlError(f"its golden predictions come out otherwise here (by {difference:g})")
        return ready(version, bundle)


def ready(version: int, bundle: Bundle) -> Served:
    """Return a model with what reads its requests."""
    row = request_model(bundle.request_contract)
    many = Annotated[list[row], Field(min_length=1, max_length=MOST_ROWS)]  # type: ignore[valid-type]
    return Served(
        version,
        bundle,
        TypeAdapter(row),
        TypeAdapter(many),
        label_adapter(bundle.contract, bundle.project.target),
        expressed(bundle.request_contract),
    )
