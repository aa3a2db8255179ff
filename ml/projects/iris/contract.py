"""What every table of flowers must satisfy: training data and requests alike."""

import pandera.pandas as pa


class Flowers(pa.DataFrameModel):
    """One row a flower, in centimetres."""

    flower: int = pa.Field(unique=True, ge=0, description="the number of the flower, any in a request")
    sepal_length: float = pa.Field(ge=0.1, le=15)
    sepal_width: float = pa.Field(ge=0.1, le=15)
    petal_length: float = pa.Field(ge=0.1, le=15)
    petal_width: float = pa.Field(ge=0.1, le=15)
    species: str = pa.Field(isin=["setosa", "versicolor", "virginica"])

    class Config:
        """No column less; columns more are left out."""

        strict = "filter"
