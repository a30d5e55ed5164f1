# One of each kind of query that reads and writes. Run by task.py.
sql("CREATE SCHEMA IF NOT EXISTS main.lin")
spark.range(5).write.saveAsTable("main.lin.a")
spark.range(5).write.saveAsTable("main.lin.b")
check("select", lambda: spark.table("main.lin.a").collect() and None)
sql("CREATE TABLE main.lin.c AS SELECT a.id FROM main.lin.a a JOIN main.lin.b b ON a.id = b.id")
sql("INSERT INTO main.lin.b SELECT id + 100 FROM main.lin.a")
sql("MERGE INTO main.lin.c c USING (SELECT * FROM main.lin.b) s ON c.id = s.id WHEN NOT MATCHED THEN INSERT *")
sql("INSERT INTO main.lin.c SELECT max(id) FROM main.lin.a")
check("a path", lambda: spark.table("main.lin.a").write.format("delta").save("/lin/p"))

# For a process that attaches later
check("a table of another session", lambda: spark.range(10).write.saveAsTable("main.default.shared"))
