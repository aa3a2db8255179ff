"""The Jenkinsfile runs what `make run` runs; all Groovy is clean, and no user text reaches a shell."""

import os
import re
import shutil
import subprocess

import pytest

from ml import locations
from ml.stages import PIPELINE, STAGES
from ml.stages.lint import CHECKS
from tests.jenkins.conftest import BRIEF_JAVA, groovy, needs_groovy

JENKINSFILE = locations.ROOT / "Jenkinsfile"
PIPELINES = (
    "Jenkinsfile",
    "jenkins/push.Jenkinsfile",
    "jenkins/nightly.Jenkinsfile",
    "jenkins/rollback.Jenkinsfile",
    "jenkins/monitor.Jenkinsfile",
)
GROOVY = (*PIPELINES, "jenkins/jobs.groovy", "jenkins/project.groovy", "jenkins/webhook-token.groovy")
TOKEN = re.compile(r"stage\('(?P<stage>[^']+)'\)|\bsh '(?P<sh>[^']*)'|(?P<brace>[{}])")


RELEASE = re.compile(r"(?ms)^void release\(\) \{\n(.*?)^\}\n")


def shell_lines() -> dict[str, list[str]]:
    """Return the ``sh`` lines below each outermost stage, in order."""
    found: dict[str, list[str]] = {}
    depth, outermost, outermost_depth = 0, "", 0
    text = re.sub(r"//.*", "", JENKINSFILE.read_text(encoding="utf-8"))
    [release] = RELEASE.findall(text)
    for token in TOKEN.finditer(RELEASE.sub("", text).replace("{ release() }", f"{{ {release} }}")):
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
    program, *targets = line.split()
    assert program == "make"
    done = subprocess.run(
        ["make", "--dry-run", "--old-file", ".venv/installed", *targets],
        cwd=locations.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.split("-m ml ", 1)[1].split() for line in done.stdout.splitlines() if " -m ml " in line]


def test_the_stages_are_those_of_the_run_in_its_order() -> None:
    assert list(shell_lines()) == list(PIPELINE)


def test_make_help_tells_each_stage_as_the_command_line_does() -> None:
    told = subprocess.run(["make", "help"], cwd=locations.ROOT, capture_output=True, text=True, check=True)
    lines = dict(line.split(maxsplit=1) for line in told.stdout.splitlines() if line)
    assert {stage: lines.get(stage) for stage in STAGES} == STAGES


def test_each_stage_executes_the_command_that_the_run_executes() -> None:
    executed = {
        stage: [c for line in lines for c in commands(line)] for stage, lines in shell_lines().items()
    }
    checks = executed.pop("lint")
    # The machine is looked at before anything else, and again where a model is trained.
    assert executed == {stage: [[stage]] for stage in PIPELINE[1:]} | {"train": [["doctor"], ["train"]]}
    assert checks == [["doctor"], *(["lint", "--check", check] for check in CHECKS)]


def test_the_signing_key_is_bound_only_where_nothing_of_a_project_runs() -> None:
    texts = {file: (locations.ROOT / file).read_text(encoding="utf-8") for file in PIPELINES}
    assert {file: text.count("'signing-key'") for file, text in texts.items() if "'signing-key'" in text} == {
        "Jenkinsfile": 1,
        "jenkins/rollback.Jenkinsfile": 1,
    }
    [release] = RELEASE.findall(texts["Jenkinsfile"])
    assert "'signing-key'" in release and re.findall(r"\bsh '(.*)'", release) == ["make deploy"]
    assert re.findall(r"\bsh '(.*)'", texts["jenkins/rollback.Jenkinsfile"]) == ["make rollback"]


def test_what_is_stashed_holds_the_public_halves_of_the_keys_of_a_build_alone() -> None:
    text = JENKINSFILE.read_text(encoding="utf-8")
    carried = re.findall(
        r"stash name: '(\w+)', includes: (?:\"[^\"]*\" \+\s*)?\"[^\"]*(build/keys/[^\",]*)\"", text
    )
    assert carried == [("model", "build/keys/*.pub"), ("quality", "build/keys/*.pub")]
    assert "ML_BUILD_KEYS = 'build/keys'" in text and text.count("build/keys") == 3
    assert re.findall(r"archiveArtifacts artifacts: [^,]*keys", text) == []


def test_no_text_of_a_user_is_part_of_a_shell_command() -> None:
    for file in PIPELINES:
        text = (locations.ROOT / file).read_text(encoding="utf-8")
        assert (
            re.findall(r"\bsh\b(?! 'make [a-z0-9 -]+'|\(script: 'make --silent [a-z-]+', returnStdout)", text)
            == []
        )
    makefile = (locations.ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"\$[({](PROJECT|CHANNEL|FORCE|PORT|ROLLBACK_TO|TARGET|WHY|SINCE)\b", makefile) == []


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


@pytest.mark.skipif(not shutil.which("npm-groovy-lint"), reason="npm-groovy-lint is not installed")
@pytest.mark.slow
def test_npm_groovy_lint_finds_nothing() -> None:
    done = subprocess.run(
        ["npm-groovy-lint", "--noserver", "--failon", "info", *GROOVY],
        cwd=locations.ROOT,
        env=os.environ | BRIEF_JAVA,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"in {len(GROOVY)} linted files" in re.sub(r"\x1b\[\d+m", "", done.stdout)


@needs_groovy
@pytest.mark.parametrize("file", [*PIPELINES, "jenkins/project.groovy"])
def test_the_groovy_of_jenkins_parses_it(file: str) -> None:
    code = "println GroovySystem.version; new GroovyShell().parse(new File(args[0]))"
    done = groovy("-e", code, locations.ROOT / file)
    assert not done.problem, done.problem
    assert done.printed.startswith("2.4."), "Jenkins runs Groovy 2.4"
