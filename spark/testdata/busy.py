# A query that does not end by itself. Run by task.py.
spark.range(0, 10**15, 1, 2).selectExpr("sum(id * id)").collect()
