"""The settings that are written of a draft."""

import tomllib
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.data.infer.guess import guess
from ml.data.infer.settings_text import Settings, settings_text

TABLE = pd.DataFrame({"id": range(100), "lab": np.linspace(0, 1, 100), "well": np.resize([0, 1], 100)})


@pytest.mark.parametrize(
    ("given", "written"),
    [({"lab": 0.2, "rare": 1.0}, {"lab": 0.2}), ({"rare": 1.0}, None), ({"lab": 0.2}, {"lab": 0.2})],
)
def test_a_limit_that_never_refuses_is_left_out(given: dict[str, float], written: Any) -> None:
    gates: dict[str, tuple[Any, str]] = {
        "min_rows": (80, ""),
        "max_missing": (given, ""),
        "max_psi": (0.25, ""),
    }
    settings = Settings("Mine", {"kind": "files"}, 0.3, data_gates=gates)
    found = tomllib.loads(settings_text(guess(TABLE, "well"), settings))["data_gates"]
    assert found.get("max_missing") == written
    assert (found["min_rows"], found["max_psi"]) == (80, 0.25)
