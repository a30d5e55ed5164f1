"""Features of a flight, from what is known before it leaves."""

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.functions import pandas_udf
from pyspark.sql.types import DoubleType

from flights import FEATURES, KEYS, LABEL, LATE_MINUTES

DAY = 86_400
TRAILING_DAYS = 7


@pandas_udf(DoubleType())
def hour_sin(hour: pd.Series) -> pd.Series:
    """The hour of the day on a circle, so that 23:00 is close to 00:00."""
    return pd.Series(np.sin(2 * np.pi * hour / 24.0))


@pandas_udf(DoubleType())
def hour_cos(hour: pd.Series) -> pd.Series:
    """The other coordinate of hour_sin."""
    return pd.Series(np.cos(2 * np.pi * hour / 24.0))


def with_label(flights: DataFrame) -> DataFrame:
    """Adds the label and a key; drops flights that never arrived."""
    arrived = flights.where(F.col("arr_delay").isNotNull())
    return arrived.withColumn(LABEL, (F.col("arr_delay") > LATE_MINUTES).cast("int")).withColumn(
        "flight_id",
        F.concat_ws("-", "carrier", "flight", "origin", F.date_format("time_hour", "yyyyMMdd"), "sched_dep_time"),
    )


def with_history(labelled: DataFrame) -> DataFrame:
    """Adds the carrier's late rate on the days before, and the delay of the plane's flight before."""
    day = F.unix_timestamp(F.to_date("time_hour"))
    daily = (
        labelled.withColumn("day_s", day)
        .groupBy("carrier", "day_s")
        .agg(F.sum(LABEL).alias("late_flights"), F.count(F.lit(1)).alias("all_flights"))
    )
    before = Window.partitionBy("carrier").orderBy("day_s").rangeBetween(-TRAILING_DAYS * DAY, -DAY)
    rates = daily.select(
        "carrier", "day_s", (F.sum("late_flights").over(before) / F.sum("all_flights").over(before)).alias("carrier_late_rate")
    )
    turn = Window.partitionBy("tailnum", "month", "day").orderBy("sched_dep_time", "flight_id")
    return (
        labelled.withColumn("day_s", day)
        .join(rates, ["carrier", "day_s"], "left")
        .withColumn("previous_delay", F.when(F.col("tailnum").isNotNull(), F.lag("dep_delay").over(turn)))
        .drop("day_s")
    )


def build_features(flights: DataFrame, weather: DataFrame, planes: DataFrame) -> DataFrame:
    """One row per flight: keys, features and the label."""
    hourly = weather.select("origin", "time_hour", "temp", "wind_speed", "visib", "precip").dropDuplicates(
        ["origin", "time_hour"]
    )
    built = planes.select("tailnum", F.col("year").alias("built"), "seats")
    joined = (
        with_history(with_label(flights))
        .join(hourly, ["origin", "time_hour"], "left")
        .join(built, "tailnum", "left")
        .withColumn("plane_age", F.col("year") - F.col("built"))
        .withColumn("day_of_week", F.dayofweek("time_hour"))
        .withColumn("hour_sin", hour_sin(F.col("hour")))
        .withColumn("hour_cos", hour_cos(F.col("hour")))
    )
    numeric = [F.col(c).cast("double").alias(c) if c not in ("carrier", "origin", "dest") else F.col(c) for c in FEATURES]
    return joined.select(*KEYS, *numeric, LABEL)
