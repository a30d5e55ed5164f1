package wherry;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.classic.SparkSession;

/** What a driver does whose classes are being recorded for the AppCDS archive. */
final class Training {
  private Training() {}

  static void run(SparkSession s, Path folder) throws IOException {
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
  }
}
