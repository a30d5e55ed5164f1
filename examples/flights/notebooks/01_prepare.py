# Databricks notebook source
# MAGIC %md
# MAGIC # 1. Prepare
# MAGIC Reads the raw flights, weather and planes from the lake, and writes one row of features per flight to the
# MAGIC feature table.

# COMMAND ----------

dbutils.widgets.text("catalog", "main")
dbutils.widgets.text("schema", "flights")
dbutils.widgets.text("storage_account", "")
dbutils.widgets.text("tenant_id", "")
dbutils.widgets.text("secret_scope", "flights")

catalog = dbutils.widgets.get("catalog")
schema = dbutils.widgets.get("schema")
account = dbutils.widgets.get("storage_account")
tenant = dbutils.widgets.get("tenant_id")
scope = dbutils.widgets.get("secret_scope")

# COMMAND ----------

# DBTITLE 1,Sign in to the lake as the project's service principal
host = f"{account}.dfs.core.windows.net"
spark.conf.set(f"fs.azure.account.auth.type.{host}", "OAuth")
spark.conf.set(
    f"fs.azure.account.oauth.provider.type.{host}",
    "org.apache.hadoop.fs.azurebfs.oauth2.ClientCredsTokenProvider",
)
spark.conf.set(f"fs.azure.account.oauth2.client.id.{host}", dbutils.secrets.get(scope, "sp-client-id"))
spark.conf.set(f"fs.azure.account.oauth2.client.secret.{host}", dbutils.secrets.get(scope, "sp-client-secret"))
spark.conf.set(
    f"fs.azure.account.oauth2.client.endpoint.{host}",
    f"https://login.microsoftonline.com/{tenant}/oauth2/token",
)
raw = f"abfss://raw@{host}"

# COMMAND ----------

flights = spark.read.parquet(f"{raw}/flights")
weather = spark.read.parquet(f"{raw}/weather")
planes = spark.read.parquet(f"{raw}/planes")
display(flights.limit(5))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Features
# MAGIC Only what is known before the plane leaves: the plan, the weather, the plane, and how the airline did on
# MAGIC the days before. The functions are in `src/flights` and have their own tests.

# COMMAND ----------

import sys

sys.path.append("../src")

from flights.features import build_features

features = build_features(flights, weather, planes)

# COMMAND ----------

spark.sql(f"USE CATALOG `{catalog}`")
spark.sql(f"CREATE SCHEMA IF NOT EXISTS `{schema}`")
spark.sql(f"USE SCHEMA `{schema}`")

(
    features.write.format("delta")
    .mode("overwrite")
    .option("overwriteSchema", "true")
    .saveAsTable(f"{catalog}.{schema}.flight_features")
)

# COMMAND ----------

# MAGIC %sql
# MAGIC SELECT month, count(*) AS flights, round(avg(late), 3) AS late_rate
# MAGIC FROM flight_features
# MAGIC GROUP BY month
# MAGIC ORDER BY month

# COMMAND ----------

rows = sum(r["flights"] for r in _sqldf.collect())
dbutils.jobs.taskValues.set(key="rows", value=rows)
print(f"{rows} rows in {catalog}.{schema}.flight_features")
