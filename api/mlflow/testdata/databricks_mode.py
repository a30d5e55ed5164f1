"""The mlflow client in Databricks mode, with databricks-sdk's environment
(DATABRICKS_HOST, DATABRICKS_TOKEN): both registries."""

import mlflow
import numpy as np
from databricks.sdk import WorkspaceClient
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

NAME = "shop.ml.churn"
w = WorkspaceClient()
mlflow.set_tracking_uri("databricks")
mlflow.set_registry_uri("databricks-uc")
mlflow.set_experiment("/Users/me/exp")
X = np.random.default_rng(0).random((50, 3))
y = (X.sum(1) > 1.5).astype(int)
model = LogisticRegression().fit(X, y)

with mlflow.start_run() as run:
    mlflow.log_param("p", 1)
    mlflow.log_metric("rmse", 1.5, step=3)
    mlflow.log_text("hello", "notes/a.txt")
    info = mlflow.sklearn.log_model(
        model,
        name="model",
        signature=infer_signature(X, y),
        pip_requirements=["scikit-learn"],
        registered_model_name=NAME,
    )
client = MlflowClient()
assert run.info.artifact_uri.startswith("dbfs:/databricks/mlflow-tracking/"), run.info.artifact_uri
assert [f.path for f in client.list_artifacts(run.info.run_id)] == ["notes"]
assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/notes/a.txt") == "hello"
for uri in (info.model_uri, f"runs:/{run.info.run_id}/model"):
    assert (mlflow.sklearn.load_model(uri).predict(X) == model.predict(X)).all()

version = mlflow.register_model(f"runs:/{run.info.run_id}/model", NAME)
assert (version.version, version.status, version.run_id) == ("2", "READY", run.info.run_id), version
client.set_registered_model_alias(NAME, "champion", 1)
for uri in (f"models:/{NAME}@champion", f"models:/{NAME}/2"):
    loaded = mlflow.pyfunc.load_model(uri)
    assert loaded.metadata.run_id == run.info.run_id and (loaded.predict(X) == model.predict(X)).all()
client.set_registered_model_tag(NAME, "a", "b")
client.set_model_version_tag(NAME, "1", "k", "v")
client.update_model_version(NAME, "1", "the first")
registered, first = client.get_registered_model(NAME), client.get_model_version(NAME, "1")
assert registered.aliases == {"champion": "1"} and registered.tags == {"a": "b"}
assert (first.aliases, first.tags, first.description, first.model_id) == (["champion"], {"k": "v"}, "the first", info.model_id)
assert client.get_model_version_by_alias(NAME, "champion").version == "1"
assert [v.version for v in client.search_model_versions(f"name='{NAME}'")] == ["2", "1"]
assert [m.name for m in client.search_registered_models()] == [NAME]
try:
    mlflow.register_model(info.model_uri, "nosuch.ml.churn")
    raise AssertionError("a model without a catalog")
except MlflowException as e:
    assert "nosuch" in str(e), e

assert w.registered_models.get(NAME).full_name == NAME
assert [v.version for v in w.model_versions.list(NAME)] == [2, 1]
assert w.model_versions.get_by_alias(NAME, "champion").version == 1
assert [m.name for m in w.registered_models.list(catalog_name="shop", schema_name="ml")] == ["churn"]
assert w.registered_models.set_alias(NAME, "next", 2).alias_name == "next"
w.registered_models.delete_alias(NAME, "next")
client.delete_model_version(NAME, "2")
assert w.experiments.get_by_name("/Users/me/exp").experiment.experiment_id == run.info.experiment_id

mlflow.set_registry_uri("databricks")
version = mlflow.register_model(info.model_uri, "churn")
MlflowClient().transition_model_version_stage("churn", version.version, "Staging")
for uri in ("models:/churn/Staging", "models:/churn/1"):
    assert mlflow.pyfunc.load_model(uri).metadata.run_id == run.info.run_id
print("run", run.info.run_id)
