"""Immutable, signed versions of blessed models, and the channels that point to them.

``<registry>/<project>/versions/<n>/`` holds ``model/`` and ``quality/`` as the stages left them and
a signed ``version.json``; ``<registry>/<project>/channels/<channel>.json`` holds a pointer, its history and
the signature of both. The release key signs them: who can write here, and no more, changes nothing.
"""

import contextlib
import fcntl
import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ml import locations
from ml.console import say
from ml.errors import MlError, describe
from ml.files import digests, flush, now, read_json, write_json
from ml.records import FORMAT, AnyRecord, DataManifest, VersionRecord, parse
from ml.registry import signing
from ml.registry.channel import Action, Challenger, Channel, Move, Pointer, person
from ml.registry.provenance import provenance

NUMBER = re.compile("[1-9][0-9]{0,8}")


class Registry:
    """The versions and channels of one project."""

    def __init__(self, project: str, moved: Callable[[], None] = lambda: None) -> None:
        """Refer to the project's part of the registry (``ML_REGISTRY``); nothing is created yet.

        ``moved`` is called after each move of a pointer: hosts with a registry of their own are told then.
        """
        self.project, self._moved = project, moved
        self.root = locations.registry() / project

    def versions(self) -> list[int]:
        """Return the numbers of all versions, oldest first."""
        names = (file.parent.name for file in self.root.glob("versions/*/version.json"))
        return sorted(int(name) for name in names if NUMBER.fullmatch(name))

    def folder(self, version: int) -> Path:
        """Return the folder of a version; an unknown number raises ``MlError``."""
        folder = self.root / "versions" / str(version)
        if not folder.is_dir():
            known = ", ".join(map(str, self.versions())) or "none"
            raise MlError(f"no version {version} of {self.project} in {self.root.parent}: it has {known}")
        return folder

    def read(self, version: int) -> VersionRecord:
        """Return the verified ``version.json``; an altered version raises ``MlError``."""
        file = self.folder(version) / "version.json"
        content = parse(VersionRecord, signing.verify(file, signing.release_keys()), str(file))
        if (content.project, content.version) != (self.project, version):
            raise MlError(
                f"{file} is version {content.version} of {content.project}, and stands in the place of "
                f"version {version} of {self.project}: remove this folder"
            )
        return content

    def record(self, kind: type[AnyRecord], version: int) -> AnyRecord:
        """Return the record that a stage left in a version, as it stands there; ``read`` verifies it."""
        return self._parsed(kind, version, kind.path)

    def data_manifest(self, version: int) -> DataManifest:
        """Return the record of the data that a version was made of: it travels in the model's folder."""
        return self._parsed(DataManifest, version, "model/data-manifest.json")

    def _parsed(self, kind: type[AnyRecord], version: int, path: str) -> AnyRecord:
        file = self.folder(version) / path
        return parse(kind, read_json(file), str(file))

    def find(self, identity: dict[str, str]) -> int | None:
        """Return the newest version with these hashes of model, data and lock file, if there is one."""
        same = (one for one in reversed(self.versions()) if self._identity(one) == identity)
        return next(same, None)

    def with_model(self, sha256: str) -> set[int]:
        """Return the versions whose model is these very bytes."""
        return {one for one in self.versions() if self._identity(one).get("model_sha256") == sha256}

    def _identity(self, version: int) -> dict[str, str]:
        told: dict[str, str] = read_json(self.folder(version) / "version.json").get("identity", {})
        return told

    def trained_from(self, inputs: dict[str, Any]) -> int | None:
        """Return the newest signed version that training with these inputs made, if there is one."""
        for version in reversed(self.versions()):
            try:
                if read_json(self.folder(version) / "model" / "manifest.json").get("inputs") == inputs:
                    self.read(version)
                    return version
            except (OSError, MlError):
                continue
        return None

    def register(
        self,
        folders: dict[str, Path],
        identity: dict[str, str],
        check: Callable[[Path], None] = lambda copy: None,
    ) -> int:
        """Copy the stages' folders in as a new signed version and return its number.

        ``check`` may refuse what was copied, before it is signed. The version appears whole, by one rename,
        under the first number that nobody else took meanwhile.
        """
        versions = self.root / "versions"
        versions.mkdir(parents=True, exist_ok=True)
        for left in versions.glob(".incoming-*"):  # by a deploy that was killed
            with contextlib.suppress(FileNotFoundError):  # another deploy ends at this very moment
                if left.stat().st_mtime < time.time() - 86400:
                    shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=".incoming-", dir=versions) as aside_name:
            aside = Path(aside_name) / "version"
            for name, folder in folders.items():
                shutil.copytree(folder, aside / name)
            check(aside)
            outputs, by = digests(aside), provenance()
            while True:
                taken = (int(one.name) for one in versions.iterdir() if NUMBER.fullmatch(one.name))
                version = max(taken, default=0) + 1
                content = VersionRecord(
                    format=FORMAT,
                    version=version,
                    project=self.project,
                    identity=identity,
                    registered=now(),
                    provenance=by,
                    outputs=outputs,
                )
                write_json(aside / "version.json", content.model_dump(mode="json"))
                signing.sign(aside / "version.json", signing.release_keys())
                flush(aside)
                try:
                    aside.rename(versions / str(version))
                except OSError:
                    if (versions / str(version)).exists():
                        continue
                    raise
                return version

    def channel(self, name: str) -> Channel:
        """Return a channel; one that was never deployed to points to no version.

        A pointer that is none, or that the release key did not sign, raises ``MlError``.
        """
        file = self.channel_file(name)
        if not file.exists():
            return Channel(name, None)
        again = f"`python -m ml rollback --project {self.project} --channel {name} --to N` writes it anew"
        try:
            content = read_json(file)
        except MlError as error:
            raise MlError(f"{error}: {again}") from error
        signature = content.pop("signature", None)
        try:
            pointer = Pointer.model_validate_json(json.dumps(content))
        except ValidationError as error:
            raise MlError(f"{file} is not a channel pointer ({describe(error)}): {again}") from error
        if not signing.sealed(self._named(name, content), signature):
            raise MlError(f"{file} is not signed by the release key, so nobody follows it: {again}")
        return Channel(name, pointer.version, pointer.history, pointer.candidate)

    def _named(self, name: str, pointer: dict[str, Any]) -> dict[str, Any]:
        """Return what is signed of a pointer: it cannot be put in the place of another channel's."""
        return {"project": self.project, "channel": name} | pointer

    def move(
        self,
        name: str,
        version: int | None,
        action: Action,
        why: str = "",
        *,
        candidate: Challenger | None = None,
        left: int | None = None,
        before: Channel | None = None,
    ) -> Channel:
        """Point a channel to a version, and to a candidate beside it; note who did that and why.

        ``left`` is the version that the move is about, if that is not the one the channel pointed to.
        ``before`` is the channel to go on from, if that is not the one on the disk.
        """
        channel = before or self.channel(name)
        told = {"candidate": candidate.version} if candidate else {}
        move = Move(
            version=version,
            left=left or channel.version,
            action=action,
            at=now(),
            by=person(),
            why=why,
            **told,
        )
        moved = Channel(name, version, (*channel.history, move), candidate)
        file = self.channel_file(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        pointer = Pointer(version=version, candidate=candidate, history=moved.history).content()
        write_json(file, pointer | {"signature": signing.seal(self._named(name, pointer))})
        self._moved()
        return moved

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a channel: a second deploy or rollback waits until the first is done, and says so."""
        (self.root / "channels").mkdir(parents=True, exist_ok=True)
        with open(self.root / "channels" / f".{name}.lock", "w", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"{self.project}: waits for another deploy or rollback, which holds {name}")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def watch(self, name: str) -> Iterator[None]:
        """Be the deploy that tries a candidate, or raise ``MlError``; one that died is none any more."""
        with open(self.root / "channels" / f".{name}.trial", "w", encoding="utf-8") as watched:
            try:
                fcntl.flock(watched, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise MlError(
                    f"a candidate is on trial in {name}: wait until that deploy has ended, or end the trial "
                    "with `rollback`; if that was done just now, deploy again in a moment"
                ) from error
            yield

    def channels(self) -> list[Channel]:
        """Return every channel that was ever deployed to."""
        return [self.channel(file.stem) for file in sorted((self.root / "channels").glob("*.json"))]

    def channel_file(self, name: str) -> Path:
        """Return the file of a channel's pointer."""
        return self.root / "channels" / f"{name}.json"
