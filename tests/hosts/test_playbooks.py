"""What can be said of the playbooks without a host: they are clean, and each inventory fits them."""

from pathlib import Path

import pytest
import yaml

from tests.hosts.conftest import ANSIBLE, PLAYBOOKS, Network

INVENTORIES = sorted((PLAYBOOKS / "inventories").glob("*.yml"))
ROLES = {file.name for file in (PLAYBOOKS / "roles").iterdir()}


@pytest.fixture
def ansible(tmp_path: Path) -> Network:
    """Return what runs Ansible, for no host."""
    if not (ANSIBLE / "ansible-playbook").exists():
        pytest.skip("Ansible is not installed: `make test-hosts` does that")
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAA nobody")
    return Network(tmp_path)


def test_the_strictest_rules_of_ansible_find_nothing(ansible: Network) -> None:
    ansible.ansible("ansible-lint", "--offline", "--profile", "production", "--strict", "-q")


@pytest.mark.parametrize("inventory", INVENTORIES, ids=lambda file: file.stem)
@pytest.mark.parametrize("playbook", ["bootstrap.yml", "site.yml", "update.yml"])
def test_each_inventory_fits_each_playbook(ansible: Network, inventory: Path, playbook: str) -> None:
    assert playbook in ansible.play("-i", inventory, playbook, "--syntax-check")


def test_each_group_of_an_inventory_has_a_play_and_each_role_is_used() -> None:
    plays = yaml.safe_load((PLAYBOOKS / "site.yml").read_text(encoding="utf-8"))
    prepared = {play["hosts"] for play in plays}
    for inventory in INVENTORIES:
        children = yaml.safe_load(inventory.read_text(encoding="utf-8"))["all"]["children"]
        assert set(children) <= prepared, inventory.name
    used = {role for play in plays for role in play.get("roles", [])}
    for file in (PLAYBOOKS / "roles").rglob("*.yml"):
        text = file.read_text(encoding="utf-8")
        used |= {role for role in ROLES if f"name: {role}\n" in text}
        if file.parent.name == "meta":
            used |= set(yaml.safe_load(text)["dependencies"])
    assert used >= ROLES
