"""A host to explore on: JupyterHub behind TLS, and a kernel with the packages of the lock file."""

import json
import ssl
from pathlib import Path

import httpx2
import pytest

from ml import locations
from ml.serving.client import wait_until
from tests.hosts import machines
from tests.hosts.conftest import PLAYBOOKS, Network, changed

SECRET = "of a test, said to nobody"
NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": None,
            "metadata": {},
            "outputs": [],
            "source": "import catboost, sklearn, sys; print(sys.prefix, sklearn.__version__)",
        }
    ],
    "metadata": {"kernelspec": {"name": "ml", "display_name": "ml", "language": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


@pytest.fixture(scope="module")
def exploring(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Return a network whose host ``e1`` was prepared for one who explores."""
    machines.make_base([PLAYBOOKS / "roles" / "dev" / "files" / "kernel.txt"], ["dvc[ssh]==3.67.1"])
    network.add("e1")
    hashed = machines.run("openssl", "passwd", "-6", SECRET).strip()
    users = tmp_path_factory.mktemp("vault") / "users.json"
    users.write_text(json.dumps({"dev_users": [{"name": "anna", "password_hash": hashed}]}))
    inventory = network.inventory({"dev": ["e1"]})
    network.play("-i", inventory, "bootstrap.yml", "-e", "ansible_user=root")
    network.play("-i", inventory, "-e", f"@{users}", "site.yml")
    assert changed(network.play("-i", inventory, "-e", f"@{users}", "site.yml")) == {"e1": (0, 0)}
    return network


def test_who_is_named_logs_in_over_tls_and_finds_the_kernel(exploring: Network, tmp_path: Path) -> None:
    trusted = tmp_path / "certificate.pem"
    trusted.write_text(exploring.on("e1", "cat /etc/ssl/jupyterhub/certificate.pem"))
    url = f"https://{exploring.hosts['e1'].address}"
    context = ssl.create_default_context(cafile=str(trusted))
    with httpx2.Client(verify=context, trust_env=False, follow_redirects=True, timeout=60) as client:
        refused = client.post(f"{url}/hub/login", data={"username": "anna", "password": "guessed"})
        assert "Invalid username or password" in refused.text
        client.post(f"{url}/hub/login", data={"username": "anna", "password": SECRET})

        def kernels() -> dict[str, object] | None:
            answer = client.get(f"{url}/user/anna/api/kernelspecs")
            is_json = "json" in answer.headers["content-type"] and answer.status_code == 200
            return answer.json()["kernelspecs"] if is_json else None

        client.get(f"{url}/hub/spawn")
        assert "ml" in (wait_until(kernels, 60) or {})


def test_a_notebook_runs_with_the_packages_of_the_lock_file(exploring: Network) -> None:
    [pinned] = [
        line.split("==")[1].split()[0]
        for line in locations.LOCK_FILE.read_text(encoding="utf-8").splitlines()
        if line.startswith("scikit-learn==")
    ]
    file = exploring.hosts["e1"].folder / "home" / "anna" / "look.ipynb"
    file.write_text(json.dumps(NOTEBOOK))
    said = exploring.on(
        "e1", "sudo -iu anna python3 -m nbconvert --to notebook --execute --stdout look.ipynb 2>/dev/null"
    )
    [output] = json.loads(said)["cells"][0]["outputs"]
    assert "".join(output["text"]).split()[-1] == pinned


def test_dvc_and_git_are_there(exploring: Network) -> None:
    said = exploring.on("e1", "sudo -iu anna sh -c 'git --version && dvc --version'")
    assert said.split()[-1] == "3.67.1"
