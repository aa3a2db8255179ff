"""The prediction log: what was asked and answered, written in the background."""

import contextlib
import json
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Engine, insert
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from ml.console import say
from ml.errors import MlError
from ml.store.lookup import Answered, said_of
from ml.store.database import open_store, reason_of
from ml.serving.troubles import LOST, Trouble
from ml.store.tables import compared, labels, predictions, troubles

MAX_WAITING = 20_000
MAX_AT_ONCE = 2_000
GATHER_SECONDS = 0.25
RETRY_SECONDS = 1.0
# A label may overtake its prediction, which another worker is still to write.
LABEL_PATIENCE_SECONDS = 15.0


@dataclass(frozen=True)
class Label:
    """What came true for one row of a request."""

    request: str
    row: int
    label: Any
    at: float
    since: float | None = None
    sender: str | None = None


@dataclass(frozen=True)
class Compared:
    """What a version that did not answer says of one row of a request, in the trial of a candidate."""

    request: str
    row: int
    version: int
    candidate: int
    prediction: Any


Entry = dict[str, Any] | Label | Compared | Trouble


class PredictionLog:
    """Writes predictions and labels in batches from a thread; when too many wait, new ones are lost."""

    def __init__(
        self,
        url: str,
        *,
        of: tuple[str, str] = ("", ""),
        written: Callable[[int], None] = lambda rows: None,
        lost: Callable[[int], None] = lambda rows: None,
        labelled: Callable[[Answered | None, Any], None] = lambda answered, label: None,
    ) -> None:
        """Write to a database (SQLAlchemy URL) what a project and its channel answer, which ``of`` names.

        ``labelled`` gets what was said of a row, if it is known.
        """
        self.url, self._of = url, of
        self._written, self._count_lost, self._labelled = written, lost, labelled
        self._lost_rows, self._counting = 0, threading.Lock()
        self._waiting: queue.Queue[Entry] = queue.Queue()
        self._unresolved: deque[Label] = deque(maxlen=MAX_WAITING)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write_forever, name="prediction log", daemon=True)
        self._engine: Engine | None = None
        self._complained = False
        self._thread.start()

    def put(self, entries: Iterable[Entry]) -> bool:
        """Take entries to write, all or none; tell whether there was room. Never waits."""
        taken = list(entries)
        if self._waiting.qsize() + len(taken) > MAX_WAITING:
            self._lost(len(taken))
            return False
        for entry in taken:
            self._waiting.put_nowait(entry)
        return True

    def _lost(self, rows: int) -> None:
        """Count rows that are not kept, and remember to write at least how many there were."""
        self._count_lost(rows)
        with self._counting:
            self._lost_rows += rows

    def close(self, seconds: float = 5.0) -> None:
        """Write what waits, as far as that takes no longer than this."""
        self._ending.set()
        self._thread.join(seconds)

    def _write_forever(self) -> None:
        kept: list[Entry] = []
        while not (self._ending.is_set() and self._waiting.empty() and not kept):
            kept += self._gather(MAX_AT_ONCE - len(kept))
            if not kept and not self._unresolved:
                continue
            try:
                self._write(kept)
                if self._complained:
                    say("prediction log: written again")
                self._complained, kept = False, []
            except (DataError, IntegrityError) as error:
                say(f"prediction log: {len(kept)} entries cannot be stored: {type(error).__name__}")
                self._lost(len(kept))
                kept = []
            except (SQLAlchemyError, MlError, OSError, ValueError) as error:
                if not self._complained:
                    reason = reason_of(error)
                    say(f"prediction log: cannot be written, trying again: {reason}")
                self._complained = True
                if self._engine:
                    self._engine.dispose()
                if self._ending.wait(RETRY_SECONDS):
                    break
        rest = len(kept) + self._waiting.qsize()
        if rest:
            self._lost(rest)

    def _gather(self, most: int) -> list[Entry]:
        gathered: list[Entry] = []
        deadline = time.monotonic() + GATHER_SECONDS
        while len(gathered) < most and (left := deadline - time.monotonic()) > 0:
            if self._ending.is_set() and self._waiting.empty():
                break
            with contextlib.suppress(queue.Empty):
                gathered.append(self._waiting.get(timeout=min(left, 0.1)))
                continue
        return gathered

    def _write(self, entries: list[Entry]) -> None:
        self._engine = self._engine or open_store(self.url)
        with self._counting:
            lost_rows = self._lost_rows
        counts = Counter(entry for entry in entries if isinstance(entry, Trouble))
        if lost_rows:
            counts[Trouble(LOST)] = lost_rows
        answered = [entry for entry in entries if isinstance(entry, dict)]
        told = [entry for entry in entries if isinstance(entry, Label)]
        others = [entry for entry in entries if isinstance(entry, Compared)]
        with self._engine.begin() as connection:
            if answered:
                connection.execute(
                    insert(predictions),
                    [
                        entry | {"inputs": _json(entry["inputs"]), "output": _json(entry["output"])}
                        for entry in answered
                    ],
                )
            if others:
                given = [asdict(one) | {"prediction": _json(one.prediction)} for one in others]
                connection.execute(insert(compared), given)
            if told:
                connection.execute(
                    insert(labels), [asdict(one) | {"label": _json(one.label)} for one in told]
                )
            if counts:
                connection.execute(insert(troubles), [self._row(*one) for one in counts.items()])
        with self._counting:
            self._lost_rows -= lost_rows
        self._written(len(answered))
        entries.clear()
        self._unresolved.extend(told)
        self._resolve()

    def _row(self, trouble: Trouble, count: int) -> dict[str, Any]:
        about = {"project": self._of[0], "channel": self._of[1], "at": time.time(), "count": count}
        return about | {"kind": trouble.kind, "column_name": trouble.column, "rule": trouble.rule}

    def _resolve(self) -> None:
        assert self._engine
        for _ in range(len(self._unresolved)):
            one = self._unresolved.popleft()
            if answered := said_of(self._engine, one.request, one.row):
                self._labelled(answered, one.label)
            elif time.time() - one.at > LABEL_PATIENCE_SECONDS:
                self._labelled(None, one.label)
            else:
                self._unresolved.append(one)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
