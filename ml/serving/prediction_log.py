"""The prediction log: what was asked and answered, written in the background."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic_core import from_json, to_json
from sqlalchemy import Connection, Engine, insert
from sqlalchemy.exc import SQLAlchemyError

from ml.console import say
from ml.serving.troubles import LOST, Trouble
from ml.store.database import file_of, open_store, passes, reason_of
from ml.store.lookup import Answered, said_of
from ml.store.tables import compared, labels, troubles

MAX_WAITING = 20_000
MAX_AT_ONCE = 2_000
GATHER_SECONDS = 0.25
RETRY_SECONDS = 1.0
# A label may overtake its prediction, which another worker is still to write.
LABEL_PATIENCE_SECONDS = 15.0


# What is kept of a row, in this order; project and channel come before.
KEPT = ("request", "row", "at", "version", "replay", "inputs", "output", "milliseconds")


@dataclass(frozen=True)
class AnsweredRows:
    """Rows of one request, and what a version said of each, as JSON arrays in the order of ``KEPT``.

    That is written at once: rows kept as they are until the log is written cost their memory time and again.
    """

    count: int
    arrays: str

    @classmethod
    def of(
        cls,
        request: str,
        first: int,
        at: float,
        version: int,
        replay: bool,
        inputs: Sequence[dict[str, Any]],
        outputs: Sequence[dict[str, Any]],
        milliseconds: float,
        personal: Iterable[str] = (),
    ) -> "AnsweredRows":
        """Keep rows of one request, from its row ``first`` on; of columns that are ``personal``, nothing."""
        hidden = frozenset(personal)
        rows = []
        for place, said in enumerate(zip(inputs, outputs, strict=True), first):
            asked, told = (_without(one, hidden) for one in said) if hidden else said
            rows.append((request, place, at, version, replay, asked, told, milliseconds))
        return cls(len(rows), _json(rows)[1:-1])


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


Entry = AnsweredRows | Label | Compared | Trouble


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
        self._waiting: deque[Entry] = deque()
        # Rows that one side put there and the other took, each counted by its own thread.
        self._put_rows, self._taken_rows = 0, 0
        self._unresolved: deque[Label] = deque(maxlen=MAX_WAITING)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write_forever, name="prediction log", daemon=True)
        self._engine: Engine | None = None
        self._file: tuple[int, int] | None = None
        self._complained = False
        self._thread.start()

    def put(self, entries: Iterable[Entry]) -> bool:
        """Take entries to write, all or none; tell whether there was room. Never waits."""
        taken = list(entries)
        rows = sum(map(_rows, taken))
        if not self.has_room(rows):
            self._lost(rows)
            return False
        self._waiting.extend(taken)
        self._put_rows += rows
        return True

    def has_room(self, rows: int) -> bool:
        """Tell whether so many rows would be taken now."""
        return self._put_rows - self._taken_rows + rows <= MAX_WAITING

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
        singly, given_up, reason = False, 0, ""
        while not (self._ending.is_set() and not self._waiting and not kept):
            if not kept:
                kept, singly = self._gather(), False
            if not kept and not self._unresolved:
                continue
            part = kept[:1] if singly else kept
            try:
                self._write(part)
                kept, part = kept[len(part) :], []
                if not kept:
                    self._resolve()
            except Exception as error:  # nobody would start this thread anew
                if passes(error):
                    if self._ends_before_it_passes(error):
                        break
                elif len(part) > 1:  # one of them cannot be stored, the others can
                    singly = True
                elif part:
                    rows = _rows(kept.pop(0))
                    self._lost(rows)
                    given_up, reason = given_up + rows, type(error).__name__
                else:
                    say(f"prediction log: a label is not counted: {type(error).__name__}: {error}")
            if given_up and not kept:
                say(f"prediction log: {given_up} entries cannot be stored: {reason}")
                given_up = 0
        if rest := sum(map(_rows, (*kept, *self._waiting))):
            self._lost(rest)

    def _ends_before_it_passes(self, error: Exception) -> bool:
        """Wait a while for a store that is away, and tell whether the log is to end meanwhile."""
        if not self._complained:
            say(f"prediction log: cannot be written, trying again: {reason_of(error)}")
        self._complained = True
        self._close_store()
        return self._ending.wait(RETRY_SECONDS)

    def _gather(self) -> list[Entry]:
        """Return what came in a while: nobody is woken for a single row, and a statement writes many."""
        if self._put_rows - self._taken_rows < MAX_AT_ONCE:
            self._ending.wait(GATHER_SECONDS)
        gathered: list[Entry] = []
        rows = 0
        while self._waiting and rows < MAX_AT_ONCE:
            gathered.append(self._waiting.popleft())
            rows += _rows(gathered[-1])
        self._taken_rows += rows
        return gathered

    def _open_store(self) -> Engine:
        """Return the database; a file that is not there any more, or another one, is opened anew."""
        if self._engine and (self._file is None or file_of(self._engine.url) != self._file):
            say("prediction log: its file is gone or another one: opened anew")
            self._close_store()
        if self._engine is None:
            self._engine = open_store(self.url)
            self._file = file_of(self._engine.url)
        return self._engine

    def _close_store(self) -> None:
        if self._engine:
            self._engine.dispose()
        self._engine = None

    def _write(self, entries: list[Entry]) -> None:
        engine = self._open_store()
        with self._counting:
            lost_rows = self._lost_rows
        counts = Counter(entry for entry in entries if isinstance(entry, Trouble))
        if lost_rows:
            counts[Trouble(LOST)] = lost_rows
        answered = [entry for entry in entries if isinstance(entry, AnsweredRows) and entry.count]
        told = [entry for entry in entries if isinstance(entry, Label)]
        others = [entry for entry in entries if isinstance(entry, Compared)]
        with engine.begin() as connection:
            if answered:
                _add(connection, self._of, answered)
            if others:
                given = [asdict(one) | {"prediction": _json(one.prediction)} for one in others]
                connection.execute(insert(compared), given)
            if told:
                about = dict(zip(("project", "channel"), self._of, strict=True))
                given = [asdict(one) | about | {"label": _json(one.label)} for one in told]
                connection.execute(insert(labels), given)
            if counts:
                connection.execute(insert(troubles), [self._row(*one) for one in counts.items()])
        with self._counting:
            self._lost_rows -= lost_rows
        self._written(sum(map(_rows, answered)))
        self._unresolved.extend(told)
        if self._complained:
            say("prediction log: written again")
        self._complained = False

    def _row(self, trouble: Trouble, count: int) -> dict[str, Any]:
        about = {"project": self._of[0], "channel": self._of[1], "at": time.time(), "count": count}
        return about | {"kind": trouble.kind, "column_name": trouble.column, "rule": trouble.rule}

    def _resolve(self) -> None:
        """Count the labels whose answers are known by now, or will not be any more."""
        assert self._engine
        for _ in range(len(self._unresolved)):
            one = self._unresolved.popleft()
            try:
                answered = said_of(self._engine, self._of, one.request, one.row)
            except SQLAlchemyError:
                self._unresolved.appendleft(one)
                raise
            if answered or time.time() - one.at > LABEL_PATIENCE_SECONDS:
                self._labelled(answered, one.label)
            else:
                self._unresolved.append(one)


def _without(row: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return row if names.isdisjoint(row) else {name: row[name] for name in row if name not in names}


def _add(connection: Connection, of: tuple[str, str], answered: list[AnsweredRows]) -> None:
    """Add rows to ``predictions``: SQLAlchemy's own way takes a dictionary a row.

    SQLite takes all as one text and apart by itself: row by row the interpreter, which answers requests
    meanwhile, would change hands twice for each.
    """
    names = ", ".join(map(connection.dialect.identifier_preparer.quote, ("project", "channel", *KEPT)))
    insert_into, arrays = f"INSERT INTO predictions ({names})", ",".join(one.arrays for one in answered)
    if connection.dialect.name == "sqlite":
        values = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(KEPT)))
        # Else each value would be made anew for each of its parts.
        each = "WITH each AS MATERIALIZED (SELECT value FROM json_each(?))"
        # Before what begins with WITH, Python's sqlite3 begins no transaction: it would be written by itself.
        statement = f"{insert_into} {each} SELECT ?, ?, {values} FROM each"
        connection.exec_driver_sql(statement, (f"[{arrays}]", *of))
        return
    texts = {KEPT.index("inputs"), KEPT.index("output")}
    rows = [
        (*of, *(_json(value) if place in texts else value for place, value in enumerate(row)))
        for row in from_json(f"[{arrays}]")
    ]
    connection.exec_driver_sql(f"{insert_into} VALUES ({', '.join(['%s'] * len(rows[0]))})", rows)


def _rows(entry: Entry) -> int:
    return entry.count if isinstance(entry, AnsweredRows) else 1


def _json(value: Any) -> str:
    return to_json(value, inf_nan_mode="null").decode()
