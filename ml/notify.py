"""Telling people: a refused gate, a withdrawn candidate, a cause, a question, and that all is well again.

Each state is told once, whoever looks how often; which one was told last stands in the store, and while that
is away in a file of this machine.
"""

import logging
import os
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from ml import locations
from ml.console import say
from ml.errors import MlError
from ml.files import read_json, write_json
from ml.project import Project
from ml.records import Look
from ml.store.history import build_name, noted
from ml.store.tables import notices

WELL = "well"
OF_DATA = ("broken feed", "source")  # causes of which the owner of the data hears, too, and of their end
PIPELINE, MONITOR, PRODUCTION, APPROVAL = "pipeline", "monitor", "production", "approval"
# So long all must be well before that is told: a cause that comes and goes is one state.
WELL_AGAIN_SECONDS = 86400.0


def tell_failure(project: Project, channel: str, stage: str, error: MlError) -> None:
    """Tell that a stage failed, or that a gate of it refused."""
    what = "refused" if error.exit_code == 3 else "failed"
    topic = MONITOR if stage == "monitor" else PIPELINE
    title = f"{project.name}: {stage} {what}"
    _tell(project, channel, topic, f"{stage} {what}", title, [str(error)])


def tell_deployed(project: Project, channel: str) -> None:
    """Tell that the pipeline went through, if what people heard of it last was another thing."""
    title = f"{project.name}: the pipeline is well again"
    _tell(project, channel, PIPELINE, WELL, title)


def tell_question(project: Project, channel: str) -> None:
    """Tell that a build waits until a person approves what it deploys."""
    title = f"{project.name}: deploy waits for an approval"
    _tell(project, channel, APPROVAL, build_name(), title)


def tell_look(project: Project, look: Look, lines: list[str]) -> None:
    """Tell the cause that a look found, of what is wrong with data also their owner."""
    title = f"{project.name}: the monitor is well again"
    _tell(project, look.channel, MONITOR, WELL, title)
    if look.died:
        title = f"{project.name}: a build died"
        _tell(project, look.channel, PIPELINE, look.died, title, [look.died])
    state = WELL if look.cause == "nothing" else look.cause
    title = f"{project.name}: production is well again" if state == WELL else f"{project.name}: {state}"
    _tell(project, look.channel, PRODUCTION, state, title, lines)


def _tell(
    project: Project, channel: str, topic: str, state: str, title: str, lines: Sequence[str] = ()
) -> None:
    about = {"project": project.name, "topic": f"{channel}: {topic}"}
    meanwhile = _Meanwhile(project.name, about["topic"])

    def change(connection: Connection) -> tuple[bool, Any]:
        before = connection.execute(select(notices).where(*_mine(about)).with_for_update()).first()
        now, told = time.time(), meanwhile.told or (before.state if before else WELL)
        since = now - before.at if before else 0.0
        if topic == PRODUCTION and state == WELL != told and since < WELL_AGAIN_SECONDS:
            return False, before
        _keep(connection, about, now, state)
        return state != told, before

    found = noted(project.name, channel, change, "what people were told")
    changed, before = found or (state != (meanwhile.told or WELL), None)
    concerns_data = not {state, meanwhile.told or (before.state if before else WELL)}.isdisjoint(OF_DATA)
    people = [*project.notify.team, *(project.notify.data_owner if concerns_data else [])]
    meanwhile.keep(None if found else state)
    if not changed or not people:
        return
    kind = "success" if state == WELL else "info" if topic == APPROVAL else "warning"
    if not _send(people, title, "\n".join([*lines, f"channel {channel}, {build_name()}"]), kind):
        # The next one who finds this state tries again.
        meanwhile.keep(None if found else meanwhile.told)
        known = (before.at, before.state) if before else (0.0, WELL)
        if found:
            noted(project.name, channel, lambda one: _keep(one, about, *known), "that nobody was told")


class _Meanwhile:
    """What people were told while the store was away: a file of this machine keeps it until it is back."""

    def __init__(self, project: str, topic: str) -> None:
        """Read it; what cannot be read was not told."""
        self._file, self._topic = locations.home() / "notices" / f"{project}.json", topic
        try:
            self._all = read_json(self._file)
        except (MlError, OSError):
            self._all = {}
        self.told: str | None = self._all.get(topic)

    def keep(self, state: str | None) -> None:
        """Note what is told now; nothing, if the store knows it."""
        kept = {topic: told for topic, told in self._all.items() if topic != self._topic}
        kept |= {self._topic: state} if state else {}
        if kept == self._all:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._file, kept)
        except OSError as error:
            say(f"notify: what people were told is not noted: {error.strerror or error}")
            return
        self._all = kept


def _mine(about: dict[str, str]) -> list[Any]:
    return [notices.c[name] == value for name, value in about.items()]


def _keep(connection: Connection, about: dict[str, str], at: float, state: str) -> None:
    connection.execute(delete(notices).where(*_mine(about)))
    connection.execute(insert(notices), about | {"at": at, "state": state})


def _send(variables: list[str], title: str, body: str, kind: str) -> bool:
    """Send a message to each address; what cannot be sent is said in a line that names no address.

    By its ``kind`` (success, info, warning) chats colour and sort it.
    """
    import apprise

    logger = logging.getLogger("apprise")
    logger.propagate, logger.handlers = False, [logging.NullHandler()]  # it would print addresses
    sent = False
    for variable in dict.fromkeys(variables):
        address, sender = os.environ.get(variable), apprise.Apprise()
        if not address:
            say(
                f"notify: the variable {variable}, which project.toml names, is not set: nobody is told there"
            )
        elif not sender.add(address):
            say(f"notify: what {variable} holds is no address: write it as mailto://… or slack://…")
        elif not sender.notify(title=title, body=body, body_format="text", notify_type=kind):
            say(f"notify: the message to {variable} could not be sent")
        else:
            sent = True
    return sent
