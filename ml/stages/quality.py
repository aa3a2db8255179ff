"""The quality stage: run the tests of the model, and bless it or not."""

import math
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import Any

from ml import locations
from ml.console import say
from ml.data.personal import hider
from ml.errors import GateRefused, MlError
from ml.files import digest, read_json
from ml.project import EXPECTATIONS_FILE, Project
from ml.quality.loosened import loosened_expectations, loosened_line, loosened_settings
from ml.registry import signing
from ml.registry.versions import Registry
from ml.workspace import StageResult, Workspace, code_digest

STYLE = locations.ROOT / "ml" / "quality" / "report.css"  # of the report, which takes seconds to import
TESTS = locations.ROOT / "tests" / "quality"
LOG = "quality.log"  # beside the folder of the stage, which is swapped in only when it is whole


def judge_model(project: Project, workspace: Workspace, channel: str, *, force: bool = False) -> StageResult:
    """Write ``junit.xml``, ``verdict.json`` and the report; a model not blessed raises ``GateRefused``.

    Every gate is a test in ``tests/quality``, run by pytest in a process of its own. Raises ``MlError`` if an
    earlier stage's output is missing or altered, or if pytest itself cannot run.
    """
    project.check_channel(channel)
    data, model = workspace.record("data"), workspace.record("train")
    signing.verify(workspace.record_file("train"), signing.build_keys("train"))
    if model["data_sha256"]["train.parquet"] != data["outputs"]["train.parquet"]:
        raise MlError(
            f"{workspace.folder('train')} was trained on other rows than those of "
            f"{workspace.folder('data')}: run `python -m ml train --project {project.name}` first"
        )
    expectations = project.folder / EXPECTATIONS_FILE
    champion = _champion(project, workspace, channel, model["outputs"]["model.pkl"])
    passed = Registry(project.name).folder(champion) if champion is not None else None
    looser = loosened_settings(project, passed) if passed else []
    inputs = {
        "test.parquet": data["outputs"]["test.parquet"],
        "expectations.py": digest(expectations) if expectations.exists() else None,
        "model": digest(workspace.record_file("train")),
        "champion": champion,
        "channel": channel,
        "loosened": looser,
        "settings": project.model_dump(mode="json", include={"gates", "training", "target", "seed"}),
        "code": code_digest(Path(__file__), STYLE, *TESTS.glob("*.py")),
    }

    def work(folder: Path) -> dict[str, Any]:
        say("quality: running the tests of the model")
        junit = folder / "junit.xml"
        _run_tests(project, workspace, champion, junit, folder / "figures.json")
        gates = read_gates(junit)
        told = [*looser]
        if passed:
            told += loosened_expectations(read_json(passed / "quality" / "verdict.json")["gates"], gates)
        verdict = {
            "blessed": bool(gates) and not any(gate["outcome"] == "refused" for gate in gates),
            "model_sha256": model["outputs"]["model.pkl"],
            "champion": champion,
            "loosened": told,
            "gates": gates,
        }
        if told:
            say(f"quality:  warning  {loosened_line(told)}")
        for gate in gates:
            if gate["outcome"] != "not run":
                say(f"quality: {gate['outcome']:>8}  {gate['gate']}  {gate['message']}")
        left_out = Counter(gate["message"] for gate in gates if gate["outcome"] == "not run")
        for reason, count in left_out.items():
            say(f"quality:  not run  {count} gate{'s' if count > 1 else ''}: {reason}")
        from ml.quality.report import write_report

        write_report(folder, project, workspace, verdict)
        return verdict

    result = workspace.run("quality", inputs, work, force=force, signed=True)
    refused = [gate for gate in result.record["gates"] if gate["outcome"] == "refused"]
    if not result.record["blessed"]:
        reasons = "; ".join(f"{gate['gate']}: {gate['message']}" for gate in refused) or "no gate was run"
        report = workspace.folder("quality") / "report.html"
        # On Jenkins the path inside the checkout is also the name of the archived file.
        shown = report.relative_to(Path.cwd()) if report.is_relative_to(Path.cwd()) else report
        told = loosened_line(result.record.get("loosened", []))
        raise GateRefused(f"the model is not blessed: {reasons} (report: {shown})" + (told and f"; {told}"))
    return result


def _champion(project: Project, workspace: Workspace, channel: str, candidate_sha256: str) -> int | None:
    """Return the version to compare with: a candidate deployed since is not judged against itself."""
    registry = Registry(project.name)
    champion = registry.channel(channel).version
    if champion is None or registry.read(champion)["identity"]["model_sha256"] != candidate_sha256:
        return champion
    kept = workspace.kept("quality")
    return kept["inputs"]["champion"] if kept and kept["model_sha256"] == candidate_sha256 else None


def read_gates(junit: Path) -> list[dict[str, Any]]:
    """Return each gate of a JUnit file: name, outcome (passed, warning, refused, not run), figures."""
    gates = []
    for case in ElementTree.parse(junit).getroot().iter("testcase"):
        figures = {entry.attrib["name"]: entry.attrib["value"] for entry in case.iter("property")}
        failure = next((child for child in case if child.tag in ("failure", "error")), None)
        skipped = case.find("skipped")
        outcome = "refused" if failure is not None else "not run" if skipped is not None else "passed"
        if outcome == "passed" and "warning" in figures:
            outcome = "warning"
        said = failure if failure is not None else skipped
        given = {key: float(figures.get(key, "nan")) for key in ("value", "threshold", "low", "high")}
        numbers = {key: number if math.isfinite(number) else None for key, number in given.items()}
        message = figures.get("message") or (said.attrib.get("message", "") if said is not None else "")
        if failure is not None and "message" not in figures:
            message += _place(failure.text or "")
        gates.append(
            {
                "gate": figures.get("gate", _plain(case.attrib["name"])),
                "outcome": outcome,
                "message": " ".join(message.split())[:500],
                "value": numbers["value"],
                "threshold": numbers["threshold"],
                "interval": [numbers["low"], numbers["high"]] if numbers["low"] is not None else None,
            }
        )
    return gates


def _hide_personal(project: Project, workspace: Workspace, folder: Path) -> None:
    """Take values of personal columns out of what the tests wrote: an error of a feature may quote one."""
    import pandas as pd

    if not project.personal:
        return
    parts = [pd.read_parquet(workspace.folder("data") / f"{part}.parquet") for part in ("train", "test")]
    rows = pd.concat(parts)[[name for name in project.personal if name in parts[0]]]
    log, junit = folder / "pytest.log", folder / "junit.xml"
    hide = hider(rows, project.personal)
    log.write_text(hide(log.read_text(encoding="utf-8")), encoding="utf-8")
    if junit.exists():
        tree = ElementTree.parse(junit)
        for element in tree.iter():
            element.text = element.text and hide(element.text)
            told = {"message", "name", "value" if element.get("name") in ("message", "gate") else "message"}
            for key in told & set(element.keys()):
                element.set(key, hide(element.get(key, "")))
        tree.write(junit, encoding="utf-8", xml_declaration=True)


def _place(text: str) -> str:
    """Return where a traceback of pytest ends, a file of the project before any other; nothing if nowhere."""
    places = re.findall(r"^(\S+\.py):(\d+): ", text.partition("\nE ")[0] + "\n", flags=re.MULTILINE)
    ours = [place for place in places if place[0].endswith((EXPECTATIONS_FILE, "features.py", "contract.py"))]
    file, line = (ours or places or [("", "")])[-1]
    return f" ({file}:{line})" if file else ""


def _plain(test: str) -> str:
    return test.removeprefix("test_").removesuffix("[none]").replace("_", " ")


def _run_tests(
    project: Project, workspace: Workspace, champion: int | None, junit: Path, figures: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        str(TESTS),
        "-c",
        str(locations.ROOT / "pyproject.toml"),
        "--rootdir",
        str(locations.ROOT),
        "-p",
        "no:cacheprovider",
        "-q",
        "--tb=short",
        "--assert=plain",  # pytest would show the tables that an assertion compares
        f"--junitxml={junit}",
        "--figures",
        str(figures),
        "--project",
        project.name,
        "--build",
        str(workspace.root.parent),
        *(["--champion", str(champion)] if champion is not None else []),
    ]
    # A model is code: while it is tried, the key that could bless another is out of its reach.
    kept = {key: value for key, value in os.environ.items() if key not in ("ML_SIGNING_KEY", "ML_API_KEYS")}
    # What is relative to this folder is looked for from others.
    kept |= {
        "ML_HOME": str(locations.home()),
        "ML_BUILD_KEYS": str(locations.build_keys()),
        "ML_REGISTRY": str(locations.registry()),
        "ML_VERIFY_KEY": str(locations.verify_key()),
    }
    # The gates are the same whatever pytest plugins this environment holds.
    kept["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    log = junit.parent / "pytest.log"
    with (
        open(log, "w", encoding="utf-8") as stream,
        subprocess.Popen(
            command, cwd=locations.ROOT, env=kept, stdout=stream, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            import ml.quality.report  # noqa: F401  (takes seconds, which the tests take anyway)

            process.wait()
        except BaseException:
            process.kill()
            raise
    _hide_personal(project, workspace, junit.parent)
    if process.returncode not in (0, 1) or not junit.exists():
        kept = workspace.root / LOG
        shutil.copy(log, kept)
        text = log.read_text(encoding="utf-8")
        reasons = [line[1:].strip() for line in text.splitlines() if line.startswith("E ")]
        told = next((one for one in reasons if one.startswith("ml.errors.")), reasons[0] if reasons else "")
        reason = told.removeprefix("ml.errors.MlError: ") + _place(text) if told else text.strip()[-200:]
        raise MlError(
            f"the tests of the model could not run (pytest exit {process.returncode}): {reason} (log: {kept})"
        )
