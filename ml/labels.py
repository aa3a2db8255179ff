"""What came true for answers that were given, told all at once: out of a file, or by the project's source."""

import csv
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Engine, insert, select, tuple_

from ml.data.contract import load_contract
from ml.data.request import Feedback, label_reader
from ml.errors import MlError, describe
from ml.monitoring.source import take_labels as take_labels_of_source
from ml.project import Project
from ml.store.database import opened
from ml.store.lookup import answers_of, labels_that_hold
from ml.store.tables import labels, predictions

AT_ONCE = 400  # rows that one question to the database is about


def take_labels(project: Project, channel: str, file: Path | None) -> str:
    """Write labels to the store, all or none, and return what they were.

    Columns of a CSV or NDJSON file as in ``POST /feedback``: request_id, label; row (0) and at (ISO 8601,
    with its zone) may be left out. Without a file they are those of the project's source, by id. Raises
    ``MlError`` that names the line that is none.
    """
    none, failed = "no answers are kept here that labels could be of", "the store cannot be written to"
    with opened(project.name, channel, none=none, failed=failed) as engine:
        if file is None:
            return f"{take_labels_of_source(engine, project, channel, time.time()):,} labels taken"
        return _take_file(engine, project, channel, file)


def _take_file(engine: Engine, project: Project, channel: str, file: Path) -> str:
    given = list(_read(project, file))
    if not given:
        raise MlError(f"{file} holds no label: it needs the columns request_id and label")
    now, counts, of = time.time(), Counter[str](), (project.name, channel)
    with engine.begin() as connection:
        for start in range(0, len(given), AT_ONCE):
            part = given[start : start + AT_ONCE]
            counts.update(_kinds(connection, of, part))
            connection.execute(insert(labels), [_row(of, one, now) for one in part])
    told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items()))
    return f"{len(given):,} labels taken: {told}"


def _row(of: tuple[str, str], one: Feedback, now: float) -> dict[str, Any]:
    return {
        "request": one.request_id,
        "row": one.row,
        "at": now,
        "label": json.dumps(one.label, ensure_ascii=False),
        "since": one.since,
        "sender": "file",
        "project": of[0],
        "channel": of[1],
    }


def _kinds(connection: Connection, of: tuple[str, str], given: list[Feedback]) -> Iterator[str]:
    """Yield of each label whether it is the first, says the same again, contradicts, or is of no answer."""
    keys = [(one.request_id, one.row) for one in given]
    asked = select(predictions.c.request, predictions.c.row).where(answers_of(*of))
    answered = {
        (one.request, one.row)
        for one in connection.execute(asked.where(tuple_(predictions.c.request, predictions.c.row).in_(keys)))
    }
    holds = labels_that_hold(*of)
    known = {
        (one.request, one.row): json.loads(one.label)
        for one in connection.execute(select(holds).where(tuple_(holds.c.request, holds.c.row).in_(keys)))
    }
    for one, key in zip(given, keys, strict=True):
        if key not in answered:
            yield "of rows that nobody asked for"
        elif key not in known:
            yield "new"
        else:
            yield "told again" if known[key] == one.label else "that say otherwise than before"
        known[key] = one.label


def _read(project: Project, file: Path) -> Iterator[Feedback]:
    """Yield the labels of a file, each as the contract describes the target."""
    read_label = label_reader(load_contract(project), project.target)
    lines = _json_lines(file) if file.suffix in (".ndjson", ".jsonl") else _csv_lines(file)
    number = 0
    try:
        for number, content in lines:
            one = Feedback.model_validate_json(json.dumps(content))
            yield one.model_copy(update={"label": read_label(one.label)})
    except ValidationError as error:
        raise MlError(f"{file}, line {number}: {describe(error)}: nothing was taken") from error
    except RecursionError as error:
        raise MlError(f"{file}, after line {number}: nested too deeply: nothing was taken") from error
    except (UnicodeDecodeError, csv.Error) as error:
        told = f"{file}, after line {number}: this is no CSV or NDJSON text in UTF-8"
        raise MlError(f"{told} ({str(error)[:100]}): nothing was taken") from error


def _csv_lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with open(file, encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        for row in reader:
            told = {str(name).strip(): value for name, value in row.items() if value not in (None, "")}
            for name in ("row", "label"):
                if name in told:
                    told[name] = _value(str(told[name]))
            yield reader.line_num, told


def _json_lines(file: Path) -> Iterator[tuple[int, Any]]:
    with open(file, encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except ValueError as error:
                    raise MlError(f"{file}, line {number} is no JSON: nothing was taken") from error


def _value(text: str) -> Any:
    """Return a number or a truth value for a text that is one, else the text."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, int | float) else text
