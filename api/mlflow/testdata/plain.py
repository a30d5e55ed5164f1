"""The mlflow client against a plain tracking server: argv[1] is its URL."""

import math
import sys

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LogisticRegression

mlflow.set_tracking_uri(sys.argv[1])
experiment = mlflow.set_experiment("/Users/me/exp")
X = np.random.default_rng(0).random((50, 3))
y = (X.sum(1) > 1.5).astype(int)

mlflow.sklearn.autolog()
with mlflow.start_run() as run:
    LogisticRegression().fit(X, y)
    mlflow.log_metric("nan", float("nan"))
    mlflow.log_text("hello", "notes/a.txt")
mlflow.sklearn.autolog(disable=True)
client = MlflowClient()
got = client.get_run(run.info.run_id)
assert got.info.status == "FINISHED" and got.info.end_time >= got.info.start_time
assert got.info.artifact_uri == f"mlflow-artifacts:/{experiment.experiment_id}/{run.info.run_id}/artifacts"
assert math.isnan(got.data.metrics["nan"]) and got.data.metrics["training_score"] > 0.5
assert got.data.params["C"] == "1.0" and got.data.tags["estimator_name"] == "LogisticRegression"
assert got.inputs.dataset_inputs[0].tags[0].value == "train" and len(got.outputs.model_outputs) == 1
files = [f.path for f in client.list_artifacts(run.info.run_id)]
assert {"estimator.html", "notes", "training_confusion_matrix.png"} <= set(files), files
assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/notes/a.txt") == "hello"
model = mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/model")

with mlflow.start_run(run_name="second") as second:
    info = mlflow.sklearn.log_model(
        model, name="model", input_example=X[:2], pip_requirements=["scikit-learn"], registered_model_name="churn"
    )
version = mlflow.register_model(f"runs:/{second.info.run_id}/model", "churn")
assert (version.version, version.status, version.run_id) == ("2", "READY", second.info.run_id)
assert client.get_model_version("churn", "1").run_id == second.info.run_id
client.transition_model_version_stage("churn", "1", "Production")
client.transition_model_version_stage("churn", "2", "Production", archive_existing_versions=True)
stages = {v.version: v.current_stage for v in client.search_model_versions("name='churn'")}
assert stages == {"1": "Archived", "2": "Production"}, stages
client.set_registered_model_alias("churn", "champion", "1")
for uri in ("models:/churn@champion", "models:/churn/Production", "models:/churn/2", "models:/churn/latest", info.model_uri):
    assert (mlflow.pyfunc.load_model(uri).predict(X) == model.predict(X)).all(), uri
frame = mlflow.search_runs(filter_string="metrics.training_score > 0.1", order_by=["metrics.training_score DESC"])
assert list(frame.run_id) == [run.info.run_id]
assert {m.model_id for m in client.search_logged_models([experiment.experiment_id])} >= {info.model_id}
assert [m.name for m in client.search_registered_models("name LIKE 'ch%'")] == ["churn"]
assert [m.value for m in client.get_metric_history(run.info.run_id, "training_score")] == [got.data.metrics["training_score"]]
for wrong in (lambda: client.get_run("0" * 32), lambda: client.get_registered_model("none"), lambda: client.create_experiment("/Users/me/exp")):
    try:
        wrong()
        raise AssertionError("not refused")
    except MlflowException as e:
        assert e.error_code in ("RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"), e
client.delete_model_version("churn", "2")
client.rename_registered_model("churn", "churned")
client.delete_registered_model("churned")
client.delete_run(second.info.run_id)
client.restore_run(second.info.run_id)
print("experiment", experiment.experiment_id, "run", run.info.run_id, "model", info.model_id)
