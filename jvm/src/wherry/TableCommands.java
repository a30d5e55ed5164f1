package wherry;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.spark.sql.classic.SparkSession;
import org.apache.spark.sql.connector.catalog.Column;
import org.apache.spark.sql.connector.catalog.Identifier;
import org.apache.spark.sql.connector.catalog.Relation;
import org.apache.spark.sql.connector.catalog.RelationCatalog;
import org.apache.spark.sql.connector.catalog.TableCatalog;
import org.apache.spark.sql.connector.catalog.View;
import org.apache.spark.sql.connector.expressions.Transform;
import wherry.Sys.Table;

/** SHOW CREATE TABLE and ANALYZE TABLE, which Spark has for its own catalog's tables only. */
final class TableCommands {
  private static final Set<String> NOT_PROPERTIES =
      Set.of(
          TableCatalog.PROP_PROVIDER,
          TableCatalog.PROP_LOCATION,
          TableCatalog.PROP_COMMENT,
          TableCatalog.PROP_OWNER,
          TableCatalog.PROP_EXTERNAL,
          TableCatalog.PROP_IS_MANAGED_LOCATION,
          TableCatalog.PROP_TABLE_TYPE,
          "Type");

  private final SparkSession session;

  TableCommands(SparkSession session) {
    this.session = session;
  }

  private static String quoted(String s) {
    return "'" + s.replace("\\", "\\\\").replace("'", "\\'") + "'";
  }

  private static String name(String s) {
    return s.matches("[A-Za-z_]\\w*") ? s : "`" + s.replace("`", "``") + "`";
  }

  private static String full(List<String> parts) {
    return parts.stream().map(TableCommands::name).collect(Collectors.joining("."));
  }

  private static JsonNode info(List<String> parts) {
    return Api.get(Api.UC + "tables/" + Api.escape(String.join(".", parts)));
  }

  Table showCreate(List<String> parts) {
    Relation r;
    try {
      RelationCatalog c =
          (RelationCatalog) session.sessionState().catalogManager().catalog(parts.get(0));
      r = c.loadRelation(Identifier.of(new String[] {parts.get(1)}, parts.get(2)));
    } catch (Exception e) {
      throw Errors.sneak(e);
    }
    String text = r instanceof View v ? view(parts, v) : table(parts, r);
    return new Table(List.of("createtab_stmt"), List.of(List.of(text)));
  }

  private static String view(List<String> parts, View v) {
    String columns =
        Arrays.stream(v.columns()).map(c -> name(c.name())).collect(Collectors.joining(",\n  "));
    return "CREATE VIEW " + full(parts) + " (\n  " + columns + ")\nAS " + v.queryText() + "\n";
  }

  private static String table(List<String> parts, Relation r) {
    JsonNode info = info(parts);
    StringBuilder sql = new StringBuilder("CREATE TABLE ").append(full(parts)).append(" (\n  ");
    List<String> columns = new ArrayList<>();
    for (Column c : r.columns()) {
      columns.add(
          name(c.name())
              + " "
              + c.dataType().sql()
              + (c.nullable() ? "" : " NOT NULL")
              + (c.comment() == null ? "" : " COMMENT " + quoted(c.comment())));
    }
    sql.append(String.join(",\n  ", columns)).append(")\n");
    sql.append("USING ").append(info.path("data_source_format").asText("DELTA").toLowerCase());
    sql.append('\n');
    if (r instanceof org.apache.spark.sql.connector.catalog.Table t) {
      partitions(sql, t.partitioning());
    }
    if (!info.path("comment").asText("").isEmpty()) {
      sql.append("COMMENT ").append(quoted(info.path("comment").asText())).append('\n');
    }
    if (info.path("table_type").asText().equals("EXTERNAL")) {
      sql.append("LOCATION ").append(quoted(info.path("storage_location").asText())).append('\n');
    }
    Map<String, String> properties = new TreeMap<>(r.properties());
    properties.keySet().removeAll(NOT_PROPERTIES);
    properties.keySet().removeIf(k -> k.startsWith("option."));
    if (!properties.isEmpty()) {
      sql.append("TBLPROPERTIES (\n  ");
      sql.append(
          properties.entrySet().stream()
              .map(e -> quoted(e.getKey()) + " = " + quoted(e.getValue()))
              .collect(Collectors.joining(",\n  ")));
      sql.append(")\n");
    }
    return sql.toString();
  }

  private static void partitions(StringBuilder sql, Transform[] transforms) {
    List<String> plain = new ArrayList<>();
    List<String> cluster = new ArrayList<>();
    for (Transform t : transforms) {
      List<String> columns =
          Arrays.stream(t.references())
              .map(f -> Arrays.stream(f.fieldNames()).map(TableCommands::name))
              .map(f -> f.collect(Collectors.joining(".")))
              .toList();
      (t.name().equals("cluster_by") ? cluster : plain).addAll(columns);
    }
    if (!plain.isEmpty()) {
      sql.append("PARTITIONED BY (").append(String.join(", ", plain)).append(")\n");
    }
    if (!cluster.isEmpty()) {
      sql.append("CLUSTER BY (").append(String.join(", ", cluster)).append(")\n");
    }
  }

  /**
   * Counts a table's rows and bytes and keeps them as its properties, under the names that Hive's
   * metastore made known; with columns, Delta's statistics of each file are computed anew.
   */
  Table analyze(List<String> parts, boolean columns, boolean noscan) {
    JsonNode info = info(parts);
    boolean delta = info.path("data_source_format").asText().equals("DELTA");
    if (columns && delta) {
      recompute(parts);
    }
    ObjectNode properties = Api.object();
    info.path("properties").properties().forEach(e -> properties.set(e.getKey(), e.getValue()));
    if (!noscan) {
      properties.put("spark.sql.statistics.numRows", "" + session.table(full(parts)).count());
    }
    if (delta) {
      Object bytes =
          session.sql("DESCRIBE DETAIL " + full(parts)).select("sizeInBytes").head().get(0);
      properties.put("spark.sql.statistics.totalSize", String.valueOf(bytes));
    }
    ObjectNode body = Api.object();
    body.set("properties", properties);
    Api.call("PATCH", Api.UC + "tables/" + Api.escape(String.join(".", parts)), body);
    return Table.NOTHING;
  }

  private void recompute(List<String> parts) {
    var log =
        org.apache.spark.sql.delta.DeltaLog.forTable(
            session, info(parts).path("storage_location").asText());
    org.apache.spark.sql.delta.stats.StatisticsCollection$.MODULE$.recompute(
        session,
        log,
        scala.Option.empty(),
        scala.collection.immutable.Nil$.MODULE$.$colon$colon(
            org.apache.spark.sql.catalyst.expressions.Literal$.MODULE$.TrueLiteral()),
        org.apache.spark.sql.delta.stats.StatisticsCollection$.MODULE$.recompute$default$5());
  }
}
