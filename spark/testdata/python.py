# What PySpark does beyond SQL, on a shared driver. Run by task.py.
import json
import os
import sys
import tempfile
import threading

import pandas as pd
import pyspark.sql.functions as F
from pyspark import SparkContext
from pyspark.sql import SparkSession

sc = spark.sparkContext
check("builder gives this session", lambda: SparkSession.builder.appName("x").config("spark.sql.shuffle.partitions", "3").getOrCreate()._jsparkSession.equals(spark._jsparkSession), True)
check("builder's conf", lambda: spark.conf.get("spark.sql.shuffle.partitions"), "3")
check("SparkContext.getOrCreate", lambda: SparkContext.getOrCreate() is sc, True)
check("getActiveSession", lambda: SparkSession.getActiveSession()._jsparkSession.equals(spark._jsparkSession), True)
check("newSession", lambda: spark.newSession().conf.get("spark.databricks.delta.commitInfo.userMetadata"), '{"wherry":{"run_id":6}}')
check("rdd", lambda: sc.parallelize(range(100), 2).map(lambda x: x + 1).sum(), 5050)
check("broadcast, accumulator", lambda: (lambda a, b: (sc.parallelize(range(10)).foreach(lambda x: a.add(b.value)), a.value))(sc.accumulator(0), sc.broadcast(5))[1], 50)
check("python udf", lambda: spark.range(5).select(F.udf(lambda x: f"n{x}", "string")("id")).collect()[-1][0], "n4")


@F.pandas_udf("double")
def twice(s: pd.Series) -> pd.Series:
    return s * 2.0


check("pandas udf", lambda: spark.range(5).select(twice("id")).collect()[-1][0], 8.0)
check("applyInPandas", lambda: spark.range(6).withColumn("k", F.col("id") % 2).groupBy("k").applyInPandas(lambda d: pd.DataFrame({"k": [d.k[0]], "n": [len(d)]}), "k long,n long").count(), 2)
check("mapInPandas", lambda: spark.range(6).mapInPandas(lambda it: it, "id long").count(), 6)
check("createDataFrame(pandas)", lambda: spark.createDataFrame(pd.DataFrame({"a": [1, 2]})).count(), 2)
check("toPandas by Arrow", lambda: (spark.conf.get("spark.sql.execution.arrow.pyspark.enabled"), spark.range(100000).toPandas().shape), ("true", (100000, 1)))
check("a udf in sql", lambda: (spark.udf.register("half", lambda x: x / 2, "double"), spark.sql("SELECT half(3)"))[1], [(1.5,)])

check("a table that another session made", lambda: spark.table("main.default.shared").count(), 10)

# Modules of the task's sys.path import in workers.
folder = tempfile.mkdtemp()
os.makedirs(os.path.join(folder, "src", "flightlib"))
with open(os.path.join(folder, "src", "flightlib", "__init__.py"), "w") as f:
    f.write("def plus(x):\n    return x + 100\n")
sys.path.append(os.path.join(folder, "src"))
import flightlib  # noqa: E402

check("a module of sys.path in a udf", lambda: spark.range(1).select(F.udf(flightlib.plus, "long")("id")), [(100,)])
check("a module of sys.path in an rdd", lambda: sc.parallelize([1]).map(flightlib.plus).collect(), [101])
with open(os.path.join(folder, "added.py"), "w") as f:
    f.write("V = 1\n")
check("addPyFile", lambda: (sc.addPyFile("file:" + os.path.join(folder, "added.py")), sc.parallelize([1]).map(lambda x: __import__("added").V).collect())[1], [1])


def pipeline():
    from pyspark.ml import Pipeline
    from pyspark.ml.feature import VectorAssembler
    from pyspark.ml.regression import LinearRegression

    data = spark.range(50).selectExpr("double(id) x", "double(id*2+1) y")
    model = Pipeline(stages=[VectorAssembler(inputCols=["x"], outputCol="f"), LinearRegression(featuresCol="f", labelCol="y")]).fit(data)
    model.write().overwrite().save("/ml/model")
    from pyspark.ml import PipelineModel

    return round(PipelineModel.load("dbfs:/ml/model").stages[-1].coefficients[0], 3)


check("MLlib, saved and loaded", pipeline, 2.0)


def mlflow_model():
    import mlflow.spark
    from pyspark.ml import Pipeline
    from pyspark.ml.feature import VectorAssembler
    from pyspark.ml.regression import LinearRegression

    data = spark.range(50).selectExpr("double(id) x", "double(id*2+1) y")
    model = Pipeline(stages=[VectorAssembler(inputCols=["x"], outputCol="f"), LinearRegression(featuresCol="f", labelCol="y")]).fit(data)
    place = os.path.join(folder, "model")
    mlflow.spark.save_model(model, place, pip_requirements=[])  # finding them costs half a minute
    loaded = mlflow.spark.load_model(place)
    score = mlflow.pyfunc.load_model(place).predict(pd.DataFrame({"x": [1.0]}))
    udf = mlflow.pyfunc.spark_udf(spark, place, env_manager="local")
    return [round(loaded.stages[-1].coefficients[0], 3), round(score[0], 3), udf is not None]


check("mlflow.spark, saved and loaded", mlflow_model, [2.0, 3.0, True])


def batches():
    got = []
    seen = threading.Event()

    def each(d, i):
        got.append(d.count())
        seen.set()

    q = spark.readStream.format("rate-micro-batch").option("rowsPerBatch", 5).option("numPartitions", 1).load().writeStream.foreachBatch(each).trigger(processingTime="100 milliseconds").start()
    seen.wait(120)
    q.stop()
    return got[0]


check("foreachBatch", batches, 5)

# Paths
spark.range(3).write.mode("overwrite").option("header", "true").csv("/Volumes/main/default/files/c")
check("csv on a volume", lambda: spark.read.csv("dbfs:/Volumes/main/default/files/c", header=True).count(), 3)
check("its files by name", lambda: spark.read.csv("/Volumes/main/default/files/c", header=True).select("_metadata.file_path").first()[0].startswith("dbfs:/Volumes/"), True)
check("delta at dbfs:/", lambda: (spark.range(3).write.format("delta").mode("append").save("dbfs:/x/d"), spark.read.format("delta").load("dbfs:/x/d").count())[1], 3)
check("the same at /dbfs/", lambda: spark.read.format("delta").load("/dbfs/x/d").count(), 3)
check("delta written at /dbfs/", lambda: (spark.range(3).write.format("delta").save("/dbfs/x/e"), spark.range(3).write.format("delta").mode("append").save("dbfs:/x/e"), spark.read.format("delta").load("/dbfs/x/e").count())[2], 6)
check("bare paths are dbfs:/", lambda: (spark.range(3).write.mode("overwrite").json("/tmp/foo"), spark.read.json("dbfs:/tmp/foo").count())[1], 3)
check("file:/", lambda: (spark.range(3).write.mode("overwrite").parquet("file:" + folder + "/p"), spark.read.parquet("file://" + folder + "/p").count())[1], 3)
check("delta at file:/", lambda: (spark.range(3).write.format("delta").save("file:" + folder + "/dl"), spark.read.format("delta").load("file:" + folder + "/dl").count())[1], 3)
check("/Workspace", lambda: (spark.range(3).write.mode("overwrite").csv("/Workspace/u/c"), spark.read.csv("dbfs:/Workspace/u/c").count())[1], 3)
check("delta.`path`", lambda: spark.sql("SELECT count(*) FROM delta.`dbfs:/x/d`"), [(3,)])
check("csv.`path`", lambda: spark.sql("SELECT count(*) FROM csv.`/Volumes/main/default/files/c`"), lambda r: r[0][0] > 0)
check("textFile", lambda: sc.textFile("/Volumes/main/default/files/c").count() > 0, True)
check("binaryFile", lambda: spark.read.format("binaryFile").load("/Volumes/main/default/files/c").select("length").count() > 0, True)
check("DeltaTable.forPath", lambda: DeltaTable.forPath(spark, "/x/d").toDF().count(), 3)

# A lake, by the stock driver and its path style
account = json.loads(os.environ["WHERRY_ACCOUNT"])
host = account["name"] + ".dfs.core.windows.net"
lake = "abfs://raw@" + host
for key, value in {
    "fs.azure.abfs.endpoint": os.environ["WHERRY_STORAGE"],
    "fs.azure.always.use.https": "false",
    "fs.azure.createRemoteFileSystemDuringInitialization": "true",
    "fs.azure.io.retry.max.retries": "1",
    # Its Apache client cannot do without TLS.
    "fs.azure.networking.library": "JDK_HTTP_URL_CONNECTION",
    "fs.azure.account.key." + host: "d3Jvbmc=",
}.items():
    spark.conf.set(key, value)


def with_the_wrong_key():
    try:
        spark.range(1).write.parquet(lake + "/w")
    except Exception as e:  # noqa: BLE001
        return "403" in str(e) or "AuthenticationFailed" in str(e) or str(e)
    return "it wrote"


check("the wrong key", with_the_wrong_key, True)
spark.conf.set("fs.azure.account.key." + host, account["key"])
check("csv in a lake", lambda: (spark.range(3).write.mode("overwrite").option("header", "true").csv(lake + "/c"), spark.read.csv(lake + "/c", header=True).count())[1], 3)
check("delta in a lake", lambda: (spark.range(3).write.format("delta").mode("append").save(lake + "/d"), spark.range(3).write.format("delta").mode("append").save(lake + "/d"), spark.read.format("delta").load(lake + "/d").count())[2], 6)
check("an external table in a lake", lambda: (spark.sql(f"CREATE TABLE main.default.lake LOCATION '{lake}/t' AS SELECT 5 a"), spark.table("main.default.lake").first()[0])[1], 5)

check("stop does not stop", lambda: (spark.stop(), sc.stop(), spark.range(3).count())[2], 3)


def in_thread():
    out = []
    t = threading.Thread(target=lambda: out.append(spark.sql("SELECT count(*) FROM main.information_schema.schemata").first()[0]))
    t.start()
    t.join()
    return out[0] > 0


check("a thread of the task", in_thread, True)


def signatures():
    """Commits with userMetadata of the user's own: what it says, and which task run each names."""
    key = "spark.databricks.delta.commitInfo.userMetadata"
    ours = spark.conf.get(key)
    spark.range(1).write.format("delta").option("userMetadata", "mine").save("/signed")
    spark.conf.set(key, "mine too")
    spark.range(1).write.format("delta").mode("append").save("/signed")
    spark.sql("UPDATE delta.`/signed` SET id = 5")
    stream = spark.readStream.format("delta").option("ignoreChanges", "true").load("/signed").writeStream.format("delta")
    stream = stream.option("checkpointLocation", "/signed-stream").trigger(availableNow=True)
    stream.start("/signed-copy").awaitTermination()
    spark.conf.set(key, ours)
    log = spark.read.json(["/signed/_delta_log/*.json", "/signed-copy/_delta_log/*.json"]).where("commitInfo is not null")
    return log.selectExpr("commitInfo.userMetadata", "commitInfo.wherry.run_id").collect()


check("commits are signed", signatures, lambda r: len(r) >= 4 and {x[0] for x in r} == {"mine", "mine too"} and {x[1] for x in r} == {6})
