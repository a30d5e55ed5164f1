package io.unitycatalog.wherry;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.apache.spark.sql.catalyst.TableIdentifier;
import org.apache.spark.sql.catalyst.analysis.NoSuchNamespaceException;
import org.apache.spark.sql.catalyst.analysis.NoSuchTableException;
import org.apache.spark.sql.catalyst.analysis.TableAlreadyExistsException;
import org.apache.spark.sql.catalyst.catalog.CatalogStorageFormat;
import org.apache.spark.sql.catalyst.catalog.CatalogTable;
import org.apache.spark.sql.catalyst.catalog.CatalogTable$;
import org.apache.spark.sql.catalyst.catalog.CatalogTableType;
import org.apache.spark.sql.catalyst.catalog.CatalogUtils;
import org.apache.spark.sql.connector.catalog.CatalogV2Util;
import org.apache.spark.sql.connector.catalog.Column;
import org.apache.spark.sql.connector.catalog.Identifier;
import org.apache.spark.sql.connector.catalog.Table;
import org.apache.spark.sql.connector.catalog.TableCatalog;
import org.apache.spark.sql.connector.catalog.TableChange;
import org.apache.spark.sql.connector.catalog.V1Table;
import org.apache.spark.sql.connector.expressions.Transform;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;
import scala.Option;
import scala.jdk.javaapi.CollectionConverters;
import wherry.Api;

/** What Delta's catalog delegates to: the entries of tables, without their data. */
final class Metadata implements TableCatalog {
  /** Spark's names for what has a field of its own in the API. */
  static final Set<String> RESERVED =
      Set.of(
          TableCatalog.PROP_PROVIDER,
          TableCatalog.PROP_LOCATION,
          TableCatalog.PROP_COMMENT,
          TableCatalog.PROP_OWNER,
          TableCatalog.PROP_EXTERNAL,
          TableCatalog.PROP_IS_MANAGED_LOCATION,
          TableCatalog.PROP_TABLE_TYPE);

  private static final String OPTION = TableCatalog.OPTION_PREFIX;

  private final String name;
  private final Metastore store;

  Metadata(String name, Metastore store) {
    this.name = name;
    this.store = store;
  }

  @Override
  public void initialize(String name, CaseInsensitiveStringMap options) {}

  @Override
  public String name() {
    return name;
  }

  @Override
  public Identifier[] listTables(String[] namespace) {
    return store.tables(namespace[0]).stream()
        .filter(t -> !isView(t))
        .map(t -> Identifier.of(namespace, t.path("name").asText()))
        .toArray(Identifier[]::new);
  }

  static boolean isView(JsonNode entry) {
    return entry.path("table_type").asText().endsWith("VIEW");
  }

  @Override
  public boolean tableExists(Identifier i) {
    return store.table(i).filter(t -> !isView(t)).isPresent();
  }

  @Override
  public Table loadTable(Identifier i) throws NoSuchTableException {
    JsonNode t = store.table(i).filter(e -> !isView(e)).orElse(null);
    if (t == null) {
      throw new NoSuchTableException(i);
    }
    return new V1Table(catalogTable(i, t));
  }

  CatalogTable catalogTable(Identifier i, JsonNode t) {
    String provider = t.path("data_source_format").asText("DELTA").toLowerCase(Locale.ROOT);
    Map<String, String> properties = Metastore.properties(t);
    Map<String, String> options = new HashMap<>();
    properties.forEach(
        (k, v) -> {
          if (k.startsWith(OPTION)) {
            options.put(k.substring(OPTION.length()), v);
          }
        });
    properties.keySet().removeIf(k -> k.startsWith(OPTION));
    CatalogStorageFormat storage =
        new CatalogStorageFormat(
            Option.apply(CatalogUtils.stringToURI(t.path("storage_location").asText())),
            Option.empty(),
            Option.empty(),
            Option.empty(),
            false,
            scala(options),
            Option.empty());
    CatalogTable$ defaults = CatalogTable$.MODULE$;
    String comment = t.path("comment").asText("");
    return new CatalogTable(
        new TableIdentifier(
            i.name(), Option.apply(i.namespace()[0]), Option.apply(name)),
        t.path("table_type").asText().equals("EXTERNAL")
            ? CatalogTableType.EXTERNAL()
            : CatalogTableType.MANAGED(),
        storage,
        Columns.schema(t.path("columns")),
        Option.apply(provider),
        CollectionConverters.asScala(Columns.partitions(t.path("columns"))).toList(),
        defaults.apply$default$7(),
        t.path("owner").asText(""),
        t.path("created_at").asLong(),
        defaults.apply$default$10(),
        defaults.apply$default$11(),
        scala(properties),
        defaults.apply$default$13(),
        defaults.apply$default$14(),
        comment.isEmpty() ? Option.empty() : Option.apply(comment),
        defaults.apply$default$16(),
        defaults.apply$default$17(),
        false,
        defaults.apply$default$19(),
        defaults.apply$default$20(),
        defaults.apply$default$21(),
        defaults.apply$default$22());
  }

  private static scala.collection.immutable.Map<String, String> scala(Map<String, String> m) {
    return scala.collection.immutable.Map.from(CollectionConverters.asScala(m));
  }

  @Override
  public Table createTable(
      Identifier i, Column[] columns, Transform[] partitions, Map<String, String> properties)
      throws TableAlreadyExistsException, NoSuchNamespaceException {
    return createTable(
        i, CatalogV2Util.v2ColumnsToStructType(columns), partitions, properties);
  }

  @Override
  public Table createTable(
      Identifier i, StructType schema, Transform[] partitions, Map<String, String> properties)
      throws TableAlreadyExistsException, NoSuchNamespaceException {
    ObjectNode body = entry(i, schema, partitions, properties);
    try {
      store.create(i, body);
      return loadTable(i);
    } catch (Api.ApiException e) {
      if (e.exists()) {
        throw new TableAlreadyExistsException(i);
      }
      if (e.notFound()) {
        throw new NoSuchNamespaceException(i.namespace());
      }
      throw e;
    } catch (NoSuchTableException e) {
      throw new IllegalStateException("the table was removed while it was made: " + i, e);
    }
  }

  /** The entry to send for a new table. */
  ObjectNode entry(
      Identifier i, StructType schema, Transform[] partitions, Map<String, String> properties) {
    String provider = properties.getOrDefault(TableCatalog.PROP_PROVIDER, "delta");
    String location = properties.get(TableCatalog.PROP_LOCATION);
    boolean managed = "true".equals(properties.get(TableCatalog.PROP_IS_MANAGED_LOCATION));
    List<String> partitionColumns = new ArrayList<>();
    for (Transform t : partitions) {
      if (t.name().equals("identity")) {
        partitionColumns.add(String.join(".", t.references()[0].fieldNames()));
      }
    }
    ObjectNode body = store.names(i);
    body.put("table_type", managed ? "MANAGED" : "EXTERNAL");
    body.put("data_source_format", provider.toUpperCase(Locale.ROOT));
    body.put("storage_location", location);
    if (managed) {
      body.put("table_id", location.substring(location.lastIndexOf('/') + 1));
    }
    body.set("columns", Columns.json(schema, partitionColumns));
    if (properties.get(TableCatalog.PROP_COMMENT) != null) {
      body.put("comment", properties.get(TableCatalog.PROP_COMMENT));
    }
    body.set("properties", Api.object().setAll(Metastore.strings(own(properties, provider))));
    return body;
  }

  /** The properties that are the user's: neither reserved nor, for Delta, a reader's option. */
  static Map<String, String> own(Map<String, String> properties, String provider) {
    Map<String, String> out = new HashMap<>(properties);
    out.keySet().removeAll(RESERVED);
    out.values().removeIf(java.util.Objects::isNull);
    if (provider.equalsIgnoreCase("delta")) {
      out.keySet().removeIf(k -> k.startsWith(OPTION) || properties.containsKey(OPTION + k));
    }
    return out;
  }

  @Override
  public Table alterTable(Identifier i, TableChange... changes) throws NoSuchTableException {
    JsonNode t = store.table(i).orElseThrow(() -> sneak(new NoSuchTableException(i)));
    ObjectNode body = Api.object();
    StructType schema = Columns.schema(t.path("columns"));
    StructType changed =
        CatalogV2Util.applySchemaChanges(
            schema,
            CollectionConverters.asScala(Arrays.asList(changes)).toSeq(),
            Option.apply(t.path("data_source_format").asText("").toLowerCase(Locale.ROOT)),
            "ALTER TABLE");
    if (!changed.equals(schema)) {
      body.set("columns", Columns.json(changed, Columns.partitions(t.path("columns"))));
    }
    Map<String, String> properties = Metastore.properties(t);
    boolean touched = false;
    for (TableChange c : changes) {
      if (c instanceof TableChange.SetProperty s) {
        if (s.property().equals(TableCatalog.PROP_COMMENT)) {
          body.put("comment", s.value());
        } else if (s.property().equals(TableCatalog.PROP_OWNER)) {
          body.put("owner", s.value());
        } else {
          properties.put(s.property(), s.value());
          touched = true;
        }
      } else if (c instanceof TableChange.RemoveProperty r) {
        touched |= properties.remove(r.property()) != null;
      }
    }
    if (touched) {
      body.set("properties", Api.object().setAll(Metastore.strings(properties)));
    }
    if (!body.isEmpty()) {
      store.update(i, body);
    }
    return loadTable(i);
  }

  private static RuntimeException sneak(Throwable t) {
    return wherry.Errors.sneak(t);
  }

  @Override
  public boolean dropTable(Identifier i) {
    return tableExists(i) && store.delete(i);
  }

  @Override
  public void renameTable(Identifier from, Identifier to) throws NoSuchTableException {
    String[] ns = to.namespace();
    // ALTER TABLE a.b.c RENAME TO a.b.d gives the target with its catalog.
    String schema = ns.length == 0 ? from.namespace()[0] : ns[ns.length - 1];
    String target = store.catalog + "." + schema.toLowerCase(Locale.ROOT) + "." + Metastore.name(to);
    try {
      store.update(from, Api.object().put("new_name", target));
    } catch (Api.ApiException e) {
      if (e.notFound()) {
        throw new NoSuchTableException(from);
      }
      throw e;
    }
  }
}
