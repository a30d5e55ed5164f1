# Databricks notebook source
# MAGIC %md
# MAGIC Names, imports and the silver table.

# COMMAND ----------

# MAGIC %run ./names

# COMMAND ----------

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

# COMMAND ----------

spark.sql(f"""
    CREATE TABLE IF NOT EXISTS {silver} (
      order_id STRING NOT NULL COMMENT 'One row per order',
      customer_id INT,
      product STRING,
      quantity INT,
      unit_price DECIMAL(10, 2),
      amount DECIMAL(12, 2) COMMENT 'quantity * unit_price',
      status STRING,
      ordered_at TIMESTAMP,
      updated_at TIMESTAMP,
      batch INT COMMENT 'Batch of the newest event'
    )
    USING DELTA
    COMMENT 'Current state of every order'
""")

# COMMAND ----------


def latest_per_order(events: DataFrame) -> DataFrame:
    """Only the newest event of every order."""
    newest_first = Window.partitionBy("order_id").orderBy(F.col("updated_at").desc(), F.col("event_id").desc())
    return events.withColumn("rank", F.row_number().over(newest_first)).where("rank = 1").drop("rank")
