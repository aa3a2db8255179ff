"""The lint stage: syntax, style, docstrings and dependencies, each a check with a file of its findings."""

import importlib.metadata
import re
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from ml import locations
from ml.console import say
from ml.errors import MlError
from ml.files import digest
from ml.project import Project
from ml.records import LintReport
from ml.stages import Context
from ml.workspace import Outcome

# pydocstyle makes a record of every token for a log that nobody asked for: three quarters of its time.
PYDOCSTYLE = "import logging; logging.disable(logging.DEBUG); from pydocstyle.cli import main; main()"
FINDINGS_FILE = "findings.txt"  # a line each, as flake8 writes them: the plugin warnings-ng reads that


def run(context: Context) -> Outcome[LintReport]:
    """Run the checks side by side (all of them by default), each into ``lint/<check>/findings.txt``.

    What is no Python is told before the other checks stumble over it. Raises ``MlError`` that names the first
    finding and the number of all.
    """
    wanted = context.checks or tuple(CHECKS)
    inputs, results = _inputs(context.project), list[Outcome[LintReport]]()
    for group in (["syntax"] if "syntax" in wanted else [], [one for one in wanted if one != "syntax"]):
        with ThreadPoolExecutor() as pool:
            results += pool.map(lambda check: _run(check, context, inputs), group)
        findings = [finding for result in results for finding in result.record.findings]
        for finding in findings:
            say(f"lint: {finding}")
        if findings:
            raise MlError(f"lint found {len(findings)} thing(s) to mend, first {findings[0]}")
    say(f"lint: {', '.join(wanted)}: no findings")
    return next((one for one in results if one.status != "unchanged"), results[-1])


def _inputs(project: Project) -> dict[str, Any]:
    return {
        "sources": {str(file): digest(file) for file in _sources(project)},
        "settings": {
            name: digest(locations.ROOT / name) for name in (".flake8", "pyproject.toml", "requirements.txt")
        },
        # By the names of their folders: to read what each tells takes longer than all else here.
        "installed": sorted(found.name for found in Path(sysconfig.get_path("purelib")).glob("*.dist-info")),
    }


def _run(check: str, context: Context, inputs: dict[str, Any]) -> Outcome[LintReport]:
    project = context.project

    def work(folder: Path) -> dict[str, Any]:
        findings = CHECKS[check](project)
        (folder / FINDINGS_FILE).write_text("".join(f"{one}\n" for one in findings), encoding="utf-8")
        return {"findings": findings}

    return context.workspace.run(LintReport, inputs, work, part=check, force=context.force)


def _syntax(project: Project) -> list[str]:
    findings = []
    for file in _sources(project):
        try:
            with warnings.catch_warnings(action="ignore"):
                compile(file.read_bytes(), file, "exec", dont_inherit=True)
        except SyntaxError as error:
            findings.append(f"{file}:{error.lineno or 1}: {error.msg}".removeprefix(f"{locations.ROOT}/"))
    return findings


def _flake8(project: Project) -> list[str]:
    config = str(locations.ROOT / ".flake8")
    return _tool("flake8", "-m", "flake8", "--config", config, *map(str, _sources(project)))


def _pydocstyle(project: Project) -> list[str]:
    tests = locations.ROOT / "tests"
    documented = [str(file) for file in _sources(project) if not file.is_relative_to(tests)]
    config = f"--config={locations.ROOT / 'pyproject.toml'}"
    lines = _tool("pydocstyle", "-c", PYDOCSTYLE, config, *documented)
    places, problems = lines[::2], lines[1::2]
    return [
        f"{place.split(' ')[0]}:1: {problem.strip().replace(': ', ' ', 1)}"
        for place, problem in zip(places, problems, strict=True)
    ]


def unlocked() -> list[str]:
    """Return where what is installed differs from the lock file, a line each as flake8 writes them."""
    findings = []
    installed = _installed()
    for number, line in enumerate(locations.LOCK_FILE.read_text(encoding="utf-8").splitlines(), start=1):
        place = f"{locations.LOCK_FILE.name}:{number}:"
        if not (text := line.split("#")[0].strip()):
            continue
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            findings.append(f"{place} '{text}' is no requirement that pins a version")
            continue
        if wanted.marker and not wanted.marker.evaluate():
            continue
        pins = [pin.version for pin in wanted.specifier if pin.operator == "=="]
        present = installed.get(_canonical(wanted.name))
        if len(pins) != 1:
            findings.append(f"{place} {wanted.name} is not pinned to one version")
        elif present != pins[0]:
            findings.append(f"{place} {wanted.name} {pins[0]} is locked, installed is {present or 'none'}")
    return findings


def _dependencies(_: Project) -> list[str]:
    """Compare what is installed with the lock file, and ask pip for contradictions."""
    return unlocked() + _tool("pip", "-m", "pip", "check", "--disable-pip-version-check")


CHECKS: dict[str, Callable[[Project], list[str]]] = {
    "syntax": _syntax,
    "flake8": _flake8,
    "pydocstyle": _pydocstyle,
    "dependencies": _dependencies,
}


def _sources(project: Project) -> list[Path]:
    """Return the Python files of the repository and the project; what is wrong in another stops that one."""
    projects = locations.ROOT / "ml" / "projects"
    folders = {*(locations.ROOT / name for name in ("ml", "jenkins", "tests")), project.folder}
    files = {file for folder in folders for file in folder.rglob("*.py")}
    return sorted(
        file
        for file in files
        if not file.is_relative_to(projects) or file.parent == projects or file.is_relative_to(project.folder)
    )


def _tool(name: str, *arguments: str) -> list[str]:
    """Return the lines that a tool prints that Python runs so; its failure raises ``MlError``.

    Paths are told from the repository.
    """
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=locations.ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or (done.returncode == 1 and not done.stdout.strip()):
        last = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise MlError(f"{name} could not run: {last[-1]}")
    return (
        [line.replace(f"{locations.ROOT}/", "") for line in done.stdout.splitlines()]
        if done.returncode
        else []
    )


def _installed() -> dict[str, str]:
    return {
        _canonical(found.metadata["Name"]): found.version
        for found in importlib.metadata.distributions()
        if found.metadata["Name"]
    }


def _canonical(name: str) -> str:
    """Spell a package name as PEP 503 does."""
    return re.sub(r"[-_.]+", "-", name).lower()
