"""Asking every table of a source whether it is there, fresh and as agreed, without building anything."""

import dataclasses
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from ml.data.completeness import check_count
from ml.data.sources import age_days, ask, check_age, module_of, name_of, origin
from ml.data.sources.interface import Asked
from ml.errors import MlError
from ml.project import Project
from ml.source_settings import AnySource, Role, agreed_of


@dataclasses.dataclass(frozen=True)
class Probe:
    """What one table of a source answered when it was asked: its size, or why it is not usable."""

    told: str
    size: str
    age: str
    seconds: float
    problem: str = ""


def probe(project: Project) -> list[Probe]:
    """Ask every table of a project's source whether it is there, fresh, and as agreed; build nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        asked, source = ask(project, Path(scratch)), project.source
        roles: list[Role] = ["labelled"]
        if agreed_of(source).unlabelled:
            roles.append("unlabelled")
        tables: list[tuple[AnySource, Role]] = [(source, role) for role in roles]
        agreed = agreed_of(source)
        tables += [(join.source, "labelled") for join in agreed.join]
        tables += [(other, "labelled") for other in agreed.append]
        return [
            _probe(one, dataclasses.replace(asked, name=name_of(one, role), role=role))
            for one, role in tables
        ]


def _probe(source: AnySource, asked: Asked) -> Probe:
    told, module, started = origin(source, asked.role), module_of(source), time.monotonic()
    size, age, problem = "", "", ""
    try:
        when: datetime | None = module.delivered(source, asked)
        age = f"{age_days(when):.1f} days" if when else ""
        if (most := agreed_of(source).max_age_days) is not None:
            check_age(told, when, most)
        count: Callable[[Any, Asked], str] = getattr(module, "size", _count)
        size = count(source, asked)
    except MlError as error:
        problem = str(error)
    return Probe(told, size, age, round(time.monotonic() - started, 2), problem)


def _count(source: AnySource, asked: Asked) -> str:
    agreed = agreed_of(source)
    rows = sum(len(batch) for batch in module_of(source).read(source, asked))
    told = origin(source, asked.role)
    check_count(
        f"{told}, {asked.role} table", rows, agreed.rows.get(asked.role), agreed.min_rows.get(asked.role)
    )
    return f"{rows:,} rows"
