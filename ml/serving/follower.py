"""Following a channel: the versions it points to are loaded beside the old ones, proved, and swapped in."""

import os
import time

from ml.console import say
from ml.errors import MlError
from ml.files import now
from ml.registry.versions import Registry
from ml.serving import GOLDEN_TOLERANCE
from ml.serving.loaded import LoadedVersion, Routing, ready
from ml.training.bundle import load_version

# A pointer that did not change is read again all the same: a clock or a file system may be coarse.
READ_AGAIN_SECONDS = 2.0


class ChannelFollower:
    """Holds the versions that answer; ``follow`` is called again and again."""

    def __init__(self, registry: Registry, channel: str) -> None:
        """Follow one channel of a registry; nothing is loaded yet."""
        self.registry, self.channel = registry, channel
        self.routing = Routing()
        self.refused: dict[int, str] = {}
        self.swaps = 0
        self.since: str | None = None
        self._loaded: dict[int, LoadedVersion] = {}
        self._seen: tuple[int, ...] | None = None
        self._read_at = -READ_AGAIN_SECONDS
        self._complained = ""

    @property
    def loaded(self) -> list[int]:
        """The versions in memory."""
        return sorted(self._loaded)

    def follow(self) -> bool:
        """Serve what the channel points to, else keep what answers and note why; tell of a change."""
        before, refused = self.routing, dict(self.refused)
        trial = before.trial
        if trial and trial.over():
            self.routing = Routing(before.champion)
        if self._pointer_moved():
            try:
                self._take()
                self._complained = ""
            except (MlError, OSError) as error:
                self._seen = None
                if str(error) != self._complained:
                    say(f"serve: cannot read the channel, nothing changes: {error}")
                self._complained = str(error)
        return self.routing is not before or self.refused != refused

    def _pointer_moved(self) -> bool:
        try:
            found = os.stat(self.registry.channel_file(self.channel))
            seen: tuple[int, ...] = (found.st_mtime_ns, found.st_ino, found.st_size)
        except OSError:
            seen = ()
        if seen == self._seen and time.monotonic() - self._read_at < READ_AGAIN_SECONDS:
            return False
        self._seen, self._read_at = seen, time.monotonic()
        return True

    def _take(self) -> None:
        channel = self.registry.channel(self.channel)
        if channel.version is None and not channel.history:
            return  # nothing was ever deployed, or the registry is out of reach
        trial = channel.candidate if channel.candidate and not channel.candidate.over() else None
        before = self.routing.champion
        champion = self._get(channel.version) or (before if channel.version else None)
        candidate = self._get(trial.version) if trial else None
        found = Routing(champion, candidate, trial if candidate else None)
        old = self.routing
        if (found.champion, found.candidate, found.trial) != (old.champion, old.candidate, old.trial):
            self.routing = found
        if champion is not before:
            self.swaps += 1
            self.since = now() if champion else None
            answers = f"version {champion.version} answers" if champion else "no version answers"
            say(f"serve: {self.registry.project} {answers}")
        self._get(channel.previous)  # so that a rollback finds it ready
        wanted = {channel.version, channel.previous, trial.version if trial else None}
        kept = {one.version for one in (champion, candidate) if one}
        self._loaded = {one: self._loaded[one] for one in self._loaded if one in wanted | kept}
        self.refused = {one: why for one, why in self.refused.items() if one in wanted}

    def _get(self, version: int | None) -> LoadedVersion | None:
        if version is None or version in self.refused:
            return None
        if version not in self._loaded:
            try:
                self._loaded[version] = self._load(version)
            except Exception as error:  # whatever is wrong with a version, the old one goes on answering
                self.refused[version] = str(error)
                say(f"serve: version {version} is refused: {error}")
                return None
        return self._loaded[version]

    def _load(self, version: int) -> LoadedVersion:
        bundle = load_version(self.registry, version)
        if (difference := bundle.replay_golden()) > GOLDEN_TOLERANCE:
            raise MlError(f"its golden predictions come out otherwise here (by {difference:g})")
        return ready(version, bundle)
