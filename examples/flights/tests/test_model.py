import numpy as np
import pandas as pd

from flights import CATEGORICAL, FEATURES, NUMERIC
from flights.model import build_pipeline, late_probability, measure


def rows(n=400):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({c: rng.normal(size=n) for c in NUMERIC})
    for c in CATEGORICAL:
        frame[c] = rng.choice(["a", "b", "c"], size=n)
    return frame[FEATURES]


def test_learns_what_is_there():
    train = rows()
    label = (train["previous_delay"] > 0).astype(int)
    pipeline = build_pipeline(max_iter=20).fit(train, label)
    assert measure(label, late_probability(pipeline, train), "train")["train_auc"] > 0.95


def test_unknown_categories_and_gaps_are_scored():
    train = rows()
    pipeline = build_pipeline(max_iter=5).fit(train, (train["temp"] > 0).astype(int))
    new = train.head(3).copy()
    new.loc[:, "dest"] = "never seen"
    new.loc[:, "temp"] = np.nan
    assert late_probability(pipeline, new).between(0, 1).all()


def test_same_data_same_model():
    train = rows()
    label = (train["temp"] > 0).astype(int)
    first, second = (late_probability(build_pipeline(max_iter=10).fit(train, label), train) for _ in range(2))
    assert first.equals(second)
