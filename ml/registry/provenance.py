"""What a build was made by: commit, Jenkins build, interpreter, lock file."""

import os
import platform
import subprocess

from ml import locations
from ml.files import digest
from ml.records import Provenance


def provenance() -> Provenance:
    """Return where this process comes from; ``None`` stands for what there is not, e.g. no Jenkins build."""
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return Provenance(
        git_commit=_git("rev-parse", "HEAD"),
        git_clean=None if changes is None else not changes,
        build_number=os.environ.get("BUILD_NUMBER"),
        build_url=os.environ.get("BUILD_URL"),
        python=platform.python_version(),
        platform=platform.platform(),
        lock_sha256=digest(locations.LOCK_FILE),
        why=os.environ.get("WHY") or None,
    )


def commit_text(source: Provenance) -> str:
    """Return the commit of a provenance, for people."""
    if source.git_commit is None:
        return "none, not a git checkout"
    return source.git_commit + ("" if source.git_clean else " with uncommitted changes")


def newest_commit() -> str:
    """Return the abbreviated hash and the subject of the commit that is checked out, for people."""
    return _git("log", "-1", "--format=%h (%s)") or "no git checkout"


def build_text(source: Provenance) -> str:
    """Return the Jenkins build of a provenance, for people."""
    return source.build_url or source.build_number or "none, run by hand"


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(locations.ROOT), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
