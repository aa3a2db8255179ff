"""JUnit reports of checks, as Jenkins reads them. Imports nothing of ``ml``, which may be what is broken."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path


def write_junit(file: Path, check: str, findings: list[str]) -> None:
    """Write the findings of a check, a test case each; none at all is a case that passed."""
    suite = ElementTree.Element("testsuite", name=f"lint.{check}")
    suite.attrib |= {"tests": str(max(1, len(findings))), "failures": str(len(findings)), "errors": "0"}
    for finding in findings or [""]:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"lint.{check}", name=finding or "no findings"
        )
        if finding:
            ElementTree.SubElement(case, "failure", message=finding).text = finding
    ElementTree.ElementTree(suite).write(file, encoding="utf-8", xml_declaration=True)
