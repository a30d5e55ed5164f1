package wherry;

import java.io.IOException;
import java.nio.file.Files;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.ml.Pipeline;
import org.apache.spark.ml.PipelineStage;
import org.apache.spark.ml.classification.LogisticRegression;
import org.apache.spark.ml.evaluation.BinaryClassificationEvaluator;
import org.apache.spark.ml.feature.Imputer;
import org.apache.spark.ml.feature.StringIndexer;
import org.apache.spark.ml.feature.VectorAssembler;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.classic.SparkSession;

/** What a driver does whose classes are being recorded for the AppCDS archive. */
final class Training {
  private Training() {}

  static void run(SparkSession s, java.nio.file.Path folder) throws IOException {
    s.range(10).count();
    Files.createDirectories(folder);
    String delta = "file:" + folder.resolve("delta");
    String parquet = "file:" + folder.resolve("parquet");
    Dataset<Row> rows = s.sql("SELECT id, id % 3 AS k, cast(id AS string) AS s FROM range(100)");
    rows.write().format("delta").mode("overwrite").save(delta);
    rows.write().format("delta").mode("append").save(delta);
    s.read().format("delta").load(delta).createOrReplaceTempView("v");
    rows.write().mode("overwrite").parquet(parquet);
    s.read().parquet(parquet).createOrReplaceTempView("p");
    s.sql("SELECT k, count(*), max(s), row_number() OVER (ORDER BY k) FROM v GROUP BY k ORDER BY k")
        .collectAsList();
    s.sql("SELECT v.id, p.s FROM v JOIN p ON v.id = p.id WHERE v.k = 1").collectAsList();
    s.sql(
        "MERGE INTO delta.`"
            + delta
            + "` t USING (SELECT 1L AS id, 2L AS k, 'x' AS s) u ON t.id = u.id"
            + " WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *");
    s.sql("DESCRIBE HISTORY delta.`" + delta + "`").collectAsList();
    s.sql(
            "SELECT lag(s) OVER (PARTITION BY k ORDER BY id), date_format(now(), 'yyyyMMdd'),"
                + " sum(id) OVER (PARTITION BY k ORDER BY id"
                + " RANGE BETWEEN 2 PRECEDING AND 1 PRECEDING) FROM p")
        .collectAsList();
    learn(s);
    azure(s);
  }

  private static void learn(SparkSession s) {
    Dataset<Row> rows =
        s.sql("SELECT id % 2 AS label, string(id % 5) AS c, double(id) AS x FROM range(50)");
    Pipeline pipeline =
        new Pipeline()
            .setStages(
                new PipelineStage[] {
                  new StringIndexer().setInputCol("c").setOutputCol("i"),
                  new Imputer().setInputCol("x").setOutputCol("f"),
                  new VectorAssembler()
                      .setInputCols(new String[] {"i", "f"})
                      .setOutputCol("features"),
                  new LogisticRegression().setMaxIter(2)
                });
    Dataset<Row> scored = pipeline.fit(rows).transform(rows);
    new BinaryClassificationEvaluator().evaluate(scored);
  }

  /** Loads the classes that read from Azure; nothing is reached. */
  private static void azure(SparkSession s) {
    String host = "account.dfs.localhost.invalid";
    Configuration conf = new Configuration(s.sparkContext().hadoopConfiguration());
    conf.set("fs.azure.account.auth.type." + host, "SharedKey");
    conf.set("fs.azure.account.key." + host, "a2V5");
    conf.set("fs.azure.account.hns.enabled." + host, "true");
    conf.setInt("fs.azure.io.retry.max.retries", 0);
    Path file = new Path("abfss://container@" + host + "/file");
    try (FileSystem files = FileSystem.newInstance(file.toUri(), conf)) {
      files.open(file).close();
    } catch (IOException e) {
      // There is no such host.
    }
  }
}
