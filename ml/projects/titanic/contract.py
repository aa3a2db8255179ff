"""What every table of passengers must satisfy: training data, serving requests and monitoring alike."""

import pandera.pandas as pa


class Passengers(pa.DataFrameModel):
    """One row a passenger, with the columns and units of the published Titanic tables."""

    PassengerId: int = pa.Field(unique=True, ge=1)
    Survived: int = pa.Field(isin=[0, 1])
    Pclass: int = pa.Field(isin=[1, 2, 3], description="ticket class, 1 the best")
    Name: str = pa.Field(
        str_matches=r"^[^,]+, [^.]+\..*$",
        str_length={"max_value": 200},
        description="Last, Title. First",
        metadata={
            "examples": [
                "Brown, Mrs. Margaret",
                "Smith, Mr. John",
                "Sand, Miss. Ada",
                "Field, Master. Tom",
                "Hill, Dr. Ann",
            ]
        },
    )
    Sex: str = pa.Field(isin=["female", "male"])
    Age: float = pa.Field(nullable=True, ge=0, le=120, description="years")
    SibSp: int = pa.Field(ge=0, le=20, description="siblings and spouses aboard")
    Parch: int = pa.Field(ge=0, le=20, description="parents and children aboard")
    Ticket: str = pa.Field(str_length={"min_value": 1, "max_value": 50}, metadata={"example": "A/5 00000"})
    Fare: float = pa.Field(nullable=True, ge=0, le=1000, description="pounds of 1912")
    Cabin: str = pa.Field(nullable=True, str_length={"max_value": 50})
    Embarked: str = pa.Field(
        nullable=True, isin=["C", "Q", "S"], description="Cherbourg, Queenstown, Southampton"
    )

    class Config:
        """No column less; columns more are left out."""

        strict = "filter"
