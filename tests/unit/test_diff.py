"""The command that shows two versions of the data side by side."""

from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Site
from tests.support import ErrorOf, page_policy_breaches, register

pytestmark = pytest.mark.slow


def test_a_version_a_build_and_files_are_compared(
    built: Site, capsys: pytest.CaptureFixture[str], error_of: ErrorOf
) -> None:
    register(built)
    file = built.project / "data" / "train.csv"
    table = pd.read_csv(file)
    other = built.root / "other.csv"
    table.iloc[10:].assign(Fare=table["Fare"] * 3).to_csv(other, index=False)
    assert built.ml("diff", "1", "build") == 0
    assert "rows: 0 added, 0 removed, 0 changed, 891 the same" in capsys.readouterr().out
    assert built.ml("diff", str(file), str(other)) == 0
    said = capsys.readouterr().out
    assert "0 added, 10 removed, " in said and "other.csv" in said
    page = (built.build / "diff.html").read_text(encoding="utf-8")
    assert "from train.csv to other.csv" in page and "<img" in page and "Fare" in page
    assert page_policy_breaches(page.partition("</style>")[2].replace("data:image", "")) == []
    names = Path(built.project / "data" / "train.csv").read_text().split('"')[1]
    assert names not in page, "a personal value"
    assert built.ml("diff", "1", "nowhere.csv") == 2
    assert "neither a version's number, nor build, nor a file" in error_of()
    assert built.ml("diff", "9", "build") == 1
    assert "no version 9 of small" in error_of()
