# Databricks notebook source
# MAGIC %md
# MAGIC # Title
# MAGIC
# MAGIC Some *text* with <b>html</b> and <script>alert(1)</script>

# COMMAND ----------

# DBTITLE 1,Install
# MAGIC %pip install --quiet six
dbutils.library.restartPython()

# COMMAND ----------

# MAGIC %run ./includes/setup $mode="full" $n='3'

# COMMAND ----------

# MAGIC %sql
# MAGIC SELECT 1 AS a; -- semicolon; in a comment
# MAGIC SELECT ';' AS b

# COMMAND ----------

# MAGIC %sh
# MAGIC ls -l

# COMMAND ----------

# MAGIC %fs ls /tmp

# COMMAND ----------


import pandas as pd

df = pd.DataFrame({"a": [1]})
display(df)

# COMMAND ----------

# MAGIC %%time
# MAGIC print("timed")

# COMMAND ----------

# MAGIC %scala
# MAGIC println("no")

# COMMAND ----------


# COMMAND ----------

# MAGIC %runner is no magic of ours

# COMMAND ----------

dbutils.notebook.exit("done")
