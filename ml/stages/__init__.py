"""The stages: one module each, with one calling convention; the table below is in the order they run.

A module offers ``run(context) -> Outcome``, and ``tell(context, record) -> str`` if the page of a build says
more of it than that it ran. It knows its input and output files and no other stage.
"""

import importlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ml.errors import MlError

if TYPE_CHECKING:
    from ml.project import Project
    from ml.settings import Canary
    from ml.workspace import Outcome, Workspace

# The Makefile reads this table, too: a stage is a line of it.
STAGES = {
    "lint": "check syntax, style, docstrings and dependencies",
    "data": "fetch the tables, check contract and data gates, split into train and test",
    "train": "search the candidates, refit and sign the best",
    "quality": "run the tests of the model; bless it or not (exit code 3)",
    "deploy": "register the blessed model and bring it into a channel",
    "monitor": "look at what was answered and came true, and name the cause of what changed",
}
# From raw data to a service: these run one after the other.
PIPELINE = tuple(stage for stage in STAGES if stage != "monitor")


@dataclass(frozen=True)
class Context:
    """What a stage works on, and what the command line asks of one or the other."""

    project: "Project"
    workspace: "Workspace"
    channel: str = "production"
    force: bool = False
    csv: bool = False
    checks: tuple[str, ...] = ()
    target: str = "local"
    hosts: tuple[str, ...] = ()
    port: int | None = None
    canary: "Canary | None" = None  # the project's, unless the command line has another wish
    backend: str | None = None  # where the search runs; the project's, unless the command line names one
    scheduler: str | None = None  # of the Dask cluster
    train: bool = False  # whether who looks will start the training that the look asks for


def run_stage(stage: str, context: Context) -> "Outcome[Any]":
    """Run one stage, and tell the people whom the project names what deserves it.

    Its module, and what that imports, is loaded only now.
    """
    module = importlib.import_module(f"ml.stages.{stage}")
    people = context.project.notify.team or context.project.notify.data_owner
    try:
        outcome: Outcome[Any] = module.run(context)
    except (MlError, KeyboardInterrupt) as error:
        _note_end(stage, context, error)
        if people and isinstance(error, MlError):
            from ml.notify import tell_failure

            tell_failure(context.project, context.channel, stage, error)
        raise
    if not people:
        return outcome
    from ml import notify

    if stage == "deploy":
        notify.tell_deployed(context.project, context.channel)
    elif stage == "monitor":
        notify.tell_look(context.project, outcome.record, module.told(outcome.record))
    return outcome


def _note_end(stage: str, context: Context, error: BaseException) -> None:
    """Note how a build of Jenkins ended, which the monitor else took for one that was killed."""
    refused = getattr(error, "exit_code", 1) == 3  # which the stage itself notes
    if refused or stage not in ("train", "quality", "deploy") or "BUILD_TAG" not in os.environ:
        return
    from ml.store.history import note_build

    outcome = "failed" if isinstance(error, MlError) else "stopped"
    note_build(context.project.name, context.channel, stage, outcome, told=str(error))


def tell(stage: str, context: Context, record: Any) -> str:
    """Return what came of a stage in one line; empty if there is no more to tell than that it ran."""
    module = importlib.import_module(f"ml.stages.{stage}")
    return str(module.tell(context, record)) if hasattr(module, "tell") else ""
