"""Where a model is served: one module a kind of place, each with what opens it for a deploy."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ml.delivery.targets.compose import open_compose
from ml.delivery.targets.interface import Target
from ml.delivery.targets.local import open_local
from ml.delivery.targets.ssh import open_ssh
from ml.errors import UsageError
from ml.project import Project

Opener = Callable[[str, Project, str, int | None, tuple[str, ...]], Iterator[Target]]
TARGETS: dict[str, Opener] = {"local": open_local, "compose": open_compose, "ssh": open_ssh}


@contextmanager
def open_target(
    text: str, project: Project, channel: str, port: int | None, hosts: tuple[str, ...]
) -> Iterator[Target]:
    """Yield the target that ``local``, ``compose`` or ``ssh://user@host[:port][/folder]`` names.

    Raises ``UsageError`` for any other text, and ``MlError`` if it cannot be reached.
    """
    kind, separator, _ = text.partition("://")
    if kind not in TARGETS or bool(separator) != (kind == "ssh"):
        raise UsageError(f"'{text}' is not a target: local, compose or ssh://user@host[:port][/folder]")
    yield from TARGETS[kind](text, project, channel, port, hosts)
