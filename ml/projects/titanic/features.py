"""Features made from a passenger's row, inside the fitted pipeline: serving computes what training did."""

import pandas as pd

SPELLINGS = {"Mlle": "Miss", "Ms": "Miss", "Mme": "Mrs"}
COMMON = ["Mr", "Mrs", "Miss", "Master"]


def title(passengers: pd.DataFrame) -> pd.DataFrame:
    """Add ``Title``, the form of address in ``Name`` ("Braund, Mr. Owen": "Mr"); others are "Rare"."""
    found = passengers["Name"].str.extract(r",\s*([^.]+)\.", expand=False).str.strip().replace(SPELLINGS)
    return passengers.assign(Title=found.where(found.isin(COMMON), "Rare"))


def family_size(passengers: pd.DataFrame) -> pd.DataFrame:
    """Add ``FamilySize``, the number of relatives aboard and the passenger."""
    return passengers.assign(FamilySize=passengers["SibSp"] + passengers["Parch"] + 1)
