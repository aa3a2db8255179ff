"""Following a channel: the version it points to is loaded beside the old one, proved, and swapped in."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter

from ml.console import say
from ml.contracts import records, request_model, rows_to_table
from ml.errors import MlError
from ml.model import Bundle, load_version
from ml.registry import Registry
from ml.serving import GOLDEN_TOLERANCE


@dataclass(frozen=True, eq=False)
class Served:
    """A version in memory, ready to answer; the adapters read one row or a list of them from JSON."""

    version: int
    bundle: Bundle
    row: TypeAdapter[Any]
    rows: TypeAdapter[Any]

    def answer(self, rows: list[BaseModel]) -> list[dict[str, Any]]:
        """Return id, prediction and probabilities of each row, or raise ``MlError`` for a broken contract."""
        return records(self.bundle.predict(rows_to_table(rows, self.bundle.request_contract)))


class Follower:
    """Holds the version that answers; ``follow`` is called again and again."""

    def __init__(self, registry: Registry, channel: str) -> None:
        """Follow one channel of a registry; nothing is loaded yet."""
        self.registry, self.channel = registry, channel
        self.served: Served | None = None
        self.refused: dict[int, str] = {}

    def follow(self) -> None:
        """Serve what the channel points to; if that cannot be served, note why and keep the old one."""
        try:
            channel = self.registry.channel(self.channel)
        except (MlError, OSError) as error:
            say(f"serve: cannot read the channel, nothing changes: {error}")
            return
        version = channel.version
        if version is None and channel.history:
            self.served = None  # its only version was taken back
        if self.served and version == self.served.version:
            self.refused.clear()
        elif version is not None and version not in self.refused:
            self._take(version)

    def _take(self, version: int) -> None:
        try:
            self.served = self._load(version)
            self.refused.clear()
            say(f"serve: {self.registry.project} version {version} answers")
        except Exception as error:  # whatever is wrong with a version, the old one goes on answering
            self.refused[version] = str(error)
            say(f"serve: version {version} is refused: {error}")

    def _load(self, version: int) -> Served:
        bundle = load_version(self.registry, version)
        if (difference := bundle.replay_golden()) > GOLDEN_TOLERANCE:
            raise MlError(f"its golden predictions come out otherwise here (by {difference:g})")
        return ready(version, bundle)


def ready(version: int, bundle: Bundle) -> Served:
    """Return a model with what reads its requests."""
    row = request_model(bundle.request_contract)
    many = Annotated[list[row], Field(min_length=1)]  # type: ignore[valid-type]
    return Served(version, bundle, TypeAdapter(row), TypeAdapter(many))
