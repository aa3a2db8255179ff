"""What the tests of a model wrote: the gates in it, and no value of a personal column."""

import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from ml.project import EXPECTATIONS_FILE, Project
from ml.records import Gate, GateOutcome
from ml.workspace import Workspace


def read_gates(junit: Path) -> list[Gate]:
    """Return each gate of a JUnit file: name, outcome (passed, warning, refused, not run), figures."""
    gates = []
    for case in ElementTree.parse(junit).getroot().iter("testcase"):
        figures = {entry.attrib["name"]: entry.attrib["value"] for entry in case.iter("property")}
        failure = next((child for child in case if child.tag in ("failure", "error")), None)
        skipped = case.find("skipped")
        outcome: GateOutcome = (
            "refused" if failure is not None else "not run" if skipped is not None else "passed"
        )
        if outcome == "passed" and "warning" in figures:
            outcome = "warning"
        said = failure if failure is not None else skipped
        given = {key: float(figures.get(key, "nan")) for key in ("value", "threshold", "low", "high")}
        numbers = {key: number if math.isfinite(number) else None for key, number in given.items()}
        low, high = numbers["low"], numbers["high"]
        interval = (low, high) if low is not None and high is not None else None
        message = figures.get("message") or (said.attrib.get("message", "") if said is not None else "")
        if failure is not None and "message" not in figures:
            message += place_of(failure.text or "")
        gates.append(
            Gate(
                gate=figures.get("gate", _plain(case.attrib["name"])),
                kind=figures.get("kind"),
                outcome=outcome,
                message=" ".join(message.split())[:500],
                value=numbers["value"],
                threshold=numbers["threshold"],
                interval=interval,
            )
        )
    return gates


def hide_personal(project: Project, workspace: Workspace, folder: Path) -> None:
    """Take values of personal columns out of what the tests wrote: an error of a feature may quote one."""
    if not project.personal:
        return
    import pandas as pd

    from ml.data.personal import hider

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


def place_of(text: str) -> str:
    """Return where a traceback of pytest ends, a file of the project before any other; nothing if nowhere."""
    places = re.findall(r"^(\S+\.py):(\d+): ", text.partition("\nE ")[0] + "\n", flags=re.MULTILINE)
    ours = [place for place in places if place[0].endswith((EXPECTATIONS_FILE, "features.py", "contract.py"))]
    file, line = (ours or places or [("", "")])[-1]
    return f" ({file}:{line})" if file else ""


def _plain(test: str) -> str:
    return test.removeprefix("test_").removesuffix("[none]").replace("_", " ")
