"""The monitor stage: look at what a channel answered and what came true, name the cause, say what follows."""

import dataclasses
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine

from ml.console import say
from ml.errors import MlError
from ml.monitoring_settings import Cause
from ml.project import Project
from ml.records import Look, parse
from ml.registry.channel import Channel
from ml.registry.versions import Registry
from ml.stages import Context
from ml.store.database import alone, opened
from ml.store.history import died, last_builds, trained_since, unchanged_since
from ml.workspace import Outcome

if TYPE_CHECKING:
    from ml.monitoring.diagnosis import Diagnosis

NOBODY_TRAINS = "; this was a look alone, `make monitor` or the job monitor trains"
MAX_TREND = 500  # looks in the picture of quality over time
MAX_BUILDS = 20  # on the page


def run(context: Context) -> Outcome[Look]:
    """Write ``look.json`` and the page of a look, and keep the look in the store.

    Raises ``MlError`` if it could not look: no store is kept, or the database is away.
    """
    project, channel = context.project, context.channel
    project.check_channel(channel)
    registry = Registry(project.name)
    pointer, now = registry.channel(channel), time.time()

    def work(folder: Path) -> dict[str, Any]:
        from ml.monitoring.looks import left_out
        from ml.monitoring.page import write_page

        with _store(project, channel) as engine:
            details, past = _look(context, registry, pointer, engine, now)
            with engine.connect() as connection:
                made = last_builds(connection, project.name, channel, MAX_BUILDS)
                not_learned = left_out(connection, project.name, channel)
        write_page(folder, project, details, past, made, not_learned)
        own = {"format", "stage", "project", "inputs", "outputs", "finished", "seconds"}
        return details.model_dump(exclude=own)

    inputs = {"version": pointer.version, "channel": channel, "now": now}
    result = context.workspace.run(Look, inputs, work, force=True)
    for line in told(result.record):
        say(f"monitor: {project.name}: {line}")
    return result


def lift(project: Project, channel: str, number: int) -> str:
    """Let models learn again from rows that a look left out, since a person looked; return what is told."""
    from ml.monitoring.looks import lift as lift_in_store

    project.check_channel(channel)
    with _store(project, channel) as engine, engine.begin() as connection:
        why = lift_in_store(connection, project.name, channel, number, time.time())
    return f"quarantine {number} ({why}) holds no more: the next build learns from its rows"


def _store(project: Project, channel: str) -> AbstractContextManager[Engine]:
    none, failed = "no answers are kept here to look at", "the store cannot be looked into"
    return opened(project.name, channel, none=none, failed=failed)


def _look(
    context: Context, registry: Registry, pointer: Channel, engine: Engine, now: float
) -> tuple[Look, list[Look]]:
    """Return what is seen and asked for, after keeping it, and the looks before.

    Who looks at the same time waits for what the other asks for, and not for what the other sees.
    """
    from ml.monitoring.checks import see
    from ml.monitoring.diagnosis import diagnose, not_sure
    from ml.monitoring.looks import figures_of, keep_look, last_looks
    from ml.monitoring.reference import read_reference
    from ml.monitoring.window import DAY, prune, read_window

    project, settings = context.project, context.project.monitoring
    with engine.begin() as connection:
        past = last_looks(connection, project.name, context.channel, MAX_TREND)
        gone = _died(connection, project, now)
    about = {
        "version": pointer.version,
        "begins": now - settings.window_days * DAY,
        "ends": now,
        "died": gone,
    }
    reference = None if pointer.version is None else read_reference(registry, pointer.version)
    if pointer.version is None or reference is None:
        why = (
            f"channel {context.channel} serves no version"
            if pointer.version is None
            else f"version {pointer.version} was made before its test rows were kept: train and deploy anew"
        )
        look = _record(context, about, cause="nothing", not_seen=[why])
        with engine.begin() as connection:
            keep_look(connection, look)
        return look, past
    with engine.begin() as connection:
        prune(connection, project, context.channel, now - settings.keep_days * DAY)
    trouble = _ask_source(context, engine, now)
    champion = registry.read(pointer.version)
    same = registry.with_model(champion.identity["model_sha256"])
    with engine.connect() as connection:
        window = read_window(connection, project, context.channel, pointer.version, now, same)
    seen = see(project, reference, window, tuple(past[-1].broken if past else ()))
    seen = dataclasses.replace(
        seen,
        trouble_with_service=(*_silent(context), *seen.trouble_with_service),
        trouble_with_source=tuple(trouble),
    )
    found = diagnose(seen)
    if found.cause == "nothing":
        doubts = not_sure(seen, settings.max_loss_increase)
        seen = dataclasses.replace(seen, not_seen=(*seen.not_seen, *doubts))
    made = _seconds(champion.registered)
    return _keep(context, pointer, engine, made, about | figures_of(seen), found, trouble), past


def _keep(
    context: Context,
    pointer: Channel,
    engine: Engine,
    made: float,
    seen: dict[str, Any],
    found: "Diagnosis",
    trouble: list[str],
) -> Look:
    """Decide on a training, alone among those who look now, and keep the look; ``made`` is the champion."""
    from ml.monitoring.looks import asked_for, end_training, keep_look
    from ml.monitoring.retrain import decide, outcome_of
    from ml.monitoring.window import new_labels

    project, now = context.project, seen["ends"]
    with alone(engine) as connection:
        for training in asked_for(connection, project.name, context.channel):
            if training.outcome is not None:
                continue
            began = trained_since(connection, project.name, training.at)
            unchanged = unchanged_since(connection, project.name, context.channel, training.at)
            if became := outcome_of(training, pointer.history, now, began=began, unchanged=unchanged):
                end_training(connection, training.number, now, became)
        decision = decide(
            project.monitoring,
            found.cause,
            asked_for(connection, project.name, context.channel),
            pointer.history,
            new_labels(connection, project, context.channel, made),
            now,
            "; ".join(trouble),
        )
        look = _record(
            context,
            seen,
            cause=found.cause,
            why=[*found.why, *(_suspect(context, pointer, now) if found.cause == "service" else [])],
            asks="train" if decision.train and context.train else "",
            because=decision.because + ("" if context.train or not decision.train else NOBODY_TRAINS),
        )
        keep_look(connection, look)
    return look


def _ask_source(context: Context, engine: Engine, now: float) -> list[str]:
    """Take labels from the project's source where it says so, and return what is wrong with the source."""
    from ml.monitoring.source import take_labels, trouble_with_source

    project, settings = context.project, context.project.monitoring
    trouble = trouble_with_source(project) if settings.ask_source else []
    if settings.labels_from_source:
        try:
            count = take_labels(engine, project, context.channel, now)
            say(f"monitor: {count:,} labels came from the source")
        except MlError as error:
            trouble.append(f"labels: {error}")
    return trouble


def _silent(context: Context) -> list[str]:
    """Return which services of the channel that are known here do not answer."""
    from ml.serving.service import died as service_died
    from ml.serving.service import elsewhere, find

    name = context.project.name, context.channel
    here = find(*name)
    known = [*([here] if here else []), *elsewhere(*name, context.hosts)]
    told = [
        f"the service at {url} ended, and nobody stopped it: start it anew" for url in service_died(*name)
    ]
    for one in known:
        try:
            one.health(*name)
        except MlError as error:
            told.append(str(error))
    return told


def _died(connection: Connection, project: Project, now: float) -> str:
    """Return which build that trained came to no end; nothing, if the last one did."""
    from datetime import UTC, datetime

    found = died(connection, project.name, now)
    if found is None:
        return ""
    build, began = found
    since = datetime.fromtimestamp(began, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{build} trained from {since} on and came to no end: its agent or its process was killed"


def _suspect(context: Context, pointer: Channel, now: float) -> list[str]:
    """Return which deploy may be the reason, if the last one was in the window, and how to go back."""
    last = pointer.history[-1] if pointer.history else None
    if last is None or last.action != "deploy" or pointer.previous is None:
        return []
    if now - _seconds(last.at) > context.project.monitoring.window_days * 86400:
        return []
    back = f"python -m ml rollback --project {context.project.name} --channel {context.channel}"
    return [f"version {pointer.version} came at {last.at}: if that is the reason, `{back}`"]


def _record(context: Context, about: dict[str, Any], *, cause: Cause, **found: Any) -> Look:
    own = {"stage": "monitor", "inputs": {}, "outputs": {}, "finished": "", "seconds": 0.0}
    names = {"project": context.project.name, "channel": context.channel}
    return parse(Look, {**own, **names, **about, **found, "cause": cause}, "what the monitor tells")


def _seconds(moment: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(moment).timestamp()


def told(look: Look) -> list[str]:
    """Return what a look found, for people: the cause, why, and what follows."""
    lines = [f"{look.cause} ({look.answers} answers, {look.labels} labels)", *look.why]
    lines += look.not_seen if look.answers or look.labels or look.version is None else []
    lines += [look.died] if look.died else []
    if look.asks:
        return [*lines, f"a training follows: {look.because}"]
    return [*lines, f"no training follows: {look.because}"] if look.because else lines


def tell(context: Context, record: Look) -> str:
    """Return the cause and what follows, in one line."""
    return f"{context.project.name}: {'; '.join(told(record))}"
