"""Nothing unsigned is unpickled."""

import pickle
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ml import locations, signing
from ml.errors import MlError
from ml.workspace import digests, write_json
from tests.conftest import Site, environment


@pytest.fixture
def record(site: Site) -> Path:
    folder = site.root / "signed"
    folder.mkdir()
    (folder / "model.pkl").write_bytes(pickle.dumps({"answer": 42}))
    write_json(folder / "manifest.json", {"outputs": digests(folder)})
    signing.sign(folder / "manifest.json")
    return folder / "manifest.json"


def test_what_was_signed_is_loaded(record: Path) -> None:
    trusted = signing.verify(record)
    assert signing.unpickle(record.parent, "model.pkl", trusted) == {"answer": 42}


def test_the_private_key_is_for_its_owner_only(record: Path) -> None:
    assert stat.S_IMODE(locations.signing_key().stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["model.pkl", "manifest.json", "manifest.json.sig"])
@pytest.mark.parametrize("change", ["truncate", "one byte", "remove"])
def test_whatever_is_altered_is_refused(record: Path, name: str, change: str) -> None:
    file = record.parent / name
    content = bytearray(file.read_bytes())
    content[10] ^= 1
    if change == "remove":
        file.unlink()
    else:
        file.write_bytes(content if change == "one byte" else file.read_bytes()[:-5])
    with pytest.raises(MlError, match="not signed|signature does not fit|not what was signed"):
        signing.verify(record)


def test_a_file_that_no_signature_covers_is_not_unpickled(record: Path) -> None:
    (record.parent / "other.pkl").write_bytes(pickle.dumps("evil"))
    with pytest.raises(MlError, match=r"other.pkl is not what was signed"):
        signing.unpickle(record.parent, "other.pkl", signing.verify(record))


def test_another_key_is_refused(record: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ML_HOME", str(tmp_path / "stranger"))
    other = tmp_path / "other.json"
    write_json(other, {"outputs": {}})
    signing.sign(other)
    with pytest.raises(MlError, match="signed by another key"):
        signing.verify(record)


def test_a_named_key_is_never_made_up(record: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ML_SIGNING_KEY", str(tmp_path / "none.pem"))
    with pytest.raises(MlError, match=r"signing key .*none.pem is missing: set ML_SIGNING_KEY"):
        signing.sign(record)
    monkeypatch.setenv("ML_VERIFY_KEY", str(record))
    with pytest.raises(MlError, match="no readable verify key"):
        signing.verify(record)


def test_two_first_builds_at_once_agree_on_one_key(site: Site) -> None:
    code = (
        "import sys; from pathlib import Path; from ml import signing; r = Path(sys.argv[1]);"
        "r.write_text('{\"outputs\": {}}'); signing.sign(r); signing.verify(r)"
    )
    builds = [
        subprocess.Popen([sys.executable, "-c", code, str(site.root / f"{number}.json")], env=environment())
        for number in range(4)
    ]
    assert [build.wait(timeout=60) for build in builds] == [0, 0, 0, 0]
    for number in range(4):
        signing.verify(site.root / f"{number}.json")


def test_only_this_module_unpickles() -> None:
    loads = re.compile(r"pickle\.loads?\(|Unpickler|joblib\.load|read_pickle|\bjoblib import .*load")
    guilty = [
        str(file.relative_to(locations.ROOT))
        for file in (locations.ROOT / "ml").rglob("*.py")
        if loads.search(file.read_text(encoding="utf-8"))
    ]
    assert guilty == ["ml/signing.py"]
