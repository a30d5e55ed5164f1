"""The scikit-learn pipeline and how it is measured."""

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from flights import CATEGORICAL, FEATURES, NUMERIC

SEED = 7


def build_pipeline(max_iter: int = 40, learning_rate: float = 0.2) -> Pipeline:
    """A gradient-boosted classifier over encoded categories and plain numbers."""
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("categories", encode, CATEGORICAL), ("numbers", "passthrough", NUMERIC)])
    model = HistGradientBoostingClassifier(
        max_iter=max_iter,
        learning_rate=learning_rate,
        categorical_features=list(range(len(CATEGORICAL))),
        random_state=SEED,
        early_stopping=False,
    )
    return Pipeline([("columns", columns), ("model", model)])


def measure(labels: pd.Series, probability: pd.Series, prefix: str) -> dict[str, float]:
    """Metrics of predicted probabilities, named with a prefix."""
    return {
        f"{prefix}_auc": float(roc_auc_score(labels, probability)),
        f"{prefix}_average_precision": float(average_precision_score(labels, probability)),
        f"{prefix}_log_loss": float(log_loss(labels, probability)),
    }


def late_probability(pipeline: Pipeline, rows: pd.DataFrame) -> pd.Series:
    """The probability that each flight arrives late."""
    return pd.Series(pipeline.predict_proba(rows[FEATURES])[:, 1], index=rows.index)
