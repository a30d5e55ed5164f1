-- Databricks notebook source
SELECT * FROM t

-- COMMAND ----------

-- MAGIC %md
-- MAGIC ## Python below

-- COMMAND ----------

-- DBTITLE 1,With Python
-- MAGIC %python
-- MAGIC print(_sqldf.count())

-- COMMAND ----------

-- a comment
CREATE TABLE x AS SELECT 1
