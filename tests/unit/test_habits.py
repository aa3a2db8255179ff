"""What one types while working: hooks and targets agree; what only tests need is installed nowhere else."""

import ast
import re

import pytest
import yaml

from ml import locations


def read(name: str) -> str:
    return (locations.ROOT / name).read_text(encoding="utf-8")


def names(file: str) -> set[str]:
    """Return the packages that a list of requirements names."""
    lines = (line.split("#")[0].strip() for line in read(file).splitlines())
    return {re.split(r"[\[<>=;@ ]", line)[0].lower() for line in lines if line}


def test_the_hooks_are_the_parts_of_make_check_and_nothing_is_fetched() -> None:
    [checks] = re.findall(r"(?m)^CHECKS := (.*)$", read("Makefile"))
    repositories = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert [one["repo"] for one in repositories] == ["local"]
    hooks = repositories[0]["hooks"]
    assert [hook["entry"] for hook in hooks] == [f"make {check}" for check in checks.split()]
    assert {hook["language"] for hook in hooks} == {"system"}


def test_what_only_tests_need_is_not_locked_for_the_service() -> None:
    assert names("tests/requirements.txt") & names("requirements.txt") == set()
    pins = [line for line in read("tests/requirements.txt").splitlines() if line and line[0] != "#"]
    assert all(re.match(r"[\w.-]+==\d[\w.]*(; [\w\" =]+)?(\s+#.*)?$", pin) for pin in pins)


def test_every_package_that_is_asked_for_is_locked() -> None:
    assert names("requirements.in") <= names("requirements.txt")


@pytest.mark.parametrize("folder", ["ml", "jenkins"])
def test_no_module_is_longer_than_three_hundred_lines_and_no_function_than_sixty(folder: str) -> None:
    too_long = []
    for file in sorted((locations.ROOT / folder).rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if len(text.splitlines()) > 300:
            too_long.append(file.name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if (node.end_lineno or 0) - node.lineno >= 60:
                    too_long.append(f"{file.name}: {node.name}")
    assert too_long == []


def test_the_readme_is_short() -> None:
    assert len(read("README.md").splitlines()) <= 150
