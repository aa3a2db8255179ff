"""A pointer that does not reach every host goes back on those that it did reach."""

import json
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from ml.delivery import moves
from ml.delivery.moves import switch
from ml.delivery.targets.ssh import Fleet
from ml.errors import MlError
from ml.registry.versions import Registry
from tests.conftest import Site
from tests.support import ErrorOf, register


class Remote:
    """A host that hears of a moved pointer, or is away."""

    def __init__(self, name: str, *, away: bool = False) -> None:
        self.name, self.away, self.heard = name, away, 0

    def moved(self) -> None:
        if self.away:
            raise MlError(f"host {self.name}: ssh failed")
        self.heard += 1


def test_a_host_that_is_away_is_named_and_the_pointer_goes_back_on_the_others(built: Site) -> None:
    first, second = (register(built, identity) for identity in "ab")
    before = Registry("small").move("production", first, "deploy")
    remotes = (Remote("one", away=True), Remote("two"))
    fleet = Fleet(remotes)  # type: ignore[arg-type]
    with pytest.raises(MlError, match="host one: ssh failed; production has version 1"):
        switch(Registry("small", fleet.moved), [], second, before, "production", None, "")
    assert Registry("small").channel("production").version == first
    assert remotes[1].heard == 2, "there, and back"


class Lagging:
    """A host whose service follows only what it is told while it can be reached."""

    def __init__(self) -> None:
        self.away, self.version, self.brought = True, 2, 0

    def bring(self) -> None:
        self.brought += 1

    def moved(self) -> None:
        if self.away:
            raise MlError("host one: rsync failed")
        self.version = Registry("small").channel("production").version or 0

    def known(self) -> list[Any]:
        return [SimpleNamespace(place="one", health=lambda: {"workers": [self._worker()]})]

    def _worker(self) -> dict[str, Any]:
        return {"version": self.version or None, "refused": {}}


def test_a_host_that_missed_a_move_is_brought_along_by_the_same_command(
    built: Site, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf
) -> None:
    for identity in "ab":
        Registry("small").move("production", register(built, identity), "deploy")
    host = Lagging()
    monkeypatch.setattr(moves, "open_target", lambda *given: nullcontext(host))
    for command, has in ((("rollback", "--to", "1"), "version 1"), (("undeploy",), "no version")):
        host.away = True
        assert built.ml(*command) == 1
        told = error_of()
        assert f"production has {has} now, but not everywhere: host one: rsync failed" in told
        assert f"`{' '.join(command)}` brings the rest along" in told
        host.away = False
        assert built.ml(*command) == 0
        assert host.version == (Registry("small").channel("production").version or 0)
        assert built.ml(*command) == 1, "all have it by now"
        error_of()
    assert host.brought > 0, "a version that a host lacks comes before the pointer"


def test_what_another_deploy_of_the_same_brought_in_meanwhile_is_no_trouble(built: Site) -> None:
    registry = Registry("small")
    version, other = (register(built, identity) for identity in "ab")
    before = registry.channel("production")
    registry.move("production", version, "deploy")
    switch(registry, [], version, before, "production", None, "")
    with pytest.raises(MlError, match="was moved to version 1 meanwhile"):
        switch(registry, [], other, before, "production", None, "")
    assert len(registry.channel("production").history) == 1


@pytest.mark.parametrize("size", [1e9, 1e-9])
@pytest.mark.parametrize(("off", "fails"), [(1e-15, False), (1e-3, True)])
def test_a_service_is_proved_by_answers_that_are_equal_but_for_rounding(
    built: Site, monkeypatch: pytest.MonkeyPatch, size: float, off: float, fails: bool
) -> None:
    version = register(built)
    golden = {"rows": [{"house": 1}], "predictions": [{"house": 1, "prediction": 2 * size}]}
    (Registry("small").folder(version) / "model" / "golden.json").write_text(json.dumps(golden))
    before = Registry("small").channel("production")
    answer = {"version": version, "predictions": [{"house": 1, "prediction": (2 + off) * size}]}
    running: Any = SimpleNamespace(predict=lambda rows: answer)
    monkeypatch.setattr(moves, "wait_for_version", lambda *given: None)
    with pytest.raises(MlError, match="answered wrongly") if fails else nullcontext():
        switch(Registry("small"), [running], version, before, "production", None, "")


def test_a_rollback_to_a_version_that_keeps_what_is_personal_by_now_says_so(
    built: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry("small")
    for identity in "ab":
        registry.move("production", register(built, identity), "deploy")
    assert built.ml("rollback") == 0
    assert "personal by now" not in capsys.readouterr().err
    built.edit("project.toml", 'personal = ["Name", ', 'personal = ["Parch", "Name", ')
    assert built.ml("rollback", "--to", "2") == 0
    assert "version 2 keeps Parch with its answers, which is personal by now" in capsys.readouterr().err
