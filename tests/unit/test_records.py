"""Records are typed and frozen; those of earlier versions are read as if they were of today."""

from typing import Any

import pytest
from pydantic import ValidationError

from ml.errors import MlError
from ml.records import RECORDS, Gate, Verdict, parse

RUN = {"stage": "quality", "project": "p", "inputs": {}, "outputs": {}, "finished": "now", "seconds": 1.0}
JUDGED = {"blessed": True, "model_sha256": "0", "champion": None}


def old_gate(name: str) -> dict[str, Any]:
    return {
        "gate": name,
        "outcome": "passed",
        "message": "",
        "value": 1.0,
        "threshold": 0.5,
        "interval": [0, 2],
    }


def test_a_gate_of_an_earlier_verdict_has_the_kind_that_its_name_told() -> None:
    gates = [old_gate("floor: accuracy"), old_gate("gain over a dummy")]
    verdict = parse(Verdict, RUN | JUDGED | {"gates": gates}, "x")
    assert [(gate.kind, gate.about) for gate in verdict.gates] == [
        ("floor", "accuracy"),
        ("gain over a dummy", "gain over a dummy"),
    ]
    assert verdict.gates[0].interval == (0.0, 2.0)


def test_no_kind_is_read_out_of_a_name_of_today() -> None:
    gates = [old_gate("floor: accuracy")]
    verdict = parse(Verdict, RUN | JUDGED | {"gates": gates, "format": 2}, "x")
    assert verdict.gates[0].kind is None


def test_a_record_is_read_back_as_it_was_written() -> None:
    verdict = parse(Verdict, RUN | JUDGED | {"format": 2, "gates": [old_gate("a") | {"kind": "a"}]}, "x")
    assert parse(Verdict, verdict.model_dump(mode="json"), "x") == verdict


def test_a_record_is_not_changed() -> None:
    gate = Gate(gate="a", outcome="passed", message="")
    with pytest.raises(ValidationError, match="frozen"):
        gate.outcome = "refused"  # type: ignore[misc]


def test_what_is_no_record_is_named() -> None:
    with pytest.raises(MlError, match="file.json is no Verdict: stage: Field required"):
        parse(Verdict, JUDGED | {"gates": []}, "file.json")


def test_each_stage_leaves_one_record() -> None:
    assert [(stage, one.path) for stage, one in RECORDS.items()] == [
        ("lint", "lint/manifest.json"),
        ("data", "data/manifest.json"),
        ("train", "model/manifest.json"),
        ("quality", "quality/verdict.json"),
        ("deploy", "deploy/deployment.json"),
        ("monitor", "monitor/look.json"),
    ]
