# Databricks notebook source
# MAGIC %md
# MAGIC # Summarize
# MAGIC Called by `report`: gives the totals of the silver table as JSON.

# COMMAND ----------

dbutils.widgets.text("catalog", "main")
dbutils.widgets.text("schema", "orders")

table = f"{dbutils.widgets.get('catalog')}.{dbutils.widgets.get('schema')}.orders_silver"

# COMMAND ----------

totals = spark.sql(
    """
    SELECT
      count(*) AS orders,
      count_if(status = 'cancelled') AS cancelled,
      count_if(status = 'shipped') AS shipped,
      coalesce(sum(amount) FILTER (WHERE status <> 'cancelled'), 0) AS revenue
    FROM IDENTIFIER(:table)
    """,
    args={"table": table},
).first()

# COMMAND ----------

import json

dbutils.notebook.exit(
    json.dumps(
        {
            "orders": totals["orders"],
            "cancelled": totals["cancelled"],
            "shipped": totals["shipped"],
            "revenue": str(totals["revenue"]),
        }
    )
)
