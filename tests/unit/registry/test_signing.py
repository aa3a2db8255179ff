"""Nothing unsigned is unpickled."""

import pickle
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ml import locations
from ml.errors import MlError
from ml.files import digests, write_json
from ml.registry import signing
from tests.conftest import Site, environment


@pytest.fixture
def record(site: Site) -> Path:
    folder = site.root / "signed"
    folder.mkdir()
    (folder / "model.pkl").write_bytes(pickle.dumps({"answer": 42}))
    write_json(folder / "manifest.json", {"outputs": digests(folder)})
    signing.sign(folder / "manifest.json", signing.release_keys())
    return folder / "manifest.json"


def test_what_was_signed_is_loaded(record: Path) -> None:
    trusted = signing.verify(record, signing.release_keys())
    assert signing.unpickle(record.parent, "model.pkl", trusted["outputs"]) == {"answer": 42}


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
        signing.verify(record, signing.release_keys())


def test_a_file_that_no_signature_covers_is_not_unpickled(record: Path) -> None:
    (record.parent / "other.pkl").write_bytes(pickle.dumps("evil"))
    with pytest.raises(MlError, match=r"other.pkl is not what was signed"):
        signing.unpickle(
            record.parent, "other.pkl", signing.verify(record, signing.release_keys())["outputs"]
        )


def test_another_key_is_refused(record: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ML_HOME", str(tmp_path / "stranger"))
    other = tmp_path / "other.json"
    write_json(other, {"outputs": {}})
    signing.sign(other, signing.release_keys())
    with pytest.raises(MlError, match="signed by another key"):
        signing.verify(record, signing.release_keys())


def test_a_named_key_is_never_made_up(record: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ML_SIGNING_KEY", str(tmp_path / "none.pem"))
    with pytest.raises(MlError, match=r"signing key .*none.pem is missing: set ML_SIGNING_KEY"):
        signing.sign(record, signing.release_keys())
    monkeypatch.setenv("ML_VERIFY_KEY", str(record))
    with pytest.raises(MlError, match="no readable verify key"):
        signing.verify(record, signing.release_keys())


def test_no_key_is_made_up_beside_a_public_one_that_was_named(
    record: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    public = locations.verify_key()
    monkeypatch.setenv("ML_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("ML_VERIFY_KEY", str(public))
    with pytest.raises(MlError, match="set ML_SIGNING_KEY"):
        signing.sign(record, signing.release_keys())
    monkeypatch.delenv("ML_VERIFY_KEY")
    signing.sign(tmp_path_record(tmp_path), signing.release_keys())
    monkeypatch.setenv("ML_SIGNING_KEY", str(locations.signing_key()))
    monkeypatch.setenv("ML_VERIFY_KEY", str(public))
    with pytest.raises(MlError, match="are no pair"):
        signing.sign(record, signing.release_keys())


def tmp_path_record(folder: Path) -> Path:
    """Return an empty record in a folder."""
    write_json(folder / "record.json", {"outputs": {}})
    return folder / "record.json"


def test_each_stage_has_a_key_of_its_own_and_none_is_the_release_key(site: Site, tmp_path: Path) -> None:
    record = tmp_path_record(tmp_path)
    signing.sign(record, signing.build_keys("train"))
    signing.verify(record, signing.build_keys("train"))
    for other in (signing.build_keys("quality"), signing.release_keys()):
        signing.signing_key(other)
        with pytest.raises(MlError, match="signed by another key"):
            signing.verify(record, other)
    assert not (locations.build_keys() / "train.pem").samefile(locations.signing_key())


def test_the_keys_of_a_build_are_where_it_says(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ML_BUILD_KEYS", str(tmp_path / "keys"))
    signing.sign(record := tmp_path_record(tmp_path), signing.build_keys("train"))
    assert sorted(file.name for file in (tmp_path / "keys").glob("train*")) == ["train.pem", "train.pub"]
    (tmp_path / "keys" / "train.pem").unlink()
    assert signing.verify(record, signing.build_keys("train")) == {"outputs": {}}
    (tmp_path / "keys" / "train.pub").unlink()
    with pytest.raises(MlError, match="train.pub is missing: set ML_BUILD_KEYS"):
        signing.verify(record, signing.build_keys("train"))


def test_two_first_builds_at_once_agree_on_one_key(site: Site) -> None:
    code = (
        "import sys; from pathlib import Path; from ml.registry import signing; r = Path(sys.argv[1]);"
        "k = signing.release_keys(); r.write_text('{\"outputs\": {}}');"
        "signing.sign(r, k); signing.verify(r, k)"
    )
    builds = [
        subprocess.Popen([sys.executable, "-c", code, str(site.root / f"{number}.json")], env=environment())
        for number in range(4)
    ]
    assert [build.wait(timeout=60) for build in builds] == [0, 0, 0, 0]
    for number in range(4):
        signing.verify(site.root / f"{number}.json", signing.release_keys())


def test_only_this_module_unpickles() -> None:
    loads = re.compile(r"pickle\.loads?\(|Unpickler|joblib\.load|read_pickle|\bjoblib import .*load")
    guilty = [
        str(file.relative_to(locations.ROOT))
        for file in (locations.ROOT / "ml").rglob("*.py")
        if loads.search(file.read_text(encoding="utf-8"))
    ]
    assert guilty == ["ml/registry/signing.py"]
