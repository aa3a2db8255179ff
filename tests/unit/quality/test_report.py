"""The report: what matters first, readable without scripts, in the dark, and under Jenkins' policy."""

import re
from pathlib import Path

import pytest

from ml.quality.advice import ADVICE
from ml.quality.gate_tables import all_gates, troubles
from ml.quality.markup import Markup, element, linked, table
from ml.quality.plots import refused
from ml.records import Gate, Verdict
from ml.registry.versions import Registry
from ml.workspace import Workspace
from tests.conftest import Site
from tests.support import elements_of, page_policy_breaches

GATES = [
    Gate(gate="floor: accuracy", kind="floor", outcome="passed", message="fine", value=0.8, threshold=0.7),
    Gate(
        gate="slice: <b>Sex</b>", kind="slice", outcome="refused", message="a & b", value=0.1, threshold=0.6
    ),
    Gate(gate="size: bytes", kind="size", outcome="passed", message="small"),
    Gate(gate="champion", outcome="not run", message="there is none"),
]


def test_what_was_refused_comes_first_with_what_to_do() -> None:
    told = troubles(GATES, lambda kind: f"<figure>{kind}</figure>")
    assert "Refused: slice" in told and ADVICE["slice"] in told and "<figure>slice</figure>" in told
    assert "&lt;b&gt;Sex&lt;/b&gt;" in told and "a &amp; b" in told and "<b>Sex" not in told
    assert "size" not in told


def test_gates_are_folded_by_kind_and_those_that_refused_are_open() -> None:
    folded = re.findall(r"<details( open)?><summary>(?:<span>)?([^<]*)", all_gates(GATES))
    assert folded == [
        (" open", "slice: 1 refused"),
        ("", "floor: 1 passed"),
        ("", "size: 1 passed"),
        ("", "1 not run"),
    ]


def test_every_kind_of_gate_has_its_advice(built: Site) -> None:
    kinds = {gate.kind for gate in Workspace(built.root / "build", "small").record(Verdict).gates}
    assert kinds - {None} <= set(ADVICE)


def test_texts_are_escaped_and_links_lead_to_web_addresses_only() -> None:
    assert element("p", "<script>", title='"') == '<p title="&quot;">&lt;script&gt;</p>'
    assert element("p", Markup("<b>ours</b>")) == "<p><b>ours</b></p>"
    assert linked("<x>", "javascript:alert(1)") == "&lt;x&gt;"
    assert linked("x", 'http://a/"') == '<a href="http://a/&quot;">x</a>'
    assert '<td data-name="&lt;b&gt;">1</td>' in table(("a", "<b>"), [("x", "1")])


def test_the_picture_of_a_refusal_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        refused([GATES[1], GATES[1].model_copy(update={"gate": "floor: $x_1$", "kind": "floor"})]).png(
            tmp_path / name
        )
    content = (tmp_path / "one.png").read_bytes()
    assert content == (tmp_path / "two.png").read_bytes() and content.startswith(b"\x89PNG")


def test_a_blessed_model_s_page_begins_with_the_verdict_and_the_figures(built: Site) -> None:
    text = (built.build / "quality" / "report" / "index.html").read_text(encoding="utf-8")
    places = [
        text.index(part) for part in ("blessed", 'class="cards"', "<h2>Pictures", "<h2>Gates", "<h2>Lineage")
    ]
    assert places == sorted(places)
    assert text.count('class="card"') == 3
    assert "passed</summary>" in text.replace("</span>", "") and page_policy_breaches(text) == []
    beside = built.build / "quality" / "report"
    for _, attributes in (one for one in elements_of(text) if one[0] in ("img", "link")):
        assert (beside / str(attributes.get("src") or attributes.get("href"))).exists()
        assert attributes.get("alt") != ""
    for picture in beside.glob("*.svg"):
        assert "style=" not in picture.read_text(encoding="utf-8"), f"{picture.name} would lose its colours"
    assert not (built.build / "quality" / "refused.png").exists()
    whole = (built.build / "quality" / "report.html").read_text(encoding="utf-8")
    assert "<style>" in whole and 'src="data:image/svg+xml' in whole and "<script" not in whole


def test_a_refused_model_beside_a_champion(built: Site) -> None:
    folders = {"model": built.build / "model", "quality": built.build / "quality"}
    registry = Registry("small")
    registry.move("production", registry.register(folders, {"model_sha256": "good"}), "deploy")
    built.edit("project.toml", "accuracy = 0.78", "accuracy = 0.99")
    assert built.ml("quality") == 3
    text = (built.build / "quality" / "report" / "index.html").read_text(encoding="utf-8")
    assert "not blessed" in text and "Refused: floor" in text and "Candidate and champion" in text
    assert text.index("Refused: floor") < text.index("<h2>Pictures") and "What to do" in text
    assert (built.build / "quality" / "report" / "data.svg").exists(), "the data beside the champion's"
    assert page_policy_breaches(text) == []
    assert (built.build / "quality" / "refused.png").read_bytes().startswith(b"\x89PNG")


def test_a_page_that_jenkins_would_cut_is_noticed() -> None:
    bad = '<p style="x"><script></script><img src="data:x"><a href="javascript:x">'
    assert len(page_policy_breaches(bad)) == 4


@pytest.mark.parametrize("outcome", ["refused", "warning"])
def test_a_test_that_broke_has_no_kind(outcome: str) -> None:
    gate = Gate.model_validate({"gate": "score", "outcome": outcome, "message": "TypeError"})
    assert "TypeError" in troubles([gate], lambda kind: "")
