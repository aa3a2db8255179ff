"""Which projects a push touches: by their folder, or by the code that all of them use."""

import subprocess
from pathlib import Path

from ml import locations
from ml.project import Project, find_project, project_names
from ml.workspace import code_files

# What builds use without importing it.
OTHERS = (
    "tests/quality/",
    "ml/quality/report.css",
    "ml/__main__.py",
    "ml/cli.py",
    "ml/commands.py",
    "ml/options.py",
    "ml/option_types.py",
    "Jenkinsfile",
    "Makefile",
)


def touched_projects(since: str) -> list[Project]:
    """Return the projects that commits after ``since`` touch; all of them where git knows no such commit."""
    projects = [find_project(name) for name in project_names()]
    changed = _changed_files(since)
    used = _used()
    if changed is None or any(file.startswith(OTHERS) or locations.ROOT / file in used for file in changed):
        return projects
    folders = {project.name: f"{_from_root(project.folder)}/" for project in projects}
    return [one for one in projects if any(file.startswith(folders[one.name]) for file in changed)]


def _changed_files(since: str) -> list[str] | None:
    commit = f"{since}^{{commit}}"
    known = ["git", "rev-parse", "--quiet", "--verify", "--end-of-options", commit]
    if not since or subprocess.run(known, cwd=locations.ROOT, capture_output=True, check=False).returncode:
        return None
    # A file that was renamed is one that is gone and one that is new.
    command = ["git", "diff", "--name-only", "--no-renames", "-z", f"{since}...HEAD"]
    done = subprocess.run(command, cwd=locations.ROOT, capture_output=True, text=True, check=False)
    return done.stdout.split("\0")[:-1] if done.returncode == 0 else None


def _used() -> set[Path]:
    return code_files(*(locations.ROOT / "ml" / "stages").glob("*.py"))


def _from_root(folder: Path) -> str:
    return str(folder.relative_to(locations.ROOT) if folder.is_relative_to(locations.ROOT) else folder)
