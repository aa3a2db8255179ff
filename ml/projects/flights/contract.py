"""What every table of departures must satisfy: training data and requests alike."""

import pandera.pandas as pa


class Departures(pa.DataFrameModel):
    """One row a departure from New York, as it is known before the aircraft leaves."""

    flight_id: int = pa.Field(unique=True, ge=1)
    time_hour: str = pa.Field(
        str_matches=r"^\d{4}-\d{2}-\d{2}T\d{2}:00:00Z$",
        description="the hour of the scheduled departure, UTC",
        metadata={"example": "2013-11-20T14:00:00Z"},
    )
    sched_dep_time: int = pa.Field(ge=0, le=2359, description="local, HHMM")
    sched_arr_time: int = pa.Field(ge=0, le=2359, description="local, HHMM")
    carrier: str = pa.Field(str_matches=r"^[A-Z0-9]{2}$", metadata={"example": "UA"})
    origin: str = pa.Field(isin=["EWR", "JFK", "LGA"])
    dest: str = pa.Field(str_matches=r"^[A-Z]{3}$", metadata={"example": "SFO"})
    distance: int = pa.Field(ge=1, le=10000, description="miles")
    temp: float = pa.Field(nullable=True, ge=-60, le=130, description="°F")
    humid: float = pa.Field(nullable=True, ge=0, le=100, description="relative, %")
    wind_speed: float = pa.Field(nullable=True, ge=0, le=200, description="mph")
    precip: float = pa.Field(nullable=True, ge=0, le=15, description="inches in the hour")
    pressure: float = pa.Field(nullable=True, ge=870, le=1085, description="hPa at sea level")
    visib: float = pa.Field(nullable=True, ge=0, le=10, description="miles")
    late: int = pa.Field(isin=[0, 1], description="arrived more than 15 minutes late, or not at all")

    class Config:
        """No column less; columns more are left out."""

        strict = "filter"
