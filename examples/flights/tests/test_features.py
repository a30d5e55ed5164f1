import datetime as dt

import pandas as pd
import pytest

from flights import FEATURES, KEYS, LABEL
from flights.features import build_features


def flight(day, number, dep_delay, arr_delay, hour=9, tailnum="N1", carrier="UA"):
    return {
        "year": 2013,
        "month": 1,
        "day": day,
        "sched_dep_time": hour * 100,
        "dep_delay": dep_delay,
        "arr_delay": arr_delay,
        "carrier": carrier,
        "flight": number,
        "tailnum": tailnum,
        "origin": "EWR",
        "dest": "ORD",
        "distance": 719.0,
        "hour": hour,
        "time_hour": dt.datetime(2013, 1, day, hour),
    }


@pytest.fixture(scope="module")
def features(spark):
    flights = pd.DataFrame(
        [
            flight(1, 1, 0.0, 30.0),
            flight(1, 2, 40.0, 50.0, hour=12),
            flight(1, 3, 0.0, None, hour=15),
            flight(2, 1, 0.0, 15.0),
            flight(2, 4, 0.0, 0.0, tailnum="N2", carrier="DL"),
        ]
    )
    weather = pd.DataFrame(
        [{"origin": "EWR", "time_hour": dt.datetime(2013, 1, 1, 9), "temp": 39.0, "wind_speed": 8.0, "visib": 10.0, "precip": 0.0}]
    )
    planes = pd.DataFrame([{"tailnum": "N1", "year": 2003.0, "seats": 149}])
    built = build_features(spark.createDataFrame(flights), spark.createDataFrame(weather), spark.createDataFrame(planes))
    return built.toPandas().set_index("flight_id").sort_index()


def test_columns_and_rows(features):
    assert list(features.reset_index()[KEYS + FEATURES + [LABEL]].columns) == KEYS + FEATURES + [LABEL]
    assert len(features) == 4, "a flight that never arrived has no label"
    assert features.index.is_unique


def test_label_is_more_than_fifteen_minutes(features):
    assert features[LABEL].to_dict() == {
        "UA-1-EWR-20130101-900": 1,
        "UA-2-EWR-20130101-1200": 1,
        "UA-1-EWR-20130102-900": 0,
        "DL-4-EWR-20130102-900": 0,
    }


def test_history_knows_only_days_before(features):
    rate = features["carrier_late_rate"]
    assert pd.isna(rate["UA-1-EWR-20130101-900"])
    assert rate["UA-1-EWR-20130102-900"] == 1.0
    assert pd.isna(rate["DL-4-EWR-20130102-900"])


def test_previous_delay_is_that_of_the_same_plane_that_day(features):
    assert features["previous_delay"]["UA-2-EWR-20130101-1200"] == 0.0
    assert pd.isna(features["previous_delay"]["UA-1-EWR-20130101-900"])


def test_joins(features):
    row = features.loc["UA-1-EWR-20130101-900"]
    assert (row["temp"], row["plane_age"], row["seats"]) == (39.0, 10.0, 149.0)
    assert row["hour_sin"] ** 2 + row["hour_cos"] ** 2 == pytest.approx(1.0)
