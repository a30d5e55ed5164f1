import pandas as pd
import pytest

from <% .Package %>.features import FEATURES
from <% .Package %>.model import build_pipeline, is_better, measure
from <% .Package %>.sample import make_customers


@pytest.fixture(scope="module")
def customers() -> pd.DataFrame:
    rows = make_customers(600)
    rows["charge_to_date"] = rows["monthly_charge"] * rows["tenure_months"]
    rows["calls_per_month"] = rows["support_calls"] / rows["tenure_months"]
    return rows


def test_learns_what_is_there(customers):
    pipeline = build_pipeline().fit(customers[FEATURES], customers["churned"])
    metrics = measure(customers["churned"], pipeline.predict_proba(customers[FEATURES])[:, 1], "train")
    assert metrics["train_auc"] > 0.8
    assert metrics["train_log_loss"] < 0.6


def test_scores_categories_it_has_not_seen(customers):
    pipeline = build_pipeline().fit(customers[FEATURES], customers["churned"])
    new = customers[FEATURES].head(3).assign(contract="weekly")
    assert ((pipeline.predict_proba(new) >= 0) & (pipeline.predict_proba(new) <= 1)).all()


@pytest.mark.parametrize(
    ("challenger", "champion", "better"),
    [(0.8, None, True), (0.6, None, False), (0.8, 0.79, True), (0.8, 0.8, True), (0.8, 0.81, False)],
)
def test_is_better(challenger, champion, better):
    assert is_better(challenger, champion, minimum=0.7) is better
