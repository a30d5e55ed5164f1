# Databricks notebook source
# MAGIC %md
# MAGIC # Upsert
# MAGIC Merges the newest event of every order in the batch into the silver table.

# COMMAND ----------

# MAGIC %run ./includes/setup

# COMMAND ----------

updates = latest_per_order(spark.table(bronze).where(F.col("batch") == batch)).withColumn(
    "amount", (F.col("quantity") * F.col("unit_price")).cast("decimal(12, 2)")
)
updates.createOrReplaceTempView("order_updates")

# COMMAND ----------

result = spark.sql(f"""
    MERGE INTO {silver} AS t
    USING order_updates AS s
    ON t.order_id = s.order_id
    WHEN MATCHED AND s.updated_at > t.updated_at THEN UPDATE SET
      t.quantity = s.quantity,
      t.unit_price = s.unit_price,
      t.amount = s.amount,
      t.status = s.status,
      t.updated_at = s.updated_at,
      t.batch = s.batch
    WHEN NOT MATCHED THEN INSERT
      (order_id, customer_id, product, quantity, unit_price, amount, status, ordered_at, updated_at, batch)
      VALUES (s.order_id, s.customer_id, s.product, s.quantity, s.unit_price, s.amount, s.status, s.ordered_at,
              s.updated_at, s.batch)
""")
display(result)

# COMMAND ----------

# MAGIC %md
# MAGIC The history of the table says what the merge did.

# COMMAND ----------

from delta.tables import DeltaTable

last = DeltaTable.forName(spark, silver).history(1).collect()[0]
metrics = last["operationMetrics"]
print(
    f"{last['operation']} (version {last['version']}): "
    f"{metrics['numTargetRowsInserted']} orders inserted, {metrics['numTargetRowsUpdated']} updated"
)
