# Databricks notebook source
# MAGIC %md
# MAGIC # 3. Evaluate and register
# MAGIC Validates the new model on months it has not seen, compares it with the champion, and registers it.

# COMMAND ----------

dbutils.widgets.text("catalog", "main")
dbutils.widgets.text("schema", "flights")
dbutils.widgets.text("model", "late_arrival")
dbutils.widgets.text("run_id", "")

catalog, schema = dbutils.widgets.get("catalog"), dbutils.widgets.get("schema")
model_name = f"{catalog}.{schema}.{dbutils.widgets.get('model')}"
run_id = dbutils.widgets.get("run_id")

# COMMAND ----------

import sys

sys.path.append("../src")

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from flights import LABEL
from flights.model import late_probability, measure

mlflow.set_registry_uri("databricks-uc")
registry = MlflowClient(registry_uri="databricks-uc")

# COMMAND ----------

validation = spark.table(f"{catalog}.{schema}.flight_features").where("month IN (10, 11)").toPandas()
candidate = mlflow.sklearn.load_model(f"runs:/{run_id}/model")
metrics = measure(validation[LABEL], late_probability(candidate, validation), "val")
with mlflow.start_run(run_id=run_id):
    mlflow.log_metrics(metrics)
metrics

# COMMAND ----------

# DBTITLE 1,The champion, if there is one
try:
    champion = registry.get_model_version_by_alias(model_name, "champion")
except MlflowException:
    champion = None

champion_auc = None
if champion is not None:
    pipeline = mlflow.sklearn.load_model(f"models:/{model_name}@champion")
    champion_auc = measure(validation[LABEL], late_probability(pipeline, validation), "val")["val_auc"]
promoted = champion_auc is None or metrics["val_auc"] > champion_auc
print(f"candidate {metrics['val_auc']:.4f}, champion {champion_auc if champion_auc is None else round(champion_auc, 4)}")

# COMMAND ----------

# DBTITLE 1,Register in Unity Catalog
version = mlflow.register_model(f"runs:/{run_id}/model", model_name)
registry.set_registered_model_alias(model_name, "challenger", version.version)
registry.set_model_version_tag(model_name, version.version, "val_auc", f"{metrics['val_auc']:.4f}")

# COMMAND ----------

# DBTITLE 1,And in the workspace registry, for consumers that still use stages
workspace_registry = MlflowClient(registry_uri="databricks")
workspace_name = f"{schema}-{dbutils.widgets.get('model')}"
try:
    workspace_registry.create_registered_model(workspace_name)
except MlflowException as e:
    if e.error_code != "RESOURCE_ALREADY_EXISTS":
        raise
staged = workspace_registry.create_model_version(workspace_name, source=f"runs:/{run_id}/model", run_id=run_id)
workspace_registry.transition_model_version_stage(
    workspace_name, staged.version, stage="Staging", archive_existing_versions=True
)

# COMMAND ----------

dbutils.jobs.taskValues.set(key="promoted", value=promoted)
dbutils.jobs.taskValues.set(key="model_version", value=version.version)
dbutils.jobs.taskValues.set(key="val_auc", value=round(metrics["val_auc"], 6))

# COMMAND ----------

import json

dbutils.notebook.exit(json.dumps({"model_version": version.version, "promoted": promoted, **metrics}))
