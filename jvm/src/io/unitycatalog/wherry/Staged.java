package io.unitycatalog.wherry;

import java.util.Map;
import java.util.Set;
import org.apache.spark.sql.connector.catalog.Column;
import org.apache.spark.sql.connector.catalog.StagedTable;
import org.apache.spark.sql.connector.catalog.SupportsWrite;
import org.apache.spark.sql.connector.catalog.TableCapability;
import org.apache.spark.sql.connector.expressions.Transform;
import org.apache.spark.sql.connector.metric.CustomTaskMetric;
import org.apache.spark.sql.connector.write.LogicalWriteInfo;
import org.apache.spark.sql.connector.write.WriteBuilder;
import org.apache.spark.sql.types.StructType;

/** Delta's staged table, with something to do once it is committed or given up. */
final class Staged implements StagedTable, SupportsWrite {
  private final StagedTable delta;
  private final Runnable committed;
  private final Runnable aborted;

  Staged(StagedTable delta, Runnable committed, Runnable aborted) {
    this.delta = delta;
    this.committed = committed;
    this.aborted = aborted;
  }

  @Override
  public void commitStagedChanges() {
    delta.commitStagedChanges();
    committed.run();
  }

  @Override
  public void abortStagedChanges() {
    delta.abortStagedChanges();
    aborted.run();
  }

  @Override
  public CustomTaskMetric[] reportDriverMetrics() {
    return delta.reportDriverMetrics();
  }

  @Override
  public WriteBuilder newWriteBuilder(LogicalWriteInfo info) {
    return ((SupportsWrite) delta).newWriteBuilder(info);
  }

  @Override
  public String name() {
    return delta.name();
  }

  @Override
  @SuppressWarnings("deprecation")
  public StructType schema() {
    return delta.schema();
  }

  @Override
  public Column[] columns() {
    return delta.columns();
  }

  @Override
  public Transform[] partitioning() {
    return delta.partitioning();
  }

  @Override
  public Map<String, String> properties() {
    return delta.properties();
  }

  @Override
  public Set<TableCapability> capabilities() {
    return delta.capabilities();
  }
}
