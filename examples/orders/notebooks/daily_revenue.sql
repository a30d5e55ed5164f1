-- Databricks notebook source
-- MAGIC %md
-- MAGIC # Daily revenue
-- MAGIC One row per day, without the cancelled orders.

-- COMMAND ----------

CREATE WIDGET TEXT catalog DEFAULT "main";
CREATE WIDGET TEXT schema DEFAULT "orders";

-- COMMAND ----------

USE CATALOG IDENTIFIER(:catalog);
USE SCHEMA IDENTIFIER(:schema);

-- COMMAND ----------

-- DBTITLE 1,Aggregate
CREATE OR REPLACE TABLE daily_revenue
COMMENT 'Orders and revenue per day; cancelled orders do not count'
AS
SELECT
  to_date(ordered_at) AS day,
  count(*) AS orders,
  count(DISTINCT customer_id) AS customers,
  sum(quantity) AS items,
  sum(amount) AS revenue
FROM orders_silver
WHERE status <> 'cancelled' -- shipped; placed
GROUP BY ALL;

-- COMMAND ----------

-- MAGIC %md
-- MAGIC ## Revenue, and how it adds up

-- COMMAND ----------

SELECT
  day,
  orders,
  revenue,
  sum(revenue) OVER (ORDER BY day) AS revenue_so_far
FROM daily_revenue
ORDER BY day
