"""What every table of days must satisfy."""

import pandas as pd
import pandera.pandas as pa


class Days(pa.DataFrameModel):
    """One row a day; temperatures in °C."""

    Day: str = pa.Field(unique=True, str_matches=r"^\d{4}-\d{2}-\d{2}$", metadata={"example": "2025-07-01"})
    YesterdayLow: float = pa.Field(ge=-90, le=60, description="°C")
    YesterdayHigh: float = pa.Field(ge=-90, le=60, description="°C")
    Pressure: float = pa.Field(ge=870, le=1085, nullable=True, description="hPa at sea level")
    Clouds: int = pa.Field(ge=0, le=8, description="eighths of the sky")
    Wind: float = pa.Field(ge=0, le=120, nullable=True, description="m/s")
    Temperature: float = pa.Field(ge=-90, le=60, description="°C, the mean of the day")

    class Config:
        """No column less; columns more are left out."""

        strict = "filter"

    @pa.dataframe_check(name="YesterdayLow <= YesterdayHigh")
    def low_before_high(cls, days: pd.DataFrame) -> pd.Series:
        """Tell of each row whether its low is not above its high."""
        return days["YesterdayLow"] <= days["YesterdayHigh"]
