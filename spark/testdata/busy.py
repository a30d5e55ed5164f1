# A query that does not end by itself, and whose sum does not overflow. Run by task.py.
spark.range(0, 10**15, 1, 2).selectExpr("sum(id % 7)").collect()
