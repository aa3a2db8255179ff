"""The prediction log (R53): what was asked and answered, written in the background."""

import contextlib
import json
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    insert,
    make_url,
    select,
)
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from ml import locations
from ml.console import say
from ml.errors import MlError

MOST_WAITING = 20_000
MOST_AT_ONCE = 2_000
GATHER_SECONDS = 0.25
RETRY_SECONDS = 1.0
# A label may overtake its prediction, which another worker is still to write.
LABEL_PATIENCE_SECONDS = 15.0

schema = MetaData()
predictions = Table(
    "predictions",
    schema,
    Column("request", String(32), primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("at", Float, index=True),  # Unix time
    Column("project", String(100)),
    Column("channel", String(100)),
    Column("version", Integer),
    Column("replay", Boolean),  # sent by a deploy, not by a client
    Column("inputs", Text),
    Column("output", Text),
    Column("milliseconds", Float),
)
# What the other version of a trial said of the same rows
compared = Table(
    "compared",
    schema,
    Column("request", String(32), primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("version", Integer),
    Column("candidate", Integer),
    Column("prediction", Text),
)
labels = Table(
    "labels",
    schema,
    Column("number", Integer, primary_key=True),
    Column("request", String(32), index=True),
    Column("row", Integer),
    Column("at", Float),
    Column("label", Text),
)


@dataclass(frozen=True)
class Label:
    """What came true for one row of a request."""

    request: str
    row: int
    label: Any
    at: float


@dataclass(frozen=True)
class Compared:
    """What a version that did not answer says of one row of a request, in the trial of a candidate."""

    request: str
    row: int
    version: int
    candidate: int
    prediction: Any


@dataclass(frozen=True)
class Answered:
    """What was said of a row: by the version that answered, and by the other one if it was compared."""

    said: dict[int, Any]
    candidate: int | None = None


Entry = dict[str, Any] | Label | Compared


class PredictionLog:
    """Writes predictions and labels in batches from a thread; when too many wait, new ones are lost."""

    def __init__(
        self,
        url: str,
        *,
        written: Callable[[int], None] = lambda rows: None,
        lost: Callable[[int], None] = lambda rows: None,
        labelled: Callable[[Answered | None, Any], None] = lambda answered, label: None,
    ) -> None:
        """Write to a database (SQLAlchemy URL); ``labelled`` gets what was said of a row, if it is known."""
        self._url, self._written, self._lost, self._labelled = url, written, lost, labelled
        self._waiting: queue.Queue[Entry] = queue.Queue()
        self._unresolved: deque[Label] = deque(maxlen=MOST_WAITING)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write_forever, name="prediction log", daemon=True)
        self._engine: Engine | None = None
        self._complained = False
        self._thread.start()

    def put(self, entries: Iterable[Entry]) -> bool:
        """Take entries to write, all or none; tell whether there was room. Never waits."""
        taken = list(entries)
        if self._waiting.qsize() + len(taken) > MOST_WAITING:
            self._lost(len(taken))
            return False
        for entry in taken:
            self._waiting.put_nowait(entry)
        return True

    def close(self, seconds: float = 5.0) -> None:
        """Write what waits, as far as that takes no longer than this."""
        self._ending.set()
        self._thread.join(seconds)

    def _write_forever(self) -> None:
        kept: list[Entry] = []
        while not (self._ending.is_set() and self._waiting.empty() and not kept):
            kept += self._gather(MOST_AT_ONCE - len(kept))
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
                    reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
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
        self._engine = self._engine or open_log(self._url)
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
                rows = [
                    {"request": one.request, "row": one.row, "at": one.at, "label": _json(one.label)}
                    for one in told
                ]
                connection.execute(insert(labels), rows)
        self._written(len(answered))
        entries.clear()
        self._unresolved.extend(told)
        self._resolve()

    def _resolve(self) -> None:
        assert self._engine
        for _ in range(len(self._unresolved)):
            one = self._unresolved.popleft()
            if answered := self._said(one):
                self._labelled(answered, one.label)
            elif time.time() - one.at > LABEL_PATIENCE_SECONDS:
                self._labelled(None, one.label)
            else:
                self._unresolved.append(one)

    def _said(self, one: Label) -> Answered | None:
        assert self._engine
        with self._engine.connect() as connection:
            found = connection.execute(
                select(
                    predictions.c.version,
                    predictions.c.output,
                    compared.c.version.label("other"),
                    compared.c.candidate,
                    compared.c.prediction,
                )
                .join(
                    compared,
                    (compared.c.request == predictions.c.request) & (compared.c.row == predictions.c.row),
                    isouter=True,
                )
                .where(predictions.c.request == one.request, predictions.c.row == one.row)
            ).first()
        if found is None:
            return None
        said = {found.version: json.loads(found.output)["prediction"]}
        if found.candidate is None:
            return Answered(said)
        return Answered(said | {found.other: json.loads(found.prediction)}, found.candidate)


def open_log(url: str) -> Engine:
    """Return a prediction log's database with its tables made; an unusable URL raises ``MlError``."""
    try:
        parsed = make_url(url)
        timeout = {"timeout": 3} if parsed.get_backend_name() == "sqlite" else {"connect_timeout": 3}
        engine = create_engine(parsed, connect_args=timeout, hide_parameters=True, pool_pre_ping=True)
    except (SQLAlchemyError, ImportError) as error:
        raise MlError(
            "ML_PREDICTIONS: not a database URL as sqlite:///file or postgresql+psycopg://…"
        ) from error
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        _keep_private(Path(parsed.database))

        @event.listens_for(engine, "connect")
        def _write_ahead(connection: Any, _: Any) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

    try:
        schema.create_all(engine)
    except SQLAlchemyError:  # another worker may have made them at this very moment
        time.sleep(0.2)
        schema.create_all(engine)
    return engine


def _keep_private(file: Path) -> None:
    """Make file and folder so that only their owner reads them; SQLite's other files take the file's mode.

    A folder that was there already may hold more than the log: only its file is closed then.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if file.parent == locations.predictions_folder():
        file.parent.chmod(0o700)
    os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    for one in (file, *file.parent.glob(f"{file.name}-*")):
        one.chmod(0o600)


def look_up(url: str, request: str) -> tuple[list[Any], list[Any]]:
    """Return the rows and the labels of one request; an unknown one, or no database, raises ``MlError``."""
    try:
        with open_log(url).connect() as connection:
            rows = connection.execute(
                select(predictions).where(predictions.c.request == request).order_by(predictions.c.row)
            ).all()
            told = connection.execute(
                select(labels).where(labels.c.request == request).order_by(labels.c.number)
            ).all()
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise MlError(f"the prediction log cannot be read: {reason}") from error
    if not rows:
        raise MlError(f"no request '{request}' in the prediction log {make_url(url).render_as_string()}")
    return list(rows), list(told)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
