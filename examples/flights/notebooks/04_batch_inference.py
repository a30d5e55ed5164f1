# Databricks notebook source
# MAGIC %md
# MAGIC # 4. Batch inference
# MAGIC Scores the newest month with the champion and appends to the table of predictions.

# COMMAND ----------

dbutils.widgets.text("catalog", "main")
dbutils.widgets.text("schema", "flights")
dbutils.widgets.text("model", "late_arrival")

catalog, schema = dbutils.widgets.get("catalog"), dbutils.widgets.get("schema")
model_name = f"{catalog}.{schema}.{dbutils.widgets.get('model')}"

# COMMAND ----------

import json
import sys

sys.path.append("../src")

import mlflow
from mlflow import MlflowClient
from pyspark.sql import functions as F

from flights import FEATURES, KEYS

mlflow.set_registry_uri("databricks-uc")
champion = MlflowClient().get_model_version_by_alias(model_name, "champion")
score = mlflow.pyfunc.spark_udf(spark, f"models:/{model_name}@champion", result_type="array<double>", env_manager="local")

# COMMAND ----------

features = spark.table(f"{catalog}.{schema}.flight_features")
newest = features.agg(F.max("month")).first()[0]
context = dbutils.notebook.entry_point.getDbutils().notebook().getContext()
job_run_id = context.tags().get("multitaskParentRunId").getOrElse(None) or "interactive"
predictions = (
    features.where(F.col("month") == newest)
    .withColumn("late_probability", score(F.struct(*FEATURES))[1])
    .select(
        *KEYS,
        "carrier",
        "origin",
        "dest",
        "late_probability",
        F.lit(champion.version).cast("int").alias("model_version"),
        F.lit(str(job_run_id)).alias("run_id"),
        F.current_timestamp().alias("scored_at"),
    )
)
predictions.write.mode("append").saveAsTable(f"{catalog}.{schema}.predictions")

# COMMAND ----------

scored = spark.table(f"{catalog}.{schema}.predictions").where(F.col("run_id") == str(job_run_id))
display(scored.orderBy(F.desc("late_probability")).limit(10))

# COMMAND ----------

dbutils.notebook.exit(
    json.dumps({"table": f"{catalog}.{schema}.predictions", "rows": scored.count(), "model_version": champion.version})
)
