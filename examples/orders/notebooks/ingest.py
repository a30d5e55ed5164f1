# Databricks notebook source
# MAGIC %md
# MAGIC # Ingest
# MAGIC Streams the files that are new in the volume into the bronze table, and stops when all are read.

# COMMAND ----------

# MAGIC %run ./includes/names

# COMMAND ----------

from pyspark.sql import functions as F

events_schema = """
    event_id STRING,
    order_id STRING,
    customer_id INT,
    product STRING,
    quantity INT,
    unit_price DECIMAL(10, 2),
    status STRING,
    ordered_at TIMESTAMP,
    updated_at TIMESTAMP,
    batch INT
"""

# "batch" comes from the folder names batch=<n>. Folders that start with "_" are not read.
events = (
    spark.readStream.format("json")
    .schema(events_schema)
    .load(landing)
    .withColumn("source_file", F.col("_metadata.file_path"))
    .withColumn("ingested_at", F.current_timestamp())
)

# COMMAND ----------

query = (
    events.writeStream.format("delta")
    .outputMode("append")
    .option("checkpointLocation", f"{landing}/_checkpoints/orders_bronze")
    .queryName("orders_bronze")
    .trigger(availableNow=True)
    .toTable(bronze)
)
query.awaitTermination()

# COMMAND ----------

display(spark.table(bronze).groupBy("batch").count().orderBy("batch"))
