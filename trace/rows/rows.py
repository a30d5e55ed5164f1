"""Prints rows of a table, each with the file that holds it. Arguments: table, condition ("" for all), how many."""

import json
import sys

from pyspark.sql import functions as F

table, where, limit = sys.argv[1:4]
frame = spark.table(table)  # noqa: F821
if where:
    frame = frame.where(where)
for row in frame.select("*", F.col("_metadata.file_path").alias("__file")).limit(int(limit)).collect():
    values = row.asDict(recursive=True)
    print("wherry-row " + json.dumps({"file": values.pop("__file"), "values": values}, default=str))
