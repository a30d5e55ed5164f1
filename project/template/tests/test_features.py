import pytest

from <% .Package %>.features import FEATURES, KEY, LABEL, build_features
from <% .Package %>.sample import make_customers

CUSTOMER = {
    "customer_id": "C1",
    "contract": "monthly",
    "payment": "card",
    "tenure_months": 4,
    "monthly_charge": 20.0,
    "support_calls": 2,
    "days_inactive": 3,
    "churned": 1,
}


def test_one_row_per_customer(spark):
    features = build_features(spark.createDataFrame(make_customers(200)))
    assert features.columns == [KEY, *FEATURES, LABEL, "split"]
    assert features.count() == 200
    assert {row["split"] for row in features.select("split").distinct().collect()} == {"train", "validation"}


def test_derived_features(spark):
    row = build_features(spark.createDataFrame([CUSTOMER])).first()
    assert row["charge_to_date"] == pytest.approx(80.0)
    assert row["calls_per_month"] == pytest.approx(0.5)


def test_invalid_and_repeated_customers_are_dropped(spark):
    rows = [CUSTOMER, CUSTOMER, {**CUSTOMER, "customer_id": "C2", "tenure_months": 0}]
    assert [row[KEY] for row in build_features(spark.createDataFrame(rows)).collect()] == ["C1"]
