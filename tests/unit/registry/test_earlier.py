"""Versions that the code of November 2026 registered: they load, answer bit for bit, and can be returned to.

``earlier.tar.xz`` is the registry of a project with two versions, written before records had a format, and
the public key that it was signed for; ``earlier.json`` is what they answered then. The packages of
requirements.txt read their pickles: when those move on, make both anew with the last commit of the old ones.
"""

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from ml import locations
from ml.data.rows import typed_table
from ml.expectations import Bundle
from ml.records import Verdict
from ml.registry import signing
from ml.registry.versions import Registry
from ml.training.bundle import load_version
from tests.conftest import Site

FOLDER = Path(__file__).parent
ANSWERS = json.loads((FOLDER / "earlier.json").read_text(encoding="utf-8"))


@pytest.fixture
def registry(site: Site) -> Registry:
    with tarfile.open(FOLDER / "earlier.tar.xz") as archive:
        archive.extractall(locations.home(), filter="data")
    return Registry("small")


def answers(bundle: Bundle) -> list[list[str]]:
    said = bundle.predict(typed_table(ANSWERS["rows"], bundle.request_contract))
    return [[float(one).hex() for one in said[name]] for name in said if name.startswith("probability_")]


def resign(registry: Registry) -> None:
    """Sign the same bytes with a key of this test: the private one of then is in no repository."""
    shutil.rmtree(locations.home() / "keys")
    for version in registry.versions():
        signing.sign(registry.folder(version) / "version.json", signing.release_keys())
    file = registry.channel_file("production")
    pointer = json.loads(file.read_text(encoding="utf-8"))
    pointer.pop("signature")
    named = {"project": "small", "channel": "production"} | pointer
    file.write_text(json.dumps(pointer | {"signature": signing.seal(named)}), encoding="utf-8")


@pytest.mark.parametrize("version", [1, 2])
def test_an_earlier_version_loads_and_answers_bit_for_bit(registry: Registry, version: int) -> None:
    bundle = load_version(registry, version)
    assert answers(bundle) == ANSWERS["answers"][str(version)]
    assert bundle.replay_golden() == 0
    assert isinstance(bundle.manifest.training_score, float)


def test_an_earlier_pointer_is_followed_and_its_history_read(registry: Registry) -> None:
    channel = registry.channel("production")
    assert (channel.version, channel.previous) == (2, 1)
    assert [move.action for move in channel.history] == ["deploy", "shadow", "deploy"]


def test_an_earlier_verdict_tells_the_kind_of_each_gate(registry: Registry) -> None:
    verdict = registry.record(Verdict, 1)
    assert verdict.blessed
    assert {"floor", "ceiling", "slice", "expectation"} <= {gate.kind for gate in verdict.gates}


def test_an_earlier_version_is_shown(
    registry: Registry, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert site.ml("show") == 0 and site.ml("show", "1") == 0
    assert "gate floor: accuracy" in capsys.readouterr().out


def test_an_earlier_version_is_returned_to(registry: Registry, site: Site) -> None:
    resign(registry)
    assert site.ml("rollback") == 0
    channel = registry.channel("production")
    assert (channel.version, channel.history[-1].action) == (1, "rollback")
    assert answers(load_version(registry, 1)) == ANSWERS["answers"]["1"]
