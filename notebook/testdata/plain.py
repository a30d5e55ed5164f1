"""No notebook: one cell."""
print("hi")
# COMMAND ----------
