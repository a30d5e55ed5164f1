"""Features of a customer, from the raw table of customers."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

KEY = "customer_id"
LABEL = "churned"
CATEGORICAL = ["contract", "payment"]
NUMERIC = ["tenure_months", "monthly_charge", "support_calls", "days_inactive", "charge_to_date", "calls_per_month"]
FEATURES = CATEGORICAL + NUMERIC


def build_features(customers: DataFrame) -> DataFrame:
    """One row per customer: key, features, label and the split ("train" or "validation") it belongs to."""
    valid = customers.where(F.col(KEY).isNotNull() & (F.col("tenure_months") > 0)).dropDuplicates([KEY])
    derived = valid.withColumns(
        {
            "charge_to_date": F.col("monthly_charge") * F.col("tenure_months"),
            "calls_per_month": F.col("support_calls") / F.col("tenure_months"),
            # By the key, so that a customer stays in its split when others come and go.
            "split": F.when(F.crc32(F.col(KEY)) % 10 < 7, "train").otherwise("validation"),
        }
    )
    numbers = [F.col(name).cast("double").alias(name) for name in NUMERIC]
    return derived.select(KEY, *CATEGORICAL, *numbers, F.col(LABEL).cast("int").alias(LABEL), "split")
