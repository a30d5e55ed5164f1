# Databricks notebook source
# MAGIC %md
# MAGIC Parameters of the pipeline, and the names that follow from them.

# COMMAND ----------

dbutils.widgets.text("catalog", "main")
dbutils.widgets.text("schema", "orders")
dbutils.widgets.text("batch", "1")

catalog = dbutils.widgets.get("catalog")
schema = dbutils.widgets.get("schema")
batch = int(dbutils.widgets.get("batch"))

# COMMAND ----------

landing = f"/Volumes/{catalog}/{schema}/landing"
bronze = f"{catalog}.{schema}.orders_bronze"
silver = f"{catalog}.{schema}.orders_silver"
gold = f"{catalog}.{schema}.daily_revenue"
