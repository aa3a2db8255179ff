"""What anyone who knows the Titanic expects of a model, whatever the data says."""

import pandas as pd

from ml.expectations import Directional, Invariant, Known

LADY = {
    "PassengerId": 1,
    "Pclass": 1,
    "Name": "Astor, Mrs. Madeleine",
    "Sex": "female",
    "Age": 30.0,
    "SibSp": 1,
    "Parch": 0,
    "Ticket": "PC 17757",
    "Fare": 90.0,
    "Cabin": "C62",
    "Embarked": "C",
}
LABOURER = LADY | {
    "Pclass": 3,
    "Name": "Smith, Mr. John",
    "Sex": "male",
    "Ticket": "330911",
    "Fare": 8.0,
    "SibSp": 0,
    "Cabin": None,
    "Embarked": "S",
}


def another_ticket(passengers: pd.DataFrame) -> pd.DataFrame:
    """Give everyone the same ticket number."""
    return passengers.assign(Ticket="A/5 21171")


def another_family_name(passengers: pd.DataFrame) -> pd.DataFrame:
    """Change the name before the comma."""
    return passengers.assign(Name=passengers["Name"].str.replace(r"^[^,]+", "Smith", regex=True))


def a_woman(passengers: pd.DataFrame) -> pd.DataFrame:
    """Make every grown man a woman of the same age, title included; boys were let into the boats anyway."""
    men = passengers["Name"].str.contains(", Mr.", regex=False)
    names = passengers["Name"].str.replace(", Mr.", ", Mrs.", regex=False)
    return passengers.assign(
        Sex=passengers["Sex"].mask(men, "female"), Name=passengers["Name"].mask(men, names)
    )


EXPECTATIONS = [
    Invariant("another ticket number changes nothing", another_ticket),
    Invariant("another family name changes nothing", another_family_name),
    Directional(
        "being a woman does not lower survival", a_woman, "not lower", of=1, tolerance=0.02, most_broken=0.02
    ),
    Known("a lady of the first class survives", [LADY], answer=1),
    Known("a labourer of the third class does not", [LABOURER], answer=0),
]
