"""The model, how it is measured, and when it replaces the one before."""

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from <% .Package %>.features import CATEGORICAL, NUMERIC

CHAMPION = "champion"
CHALLENGER = "challenger"


def build_pipeline(strength: float = 1.0, max_iter: int = 500) -> Pipeline:
    """A logistic regression over encoded categories and scaled numbers; a lower strength regularises more."""
    encode = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer([("categories", encode, CATEGORICAL), ("numbers", StandardScaler(), NUMERIC)])
    return Pipeline([("columns", columns), ("classifier", LogisticRegression(C=strength, max_iter=max_iter))])


def measure(labels: pd.Series, probability: pd.Series, prefix: str) -> dict[str, float]:
    """Metrics of predicted probabilities, their names starting with the prefix."""
    return {
        f"{prefix}_auc": float(roc_auc_score(labels, probability)),
        f"{prefix}_log_loss": float(log_loss(labels, probability, labels=[0, 1])),
    }


def is_better(challenger_auc: float, champion_auc: float | None, minimum: float) -> bool:
    """Whether the challenger is good enough, and at least as good as the champion, if there is one."""
    return challenger_auc >= minimum and (champion_auc is None or challenger_auc >= champion_auc)


def version_with_alias(client: MlflowClient, model: str, alias: str) -> ModelVersion | None:
    """The version of the model that has the alias, or None."""
    try:
        return client.get_model_version_by_alias(model, alias)
    except MlflowException:
        return None
