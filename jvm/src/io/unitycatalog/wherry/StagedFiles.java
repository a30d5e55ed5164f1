package io.unitycatalog.wherry;

import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.apache.spark.sql.DataFrameWriter;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.connector.catalog.StagedTable;
import org.apache.spark.sql.connector.catalog.SupportsWrite;
import org.apache.spark.sql.connector.catalog.TableCapability;
import org.apache.spark.sql.connector.catalog.TableCatalog;
import org.apache.spark.sql.connector.expressions.Transform;
import org.apache.spark.sql.connector.write.LogicalWriteInfo;
import org.apache.spark.sql.connector.write.SupportsTruncate;
import org.apache.spark.sql.connector.write.V1Write;
import org.apache.spark.sql.connector.write.Write;
import org.apache.spark.sql.connector.write.WriteBuilder;
import org.apache.spark.sql.sources.InsertableRelation;
import org.apache.spark.sql.types.StructType;

/**
 * CREATE TABLE … USING parquet AS SELECT: files that a query writes first and that become a table
 * when it succeeded. Spark's catalogs of the second kind have no such thing for plain files.
 */
final class StagedFiles implements StagedTable, SupportsWrite {
  private final String name;
  private final StructType schema;
  private final Transform[] partitions;
  private final Map<String, String> properties;
  private final Runnable commit;
  private final Runnable abort;

  StagedFiles(
      String name,
      StructType schema,
      Transform[] partitions,
      Map<String, String> properties,
      Runnable commit,
      Runnable abort) {
    this.name = name;
    this.schema = schema;
    this.partitions = partitions;
    this.properties = properties;
    this.commit = commit;
    this.abort = abort;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  @SuppressWarnings("deprecation")
  public StructType schema() {
    return schema;
  }

  @Override
  public Transform[] partitioning() {
    return partitions;
  }

  @Override
  public Map<String, String> properties() {
    return properties;
  }

  @Override
  public Set<TableCapability> capabilities() {
    return Set.of(TableCapability.V1_BATCH_WRITE, TableCapability.TRUNCATE);
  }

  @Override
  public WriteBuilder newWriteBuilder(LogicalWriteInfo info) {
    return new SupportsTruncate() {
      @Override
      public WriteBuilder truncate() {
        return this;
      }

      @Override
      public Write build() {
        return new V1Write() {
          @Override
          public InsertableRelation toInsertableRelation() {
            return (data, overwrite) -> {
              DataFrameWriter<Row> w = data.write().mode("overwrite");
              w.format(properties.get(TableCatalog.PROP_PROVIDER));
              w.options(options(info));
              String[] by = new String[partitions.length];
              for (int i = 0; i < by.length; i++) {
                by[i] = String.join(".", partitions[i].references()[0].fieldNames());
              }
              w.partitionBy(by).save(properties.get(TableCatalog.PROP_LOCATION));
            };
          }
        };
      }
    };
  }

  private Map<String, String> options(LogicalWriteInfo info) {
    Map<String, String> out = new HashMap<>(info.options().asCaseSensitiveMap());
    String prefix = TableCatalog.OPTION_PREFIX;
    properties.forEach(
        (k, v) -> {
          if (k.startsWith(prefix)) {
            out.put(k.substring(prefix.length()), v);
          }
        });
    out.remove("path");
    return out;
  }

  @Override
  public void commitStagedChanges() {
    commit.run();
  }

  @Override
  public void abortStagedChanges() {
    abort.run();
  }
}
