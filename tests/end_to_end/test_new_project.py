"""A stranger's table, two commands, and a service that answers."""

import json
import os
import subprocess
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml import locations
from tests import warm
from tests.conftest import VARIABLES

pytestmark = pytest.mark.slow


@pytest.fixture
def customers(tmp_path: Path) -> Path:
    random = np.random.default_rng(7)
    rows = 600
    age, plan = random.integers(18, 90, rows), random.choice(["basic", "plus", "pro"], rows)
    leaves = random.normal(size=rows) + 1.5 * (plan == "basic") - age / 40 > -0.7
    table = pd.DataFrame(
        {
            "customer_id": [f"C{n:05d}" for n in range(rows)],
            "phone": [f"+49 30 {n:07d}" for n in random.integers(1e6, 9e6, rows)],
            "age": age,
            "plan": plan,
            "joined": (pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(rows), unit="D")).strftime(
                "%Y-%m-%d"
            ),
            "city": random.choice([f"City {n}" for n in range(40)], rows),
            "spent": np.where(random.random(rows) < 0.1, np.nan, random.gamma(2, 50, rows).round(2)),
            "left": np.where(leaves, "yes", "no"),
        }
    )
    table.to_csv(tmp_path / "customers.csv", index=False, sep=";", decimal=",")
    return tmp_path / "customers.csv"


def test_a_stranger_s_table_becomes_a_service_that_answers(customers: Path, tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    places = {"ML_HOME": str(tmp_path / "home"), "ML_PROJECTS": str(tmp_path / "projects")}

    def ml(*arguments: str) -> str:
        command = [warm.python(), "-m", "ml", *arguments]
        done = subprocess.run(
            command, cwd=locations.ROOT, env=kept | places, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = ml("new", "shop", "--from", str(customers), "--target", "left")
    assert "personal: phone numbers" in said
    grid = tmp_path / "projects" / "shop" / "grid.json"
    found = json.loads(grid.read_text())
    assert "CatBoostClassifier" in found
    grid.write_text(json.dumps(found | {"CatBoostClassifier": {"iterations": [30]}}))
    build = str(tmp_path / "build")
    try:
        ml("run", "--project", "shop", "--build", build)
        port = json.loads((tmp_path / "build" / "shop" / "deploy" / "deployment.json").read_text())["urls"][0]
        row = {
            "customer_id": "C99999",
            "age": 30,
            "plan": "basic",
            "joined": "2025-01-01",
            "city": "City 3",
            "spent": None,
        }
        request = urllib.request.Request(
            f"{port}/predict", json.dumps(row).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            [prediction] = json.loads(answer.read())["predictions"]
        assert prediction["customer_id"] == "C99999" and prediction["prediction"] in ("yes", "no")
    finally:
        ml("serve", "--stop", "--project", "shop")
