"""The monitor stage: look at what a channel answered and what came true, name the cause, say what follows."""

import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from ml import locations
from ml.console import say
from ml.errors import MlError
from ml.monitoring_settings import Cause
from ml.records import Look, parse
from ml.registry.channel import Channel
from ml.registry.versions import Registry
from ml.stages import Context
from ml.store.database import open_store, reason_of
from ml.workspace import Outcome

NOBODY_TRAINS = "; this was a look alone, `make monitor` or the job monitor trains"
MAX_TREND = 500  # looks in the picture of quality over time


def run(context: Context) -> Outcome[Look]:
    """Write ``look.json`` and the page of a look, and keep the look in the store.

    Raises ``MlError`` if it could not look: no store is kept, or the database is away.
    """
    project, channel = context.project, context.channel
    project.check_channel(channel)
    url = locations.store(project.name, channel)
    if url is None:
        raise MlError("no answers are kept here to look at: ML_STORE is off")
    registry = Registry(project.name)
    pointer, now = registry.channel(channel), time.time()

    def work(folder: Path) -> dict[str, Any]:
        try:
            engine = open_store(url)
            with engine.begin() as connection:
                details, past = _look(context, registry, pointer, connection, now)
            engine.dispose()
        except SQLAlchemyError as error:
            raise MlError(f"the store cannot be looked into: {reason_of(error)}") from error
        from ml.monitoring.page import write_page

        write_page(folder, project, details, past)
        own = {"format", "stage", "project", "inputs", "outputs", "finished", "seconds"}
        return details.model_dump(exclude=own)

    inputs = {"version": pointer.version, "channel": channel, "now": now}
    result = context.workspace.run(Look, inputs, work, force=True)
    for line in told(result.record):
        say(f"monitor: {line}")
    return result


def _look(
    context: Context, registry: Registry, pointer: Channel, connection: Connection, now: float
) -> tuple[Look, list[Look]]:
    """Return what is seen and asked for, after keeping it, and the looks before."""
    from ml.monitoring.checks import see
    from ml.monitoring.diagnosis import diagnose
    from ml.monitoring.looks import asked_for, end_training, figures_of, keep_look, last_looks
    from ml.monitoring.reference import read_reference
    from ml.monitoring.retrain import decide, outcome_of
    from ml.monitoring.window import DAY, new_labels, prune, read_window

    project, settings = context.project, context.project.monitoring
    past = last_looks(connection, project.name, context.channel, MAX_TREND)
    about = {"version": pointer.version, "begins": now - settings.window_days * DAY, "ends": now}
    reference = None if pointer.version is None else read_reference(registry, pointer.version)
    if pointer.version is None or reference is None:
        why = (
            f"channel {context.channel} serves no version"
            if pointer.version is None
            else f"version {pointer.version} was made before its test rows were kept: train and deploy anew"
        )
        look = _record(context, about, cause="nothing", not_seen=[why])
        keep_look(connection, look)
        return look, past
    prune(connection, project, context.channel, now - settings.keep_days * DAY)
    window = read_window(connection, project, context.channel, pointer.version, now)
    seen = see(project, reference, window, tuple(past[-1].broken if past else ()))
    found = diagnose(seen)
    for training in asked_for(connection, project.name, context.channel):
        if training.outcome is None and (became := outcome_of(training, pointer.history, now)):
            end_training(connection, training.number, now, became)
    made = registry.read(pointer.version).registered
    decision = decide(
        settings,
        found.cause,
        asked_for(connection, project.name, context.channel),
        pointer.history,
        new_labels(connection, project, context.channel, _seconds(made)),
        now,
    )
    look = _record(
        context,
        about,
        cause=found.cause,
        why=list(found.why),
        asks="train" if decision.train and context.train else "",
        because=decision.because + ("" if context.train or not decision.train else NOBODY_TRAINS),
        **figures_of(seen),
    )
    keep_look(connection, look)
    return look, past


def _record(context: Context, about: dict[str, Any], *, cause: Cause, **found: Any) -> Look:
    own = {"stage": "monitor", "inputs": {}, "outputs": {}, "finished": "", "seconds": 0.0}
    names = {"project": context.project.name, "channel": context.channel}
    return parse(Look, {**own, **names, **about, **found, "cause": cause}, "what the monitor tells")


def _seconds(moment: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(moment).timestamp()


def told(look: Look) -> list[str]:
    """Return what a look found, for people: the cause, why, and what follows."""
    lines = [f"{look.cause} ({look.answers} answers, {look.labels} labels)", *look.why, *look.not_seen]
    if look.asks:
        return [*lines, f"trains again: {look.because}"]
    return [*lines, f"trains not again: {look.because}"] if look.because else lines


def tell(context: Context, record: Look) -> str:
    """Return the cause and what follows, in one line."""
    return f"{context.project.name}: {'; '.join(told(record))}"
