"""The functions of features.py for one row, without pandas: the service answers sooner by them.

The quality stage compares both on every row; a gap in a row is None.
"""

import re
from typing import Any

SPELLINGS = {"Mlle": "Miss", "Ms": "Miss", "Mme": "Mrs"}
COMMON = {"Mr", "Mrs", "Miss", "Master"}
FORM_OF_ADDRESS = re.compile(r",\s*([^.]+)\.")


def title(passenger: dict[str, Any]) -> dict[str, Any]:
    """Add ``Title``."""
    found = FORM_OF_ADDRESS.search(passenger["Name"])
    word = found[1].strip() if found else ""
    word = SPELLINGS.get(word, word)
    return passenger | {"Title": word if word in COMMON else "Rare"}


def family_size(passenger: dict[str, Any]) -> dict[str, Any]:
    """Add ``FamilySize``."""
    return passenger | {"FamilySize": passenger["SibSp"] + passenger["Parch"] + 1}
