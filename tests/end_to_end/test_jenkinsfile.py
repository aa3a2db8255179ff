"""The Jenkinsfile runs what `make run` runs, and Jenkins can read it."""

import base64
import os
import re
import shutil
import subprocess
import urllib.parse
import urllib.request

import pytest

from ml import locations
from ml.run import STAGES
from ml.stages.lint import CHECKS

JENKINSFILE = locations.ROOT / "Jenkinsfile"
TOKEN = re.compile(r"stage\('(?P<stage>[^']+)'\)|\bsh '(?P<sh>[^']*)'|(?P<brace>[{}])")


def shell_lines() -> dict[str, list[str]]:
    """Return the ``sh`` lines below each outermost stage, in order."""
    found: dict[str, list[str]] = {}
    depth, outermost, outermost_depth = 0, "", 0
    for token in TOKEN.finditer(re.sub(r"//.*", "", JENKINSFILE.read_text(encoding="utf-8"))):
        if token["brace"]:
            depth += 1 if token["brace"] == "{" else -1
            if outermost and depth == outermost_depth:
                outermost = ""
        elif token["stage"] and not outermost:
            outermost, outermost_depth = token["stage"], depth
            found[outermost] = []
        elif token["sh"] is not None:
            found[outermost].append(token["sh"])
    return found


def commands(line: str) -> list[list[str]]:
    """Return what a ``make`` line of the Jenkinsfile executes, as arguments of ``python -m ml``."""
    program, target = line.split()
    assert program == "make"
    done = subprocess.run(
        ["make", "--dry-run", "--old-file", ".venv/installed", target],
        cwd=locations.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.split("-m ml ", 1)[1].split() for line in done.stdout.splitlines() if " -m ml " in line]


def test_the_stages_are_those_of_the_run_in_its_order() -> None:
    assert tuple(shell_lines()) == STAGES


def test_each_stage_executes_the_command_that_the_run_executes() -> None:
    executed = {
        stage: [c for line in lines for c in commands(line)] for stage, lines in shell_lines().items()
    }
    checks = executed.pop("lint")
    assert executed == {stage: [[stage]] for stage in STAGES if stage != "lint"}
    assert checks == [["lint", "--check", check] for check in CHECKS]


def test_no_text_of_a_user_is_part_of_a_shell_command() -> None:
    text = JENKINSFILE.read_text(encoding="utf-8")
    assert re.findall(r'\bsh\s+["(]', text) == []
    assert not any("$" in line for lines in shell_lines().values() for line in lines)
    makefile = (locations.ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"\$[({](PROJECT|CHANNEL|FORCE|PORT)\b", makefile) == []


def test_make_passes_a_hostile_parameter_on_as_text() -> None:
    hostile = "$(shell touch pwned);`touch pwned`"
    done = subprocess.run(
        ["make", "--old-file", ".venv/installed", "data", f"PYTHON={shutil.which('true')} ;env ;true"],
        cwd=locations.ROOT,
        env=os.environ | {"PROJECT": hostile},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"PROJECT={hostile}" in done.stdout
    assert not (locations.ROOT / "pwned").exists()


def test_the_pipeline_keeps_to_the_plan() -> None:
    text = JENKINSFILE.read_text(encoding="utf-8")
    labels = re.findall(r"agent \{ label '(\w+)' \}", text)
    assert labels == ["lint", "data", "train", "train", "prod"]
    for part in (
        "agent none",
        "timestamps()",
        "timeout(",
        "disableConcurrentBuilds()",
        "buildDiscarder(",
        "cron(",
        "pollSCM(",
        "parallel {",
        "junit ",
        "fingerprint: true",
        "publishHTML",
        "branch 'main'",
    ):
        assert part in text
    assert set(re.findall(r"unstash '(\w+)'", text)) == set(re.findall(r"stash name: '(\w+)'", text))


@pytest.mark.skipif(not shutil.which("npm-groovy-lint"), reason="npm-groovy-lint is not installed")
@pytest.mark.slow
def test_npm_groovy_lint_finds_nothing() -> None:
    done = subprocess.run(
        ["npm-groovy-lint", "--noserver", "--failon", "info", "--files", "Jenkinsfile"],
        cwd=locations.ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "in 1 linted files" in re.sub(r"\x1b\[\d+m", "", done.stdout)


def groovy_runs() -> bool:
    return (
        bool(shutil.which("groovy"))
        and subprocess.run(["groovy", "--version"], capture_output=True).returncode == 0
    )


@pytest.mark.skipif(not groovy_runs(), reason="Groovy is not installed, or finds no Java")
def test_the_groovy_of_jenkins_parses_it() -> None:
    code = "println GroovySystem.version; new GroovyShell().parse(new File(args[0]))"
    done = subprocess.run(["groovy", "-e", code, str(JENKINSFILE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("2.4."), "Jenkins runs Groovy 2.4"


@pytest.mark.skipif(not os.environ.get("JENKINS_URL"), reason="JENKINS_URL names no live Jenkins")
def test_a_live_jenkins_validates_it() -> None:
    """Needs ``JENKINS_URL``, and ``JENKINS_USER`` with ``JENKINS_TOKEN`` if it asks who one is."""
    form = urllib.parse.urlencode({"jenkinsfile": JENKINSFILE.read_text(encoding="utf-8")}).encode()
    url = os.environ["JENKINS_URL"].rstrip("/") + "/pipeline-model-converter/validate"
    request = urllib.request.Request(url, data=form)
    if user := os.environ.get("JENKINS_USER"):
        secret = base64.b64encode(f"{user}:{os.environ['JENKINS_TOKEN']}".encode()).decode()
        request.add_header("Authorization", f"Basic {secret}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert "successfully validated" in answer.read().decode()
