package io.unitycatalog.wherry;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.analysis.NoSuchTableException;
import org.apache.spark.sql.catalyst.expressions.GenericInternalRow;
import org.apache.spark.sql.connector.catalog.Identifier;
import org.apache.spark.sql.connector.catalog.SupportsRead;
import org.apache.spark.sql.connector.catalog.Table;
import org.apache.spark.sql.connector.catalog.TableCapability;
import org.apache.spark.sql.connector.read.LocalScan;
import org.apache.spark.sql.connector.read.ScanBuilder;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;
import org.apache.spark.unsafe.types.UTF8String;
import wherry.Api;

/**
 * The schema information_schema of every catalog, and of the catalog system for all of them: tables
 * in memory, asked of the server at each scan.
 */
final class InformationSchema {
  static final String NAME = "information_schema";

  private static final Set<String> TABLES =
      new TreeSet<>(Set.of("catalogs", "schemata", "tables", "columns", "views", "volumes"));

  private final List<Metastore> catalogs;

  private InformationSchema(List<Metastore> catalogs) {
    this.catalogs = catalogs;
  }

  static boolean is(String[] namespace) {
    return namespace.length == 1 && namespace[0].equalsIgnoreCase(NAME);
  }

  static Identifier[] list() {
    return TABLES.stream()
        .map(t -> Identifier.of(new String[] {NAME}, t))
        .toArray(Identifier[]::new);
  }

  static Table load(Metastore store, Identifier i) throws NoSuchTableException {
    String name = i.name().toLowerCase(java.util.Locale.ROOT);
    if (!TABLES.contains(name)) {
      throw new NoSuchTableException(i);
    }
    return new Memory(store.catalog + "." + NAME + "." + name, schema(name), () -> rows(store, name));
  }

  private static InternalRow[] rows(Metastore store, String table) {
    List<Metastore> of = new ArrayList<>();
    if (store.catalog.equals(Catalog.SYSTEM)) {
      for (JsonNode c : Api.list(Api.UC + "catalogs", "catalogs")) {
        of.add(new Metastore(c.path("name").asText()));
      }
    } else {
      of.add(store);
    }
    return new InformationSchema(of).rows(table).toArray(InternalRow[]::new);
  }

  private static StructType schema(String table) {
    String columns =
        switch (table) {
          case "catalogs" -> "catalog_name catalog_owner comment created:ts created_by";
          case "schemata" ->
              "catalog_name schema_name schema_owner comment created:ts created_by";
          case "tables" ->
              "table_catalog table_schema table_name table_type is_insertable_into commit_action"
                  + " table_owner comment created:ts created_by last_altered:ts last_altered_by"
                  + " data_source_format storage_path";
          case "columns" ->
              "table_catalog table_schema table_name column_name ordinal_position:int"
                  + " column_default is_nullable full_data_type data_type comment"
                  + " partition_index:int";
          case "views" ->
              "table_catalog table_schema table_name view_definition check_option is_updatable";
          default ->
              "volume_catalog volume_schema volume_name volume_type volume_owner comment created:ts"
                  + " storage_location";
        };
    StructType s = new StructType();
    for (String c : columns.split(" ")) {
      String[] parts = c.split(":");
      String kind = parts.length > 1 ? parts[1] : "";
      DataType type =
          switch (kind) {
            case "ts" -> DataTypes.TimestampType;
            case "int" -> DataTypes.IntegerType;
            default -> DataTypes.StringType;
          };
      s = s.add(parts[0], type);
    }
    return s;
  }

  private List<InternalRow> rows(String table) {
    List<InternalRow> out = new ArrayList<>();
    for (Metastore c : catalogs) {
      if (table.equals("catalogs")) {
        JsonNode e = Api.get(Api.UC + "catalogs/" + Api.escape(c.catalog));
        out.add(row(c.catalog, s(e, "owner"), s(e, "comment"), at(e), s(e, "created_by")));
        continue;
      }
      for (JsonNode schema : c.schemas()) {
        String name = schema.path("name").asText();
        switch (table) {
          case "schemata" ->
              out.add(
                  row(
                      c.catalog,
                      name,
                      s(schema, "owner"),
                      s(schema, "comment"),
                      at(schema),
                      s(schema, "created_by")));
          case "volumes" -> c.volumes(name).forEach(v -> out.add(volume(c.catalog, name, v)));
          default -> c.tables(name).forEach(t -> table(out, table, c.catalog, name, t));
        }
      }
    }
    return out;
  }

  private static InternalRow volume(String catalog, String schema, JsonNode v) {
    return row(
        catalog,
        schema,
        s(v, "name"),
        s(v, "volume_type"),
        s(v, "owner"),
        s(v, "comment"),
        at(v),
        s(v, "storage_location"));
  }

  private static void table(
      List<InternalRow> out, String table, String catalog, String schema, JsonNode t) {
    String name = s(t, "name");
    boolean view = Metadata.isView(t);
    if (table.equals("views")) {
      if (view) {
        out.add(row(catalog, schema, name, s(t, "view_definition"), "NONE", "NO"));
      }
    } else if (table.equals("columns")) {
      for (JsonNode c : t.path("columns")) {
        out.add(
            row(
                catalog,
                schema,
                name,
                s(c, "name"),
                c.path("position").asInt(),
                null,
                c.path("nullable").asBoolean(true) ? "YES" : "NO",
                s(c, "type_text"),
                s(c, "type_name"),
                s(c, "comment"),
                c.hasNonNull("partition_index") ? c.path("partition_index").asInt() : null));
      }
    } else {
      out.add(
          row(
              catalog,
              schema,
              name,
              s(t, "table_type"),
              view ? "NO" : "YES",
              "PRESERVE",
              s(t, "owner"),
              s(t, "comment"),
              at(t),
              s(t, "created_by"),
              t.hasNonNull("updated_at") ? t.path("updated_at").asLong() * 1000 : at(t),
              s(t, "updated_by"),
              view ? null : s(t, "data_source_format"),
              s(t, "storage_location")));
    }
  }

  private static String s(JsonNode n, String field) {
    return n.hasNonNull(field) ? n.path(field).asText() : null;
  }

  /** Spark's timestamps are microseconds, the API's milliseconds. */
  private static Long at(JsonNode n) {
    return n.hasNonNull("created_at") ? n.path("created_at").asLong() * 1000 : null;
  }

  private static InternalRow row(Object... values) {
    for (int i = 0; i < values.length; i++) {
      if (values[i] instanceof String text) {
        values[i] = UTF8String.fromString(text);
      }
    }
    return new GenericInternalRow(values);
  }

  private record Memory(
      String name, StructType schema, java.util.function.Supplier<InternalRow[]> rows)
      implements Table, SupportsRead {
    @Override
    public Set<TableCapability> capabilities() {
      return Set.of(TableCapability.BATCH_READ);
    }

    @Override
    public ScanBuilder newScanBuilder(CaseInsensitiveStringMap options) {
      return () -> new Rows(schema, rows.get());
    }
  }

  private record Rows(StructType readSchema, InternalRow[] rows) implements LocalScan {}
}
