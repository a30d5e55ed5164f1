package wherry;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Map;
import java.util.TreeMap;
import org.apache.spark.sql.catalyst.analysis.ResolvedIdentifier;
import org.apache.spark.sql.catalyst.catalog.CatalogTable;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.expressions.PlanExpression;
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;
import org.apache.spark.sql.catalyst.plans.logical.V2CreateTableAsSelectPlan;
import org.apache.spark.sql.catalyst.plans.logical.V2WriteCommand;
import org.apache.spark.sql.classic.SparkSession;
import org.apache.spark.sql.delta.commands.CreateDeltaTableCommand;
import org.apache.spark.sql.delta.commands.DeleteCommand;
import org.apache.spark.sql.delta.commands.MergeIntoCommand;
import org.apache.spark.sql.delta.commands.UpdateCommand;
import org.apache.spark.sql.delta.files.TahoeFileIndex;
import org.apache.spark.sql.execution.QueryExecution;
import org.apache.spark.sql.execution.datasources.HadoopFsRelation;
import org.apache.spark.sql.execution.datasources.InsertIntoHadoopFsRelationCommand;
import org.apache.spark.sql.execution.datasources.LogicalRelation;
import org.apache.spark.sql.execution.datasources.SaveIntoDataSourceCommand;
import org.apache.spark.sql.execution.datasources.v2.DataSourceV2Relation;
import org.apache.spark.sql.util.QueryExecutionListener;
import scala.Option;
import scala.jdk.javaapi.CollectionConverters;

/** Tells the server what each query read and wrote: spark.sql.queryExecutionListeners. */
public final class Lineage implements QueryExecutionListener {

  /** Places by name or path, with the version that was read, -1 where there is none. */
  private static final class Places {
    final Map<String, Long> tables = new TreeMap<>();
    final Map<String, Long> paths = new TreeMap<>();

    /** Delta reads its own log by queries too; those are nobody's reads. */
    void path(String path, long version) {
      if (!path.contains("/_delta_log/")) {
        paths.put(path.startsWith("/") ? "dbfs:" + path : path, version);
      }
    }

    void table(CatalogTable t, long version) {
      tables.put(t.identifier().unquotedString(), version);
    }

    void write(ArrayNode into) {
      tables.forEach((name, version) -> put(into.addObject().put("table", name), version));
      paths.forEach((path, version) -> put(into.addObject().put("path", path), version));
    }

    private static void put(ObjectNode o, long version) {
      if (version >= 0) {
        o.put("version", version);
      }
    }

    boolean isEmpty() {
      return tables.isEmpty() && paths.isEmpty();
    }
  }

  private final Places reads = new Places();
  private final Places writes = new Places();

  @Override
  public void onSuccess(String function, QueryExecution execution, long nanos) {
    try {
      Lineage found = new Lineage();
      LogicalPlan plan = execution.analyzed();
      found.walk(plan, false);
      found.report(execution, operation(plan, function));
    } catch (RuntimeException e) {
      System.err.println("wherry: lineage: " + e);
    }
  }

  @Override
  public void onFailure(String function, QueryExecution execution, Exception error) {}

  private static String operation(LogicalPlan plan, String function) {
    String name = plan.getClass().getSimpleName().replaceFirst("(Command|Statement)$", "");
    return name.equals("Project") || function.equals("collect") ? "SELECT" : name;
  }

  private void report(QueryExecution execution, String operation) {
    SparkSession session = (SparkSession) execution.sparkSession();
    Attached owner = Sessions.of(session);
    if (owner == null || (reads.isEmpty() && writes.isEmpty())) {
      return;
    }
    ObjectNode body = Api.object();
    body.put("run_id", owner.runId).put("operation", writes.isEmpty() ? "SELECT" : operation);
    reads.write(body.putArray("reads"));
    writes.write(body.putArray("writes"));
    LineageQueue.offer(owner, body);
    for (String table : writes.tables.keySet()) {
      LineageQueue.run(() -> publish(session, table));
    }
  }

  /** A write may have changed the table's columns (mergeSchema): the server is to know. */
  private static void publish(SparkSession session, String table) {
    String[] parts = table.split("\\.");
    if (parts.length != 3) {
      return; // Quoted names with dots are not followed.
    }
    SparkSession.setActiveSession(session);
    try {
      if (session.sessionState().catalogManager().catalog(parts[0]) instanceof Published p) {
        p.publish(parts[1], parts[2]);
      }
    } finally {
      SparkSession.clearActiveSession();
    }
  }

  private void walk(LogicalPlan plan, boolean target) {
    if (command(plan)) {
      return;
    }
    relation(plan, target);
    CollectionConverters.asJava(plan.children()).forEach(c -> walk(c, target));
    for (Object inner : CollectionConverters.asJava(plan.innerChildren())) {
      if (inner instanceof LogicalPlan p) {
        walk(p, false);
      }
    }
    for (Expression e : CollectionConverters.asJava(plan.expressions())) {
      subqueries(e);
    }
  }

  private void subqueries(Expression e) {
    if (e instanceof PlanExpression<?> s && s.plan() instanceof LogicalPlan p) {
      walk(p, false);
    }
    CollectionConverters.asJava(e.children()).forEach(this::subqueries);
  }

  /** Handles the plans that write and whose children do not tell source from target. */
  private boolean command(LogicalPlan plan) {
    if (plan instanceof V2WriteCommand w) {
      walk((LogicalPlan) w.table(), true);
      walk(w.query(), false);
    } else if (plan instanceof V2CreateTableAsSelectPlan c) {
      if (c.name() instanceof ResolvedIdentifier r) {
        String schema = String.join(".", r.identifier().namespace());
        writes.tables.put(r.catalog().name() + "." + schema + "." + r.identifier().name(), -1L);
      }
      walk(c.query(), false);
    } else if (plan instanceof MergeIntoCommand m) {
      written(m.catalogTable(), m.target());
      walk(m.source(), false);
    } else if (plan instanceof UpdateCommand u) {
      written(u.catalogTable(), u.target());
    } else if (plan instanceof DeleteCommand d) {
      written(d.catalogTable(), d.target());
    } else if (plan instanceof CreateDeltaTableCommand c) {
      if (c.query().isDefined()) {
        writes.table(c.table(), -1);
        walk(c.query().get(), false);
      }
    } else if (plan instanceof InsertIntoHadoopFsRelationCommand i) {
      if (i.catalogTable().isDefined()) {
        writes.table(i.catalogTable().get(), -1);
      } else {
        writes.path(i.outputPath().toString(), -1);
      }
      walk(i.query(), false);
    } else if (plan instanceof SaveIntoDataSourceCommand s) {
      Option<String> path = s.options().get("path");
      if (path.isDefined()) {
        writes.path(path.get(), -1);
      }
      walk(s.query(), false);
    } else {
      return false;
    }
    return true;
  }

  private void written(Option<CatalogTable> table, LogicalPlan target) {
    if (table.isDefined()) {
      writes.table(table.get(), -1);
    } else {
      walk(target, true);
    }
  }

  private void relation(LogicalPlan plan, boolean target) {
    Places places = target ? writes : reads;
    if (plan instanceof DataSourceV2Relation r) {
      if (r.identifier().isDefined() && r.catalog().isDefined()) {
        String schema = String.join(".", r.identifier().get().namespace());
        String name = r.catalog().get().name() + "." + schema + "." + r.identifier().get().name();
        places.tables.put(name, -1L);
      }
    } else if (plan instanceof LogicalRelation r && r.relation() instanceof HadoopFsRelation h) {
      long version = -1;
      if (!target && h.location() instanceof TahoeFileIndex t) {
        version = t.version();
      }
      if (r.catalogTable().isDefined()) {
        places.table(r.catalogTable().get(), version);
        return;
      }
      for (Object p : CollectionConverters.asJava(h.location().rootPaths())) {
        places.path(p.toString(), version);
      }
    }
  }
}
