"""From a notebook to production and out of it: each step on its host, as people there would type it."""

import base64
import hashlib
import json
import os
import subprocess
import tarfile
import textwrap
from typing import Any

import httpx2
import pytest

from ml import locations
from ml.serving.client import wait_until
from tests.conftest import with_source
from tests.hosts.conftest import PASSWORD, Fleet
from tests.support import PASSENGER

PROJECT = "ml/projects/titanic"
NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {},
    "cells": [
        {"id": f"cell{number}", "cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
        | {"source": textwrap.dedent(text)}
        for number, text in enumerate(
            [
                """
                import json, os, sys
                from pathlib import Path
                import pandas as pd

                os.chdir("code")
                sys.path.insert(0, ".")
                rows = pd.read_csv("../data/passengers.csv")
                rows["Title"] = rows["Name"].str.extract(r", ([A-Za-z ]+)[.]")
                rows.groupby("Title")["Survived"].agg(["count", "mean"])
                """,
                """
                grid = {
                    "LogisticRegression": {"C": [0.5, 1.0], "max_iter": [1000]},
                    "DecisionTreeClassifier": {"max_depth": [3, 5]},
                }
                Path("ml/projects/titanic/grid.json").write_text(json.dumps(grid))
                from ml.cli import main
                assert main(["data"]) == 0 and main(["train"]) == 0
                """,
                """
                told = json.loads(Path("build/titanic/model/manifest.json").read_text())
                print("candidate:", told["estimator"])
                """,
            ]
        )
    ],
}


def _on_data(fleet: Fleet, user: str, place: str) -> str:
    return f"ssh://{user}@{fleet.network.hosts['d1'].address}{place}"


@pytest.fixture(scope="module")
def pushed(fleet: Fleet) -> str:
    """Push this checkout to the team's git and return what git said."""
    ssh = f"ssh -F {fleet.network.folder / 'config'}"
    done = subprocess.run(
        ["git", "push", "--force", _on_data(fleet, "git", "/srv/git/ml.git"), "HEAD:refs/heads/main"],
        cwd=locations.ROOT,
        env=os.environ | {"GIT_SSH_COMMAND": ssh},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_git_of_the_team_tells_the_controller_of_a_push(fleet: Fleet, pushed: str) -> None:
    assert "Jenkins was not told" not in pushed and "remote: Jenkins: " in pushed


def test_notebooks_are_behind_tls_and_a_password_and_know_the_locked_environment(fleet: Fleet) -> None:
    url = f"https://{fleet.network.hosts['e1'].address}"
    with fleet.network.browser("e1") as browser:
        page = browser.get(f"{url}/hub/login")
        assert page.status_code == 200 and "password" in page.text
        wrong = browser.post(f"{url}/hub/login", data={"username": "explorer", "password": "guess"})
        assert "Invalid username or password" in wrong.text
        browser.post(f"{url}/hub/login", data={"username": "explorer", "password": PASSWORD})

        def kernels() -> dict[str, Any] | None:
            browser.get(f"{url}/user/explorer/tree")  # once it is begun, this page hands out its cookie
            found = browser.get(f"{url}/user/explorer/api/kernelspecs")
            content: dict[str, Any] | None = found.json()["kernelspecs"] if found.status_code == 200 else None
            return content

        assert "ml" in (wait_until(kernels, 120) or {})


def test_what_was_explored_reaches_production_and_is_taken_out_of_it(fleet: Fleet, pushed: str) -> None:
    network, target = fleet.network, fleet.target("p1")
    settings = (locations.ROOT / PROJECT / "project.toml").read_text(encoding="utf-8")
    source = f"""
        [source]
        kind = "dvc"
        labelled = "passengers.csv"
        repository = "{_on_data(fleet, "git", "/srv/git/data.git")}"
        revision = "explored"

        """
    settings = with_source(settings, textwrap.dedent(source))
    network.put("e1", "project.toml", settings, "explorer")
    network.put("e1", "explore.ipynb", json.dumps(NOTEBOOK), "explorer")
    explored = f"""
        set -eu
        git config --global user.name explorer
        git config --global user.email explorer@example.org
        git clone -q {_on_data(fleet, "git", "/srv/git/ml.git")} code
        git clone -q {_on_data(fleet, "git", "/srv/git/data.git")} data
        cd data && git switch -q -c main
        cp ../code/{PROJECT}/data/train.csv passengers.csv
        dvc init --quiet
        dvc remote add --quiet --default shelf {_on_data(fleet, "versions", "/srv/versions/data")}
        dvc add --quiet passengers.csv && dvc push --quiet
        git add . && git commit -q -m 'The passengers' && git tag explored && git push -q origin main explored
        cd .. && mv project.toml code/{PROJECT}/
        jupyter nbconvert --to notebook --execute --ExecutePreprocessor.kernel_name=ml --stdout explore.ipynb
        cd code && git add {PROJECT} && git commit -q -m 'What was explored' && git push -q origin HEAD:main
        """
    said = network.on("e1", explored, "explorer")
    assert "candidate:" in said
    trained = f"""
        set -eu
        git clone -q {_on_data(fleet, "git", "/srv/git/ml.git")} code && cd code
        make install
        for stage in data train quality; do .venv/bin/python -m ml $stage; done
        .venv/bin/python -m ml deploy --target {target}
        grep -o 'passengers.csv at explored' build/titanic/data/manifest.json
        """
    said = network.on("a1", trained, "jenkins")
    assert "production answers with version 1" in said and "passengers.csv at explored" in said
    assert httpx2.post(f"{fleet.front}/predict", json=PASSENGER, trust_env=False).status_code == 200

    gone = f"cd code && .venv/bin/python -m ml undeploy --target {target} --why 'the ship is gone'"
    network.on("a1", gone, "jenkins")
    assert httpx2.post(f"{fleet.front}/predict", json=PASSENGER, trust_env=False).status_code in (502, 503)
    as_ml = "sudo -u ml env XDG_RUNTIME_DIR=/run/user/2001"
    network.on("p1", f"{as_ml} systemctl --user disable --now ml-titanic-production")

    network.on("d1", "sudo systemctl start ml-backup.service")
    archive = network.folder / "backup.tar.gz"
    newest = "$(ls /srv/backups/kept/ml-*.tar.gz | tail -1)"
    archive.write_bytes(base64.b64decode(network.on("d1", f"sudo sh -c 'base64 {newest}'")))
    with tarfile.open(archive) as tar:
        names = tar.getnames()
        model = tar.extractfile("registry/titanic/versions/1/model/model.pkl")
        assert model
        sha256 = hashlib.sha256(model.read()).hexdigest()
    assert "registry/titanic/channels/production.json" in names
    assert "store/postgresql.dump" in names
    assert sha256 in network.on(
        "a1", "sha256sum ~/.ml/registry/titanic/versions/1/model/model.pkl", "jenkins"
    )
    assert "ml-backup.timer" in network.on("d1", "systemctl list-timers --no-pager")
    for command in ("touch /x", "-e ssh jenkins"):
        with pytest.raises(AssertionError):
            reads = f"sudo -u ml-backup ssh -o BatchMode=yes jenkins@{network.hosts['a1'].address} {command}"
            network.on("d1", reads)
