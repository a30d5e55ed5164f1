package io.unitycatalog.wherry;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.hadoop.fs.Path;
import org.apache.spark.sql.catalyst.QualifiedTableName;
import org.apache.spark.sql.catalyst.analysis.NoSuchNamespaceException;
import org.apache.spark.sql.catalyst.analysis.NoSuchTableException;
import org.apache.spark.sql.catalyst.analysis.NoSuchViewException;
import org.apache.spark.sql.catalyst.analysis.TableAlreadyExistsException;
import org.apache.spark.sql.catalyst.analysis.ViewAlreadyExistsException;
import org.apache.spark.sql.classic.SparkSession;
import org.apache.spark.sql.connector.catalog.CatalogV2Util;
import org.apache.spark.sql.connector.catalog.Column;
import org.apache.spark.sql.connector.catalog.Identifier;
import org.apache.spark.sql.connector.catalog.Relation;
import org.apache.spark.sql.connector.catalog.RelationCatalog;
import org.apache.spark.sql.connector.catalog.StagedTable;
import org.apache.spark.sql.connector.catalog.StagingTableCatalog;
import org.apache.spark.sql.connector.catalog.Table;
import org.apache.spark.sql.connector.catalog.TableCatalog;
import org.apache.spark.sql.connector.catalog.TableCatalogCapability;
import org.apache.spark.sql.connector.catalog.TableChange;
import org.apache.spark.sql.connector.catalog.TableInfo;
import org.apache.spark.sql.connector.catalog.View;
import org.apache.spark.sql.connector.expressions.Transform;
import org.apache.spark.sql.delta.catalog.DeltaCatalog;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;
import wherry.Api;
import wherry.Errors;
import wherry.Published;

/**
 * A catalog of the wherry server in Spark: tables, views and schemas by three-level names. Delta's
 * own catalog does what concerns Delta tables and asks {@link Metadata} for their entries; it
 * registers new tables through its delegate only if the delegate's class name begins with
 * io.unitycatalog, hence this package.
 */
public final class Catalog extends Schemas
    implements StagingTableCatalog, RelationCatalog, Published {
  /** The catalog that has nothing but the information schema of all catalogs. */
  static final String SYSTEM = "system";

  private Metadata metadata;
  private DeltaCatalog delta;

  @Override
  public void initialize(String name, CaseInsensitiveStringMap options) {
    this.name = name;
    store = new Metastore(name);
    metadata = new Metadata(name, store);
    delta = new DeltaCatalog();
    Map<String, String> o = new HashMap<>(options.asCaseSensitiveMap());
    // Delta would otherwise look for a Unity Catalog server to commit to.
    o.put("deltaRestApi.enabled", "false");
    delta.initialize(name, new CaseInsensitiveStringMap(o));
    delta.setDelegateCatalog(metadata);
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String[] defaultNamespace() {
    return new String[] {"default"};
  }

  @Override
  public Set<TableCatalogCapability> capabilities() {
    return delta.capabilities();
  }

  // --- tables

  @Override
  public Identifier[] listTables(String[] namespace) throws NoSuchNamespaceException {
    if (InformationSchema.is(namespace)) {
      return InformationSchema.list();
    }
    requireSchema(namespace);
    return metadata.listTables(namespace);
  }

  @Override
  public Relation loadRelation(Identifier i) throws NoSuchTableException {
    if (InformationSchema.is(i.namespace())) {
      return (Relation) InformationSchema.load(store, i);
    }
    JsonNode entry = isPath(i) ? null : store.table(i).orElse(null);
    if (entry != null && Metadata.isView(entry)) {
      return Views.view(entry);
    }
    if (entry == null && !isPath(i)) {
      throw new NoSuchTableException(i);
    }
    if (entry != null && !entry.path("data_source_format").asText("DELTA").equals("DELTA")) {
      // Spark keeps plain files' relations by the table's name, and would read the old place.
      SparkSession.active()
          .sessionState()
          .catalog()
          .invalidateCachedTable(new QualifiedTableName(name, i.namespace()[0], i.name()));
    }
    store.keep(entry);
    try {
      return (Relation) delta.loadTable(i);
    } finally {
      store.forget();
    }
  }

  /** delta.`/some/path` */
  private static boolean isPath(Identifier i) {
    return i.namespace().length == 1
        && i.namespace()[0].equalsIgnoreCase("delta")
        && new Path(i.name()).isAbsolute();
  }

  @Override
  public Table loadTable(Identifier i) throws NoSuchTableException {
    if (loadRelation(i) instanceof Table t) {
      return t;
    }
    throw new NoSuchTableException(i);
  }

  @Override
  public Table loadTable(Identifier i, String version) throws NoSuchTableException {
    return delta.loadTable(i, version);
  }

  @Override
  public Table loadTable(Identifier i, long timestamp) throws NoSuchTableException {
    return delta.loadTable(i, timestamp);
  }

  @Override
  public boolean tableExists(Identifier i) {
    return isPath(i) ? delta.tableExists(i) : metadata.tableExists(i);
  }

  @Override
  public Table createTable(
      Identifier i, Column[] columns, Transform[] partitions, Map<String, String> properties)
      throws TableAlreadyExistsException, NoSuchNamespaceException {
    Map<String, String> p = placed(i, properties);
    if (!isDelta(p)) {
      return metadata.createTable(i, columns, partitions, p);
    }
    return delta.createTable(i, columns, partitions, p);
  }

  @Override
  public Table createTableLike(Identifier i, TableInfo info, Table source)
      throws TableAlreadyExistsException, NoSuchNamespaceException {
    Map<String, String> properties = new HashMap<>(source.properties());
    properties.keySet().removeAll(Metadata.RESERVED);
    properties.keySet().removeIf(k -> k.startsWith(TableCatalog.OPTION_PREFIX) || k.equals("Type"));
    info.properties().forEach((k, v) -> properties.put(k, v));
    properties.putIfAbsent(
        TableCatalog.PROP_PROVIDER,
        source.properties().getOrDefault(TableCatalog.PROP_PROVIDER, "delta"));
    return createTable(i, info.columns(), source.partitioning(), properties);
  }

  @Override
  public Table alterTable(Identifier i, TableChange... changes) throws NoSuchTableException {
    Table t = loadTable(i);
    String provider = t.properties().getOrDefault(TableCatalog.PROP_PROVIDER, "delta");
    if (!provider.equalsIgnoreCase("delta")) {
      return metadata.alterTable(i, changes);
    }
    Table altered = delta.alterTable(i, changes);
    publish(i);
    return altered;
  }

  @Override
  public boolean dropTable(Identifier i) {
    return metadata.dropTable(i);
  }

  @Override
  public boolean purgeTable(Identifier i) {
    return metadata.dropTable(i);
  }

  @Override
  public void renameTable(Identifier from, Identifier to) throws NoSuchTableException {
    metadata.renameTable(from, to);
  }

  private static boolean isDelta(Map<String, String> properties) {
    return properties.get(TableCatalog.PROP_PROVIDER).equalsIgnoreCase("delta");
  }

  /** The properties of a table to make, completed with its provider and place. */
  private Map<String, String> placed(Identifier i, Map<String, String> properties) {
    Map<String, String> p = new HashMap<>(properties);
    p.putIfAbsent(TableCatalog.PROP_PROVIDER, "delta");
    if (p.get(TableCatalog.PROP_LOCATION) != null || isPath(i)) {
      return p;
    }
    if (!isDelta(p)) {
      String provider = p.get(TableCatalog.PROP_PROVIDER);
      throw Errors.analysis(
          "A managed table is in Delta format, not in " + provider + ": give it a LOCATION");
    }
    try {
      p.put(TableCatalog.PROP_LOCATION, store.stage(i));
    } catch (Api.ApiException e) {
      if (e.notFound()) {
        throw Errors.sneak(new NoSuchNamespaceException(new String[] {name, i.namespace()[0]}));
      }
      throw Errors.analysis(e.getMessage());
    }
    p.put(TableCatalog.PROP_IS_MANAGED_LOCATION, "true");
    return p;
  }

  /** The same for a table that may be there: what is replaced keeps its place. */
  private Map<String, String> replaced(
      Identifier i, JsonNode existing, Map<String, String> properties) {
    Map<String, String> p = new HashMap<>(properties);
    p.putIfAbsent(TableCatalog.PROP_PROVIDER, "delta");
    if (existing == null || p.get(TableCatalog.PROP_LOCATION) != null) {
      return placed(i, p);
    }
    p.put(TableCatalog.PROP_LOCATION, existing.path("storage_location").asText());
    if (!existing.path("table_type").asText().equals("EXTERNAL")) {
      p.put(TableCatalog.PROP_IS_MANAGED_LOCATION, "true");
    }
    return p;
  }

  /** Tells the server the columns, comment and properties that a Delta table has now. */
  private void publish(Identifier i) {
    try {
      Table t = delta.loadTable(i);
      List<String> partitions = new ArrayList<>();
      for (Transform x : t.partitioning()) {
        if (x.name().equals("identity")) {
          partitions.add(String.join(".", x.references()[0].fieldNames()));
        }
      }
      Map<String, String> properties = new HashMap<>(t.properties());
      ObjectNode body = Api.object();
      body.set("columns", Columns.json(schema(t), partitions));
      body.put("comment", properties.getOrDefault(TableCatalog.PROP_COMMENT, ""));
      properties.keySet().remove("Type");
      body.set(
          "properties",
          Api.object().setAll(Metastore.strings(Metadata.own(properties, "delta"))));
      store.update(i, body);
    } catch (Exception e) {
      // Scala declares no exceptions. Dropped meanwhile: nothing to tell.
      if (!(e instanceof NoSuchTableException)) {
        throw Errors.sneak(e);
      }
    }
  }

  @Override
  public void publish(String schema, String table) {
    Identifier i = Identifier.of(new String[] {schema}, table);
    JsonNode entry = store.table(i).orElse(null);
    if (entry == null
        || Metadata.isView(entry)
        || !entry.path("data_source_format").asText("DELTA").equals("DELTA")) {
      return;
    }
    StructType known = Columns.schema(entry.path("columns"));
    if (!DataType.equalsIgnoreNullability(known, schema(delta.loadTable(i)))) {
      publish(i);
    }
  }

  private static StructType schema(Table t) {
    return CatalogV2Util.v2ColumnsToStructType(t.columns());
  }

  // --- staging: CREATE [OR REPLACE] TABLE … AS SELECT

  @Override
  public StagedTable stageCreate(
      Identifier i, Column[] columns, Transform[] partitions, Map<String, String> properties)
      throws TableAlreadyExistsException, NoSuchNamespaceException {
    Map<String, String> p = placed(i, properties);
    Runnable discard = () -> discard(p);
    if (isDelta(p)) {
      return new Staged(delta.stageCreate(i, columns, partitions, p), () -> {}, discard);
    }
    return files(i, columns, partitions, p, null);
  }

  @Override
  public StagedTable stageReplace(
      Identifier i, Column[] columns, Transform[] partitions, Map<String, String> properties)
      throws NoSuchNamespaceException, NoSuchTableException {
    JsonNode existing =
        store.table(i).orElseThrow(() -> Errors.sneak(new NoSuchTableException(i)));
    return replace(i, existing, columns, partitions, properties);
  }

  @Override
  public StagedTable stageCreateOrReplace(
      Identifier i, Column[] columns, Transform[] partitions, Map<String, String> properties)
      throws NoSuchNamespaceException {
    if (isPath(i)) {
      return delta.stageCreateOrReplace(i, columns, partitions, properties);
    }
    return replace(i, store.table(i).orElse(null), columns, partitions, properties);
  }

  private StagedTable replace(
      Identifier i,
      JsonNode existing,
      Column[] columns,
      Transform[] partitions,
      Map<String, String> properties)
      throws NoSuchNamespaceException {
    if (existing != null && Metadata.isView(existing)) {
      throw Errors.analysis(store.full(i) + " is a view, not a table");
    }
    String provider = properties.getOrDefault(TableCatalog.PROP_PROVIDER, "delta");
    if (!provider.equalsIgnoreCase("delta")) {
      return files(i, columns, partitions, placed(i, properties), existing);
    }
    boolean wasDelta =
        existing != null && existing.path("data_source_format").asText("DELTA").equals("DELTA");
    if (existing != null && !wasDelta) {
      store.delete(i);
      existing = null;
    }
    Map<String, String> p = replaced(i, existing, properties);
    StagedTable s = delta.stageCreateOrReplace(i, columns, partitions, p);
    if (existing == null) {
      return new Staged(s, () -> {}, () -> discard(p));
    }
    return new Staged(s, () -> publish(i), () -> {});
  }

  private StagedTable files(
      Identifier i, Column[] columns, Transform[] partitions, Map<String, String> p, JsonNode old) {
    StructType schema = CatalogV2Util.v2ColumnsToStructType(columns);
    Runnable commit =
        () -> {
          if (old != null) {
            store.delete(i);
          }
          try {
            metadata.createTable(i, schema, partitions, p);
          } catch (TableAlreadyExistsException | NoSuchNamespaceException e) {
            throw Errors.sneak(e);
          }
        };
    return new StagedFiles(store.full(i), schema, partitions, p, commit, () -> discard(p));
  }

  /** Removes what a failed query left at the place of a managed table that never was. */
  private static void discard(Map<String, String> properties) {
    if (!"true".equals(properties.get(TableCatalog.PROP_IS_MANAGED_LOCATION))) {
      return;
    }
    Path place = new Path(properties.get(TableCatalog.PROP_LOCATION));
    try {
      place
          .getFileSystem(SparkSession.active().sessionState().newHadoopConf())
          .delete(place, true);
    } catch (IOException e) {
      System.err.println("wherry: discard " + place + ": " + e);
    }
  }

  // --- views

  @Override
  public Identifier[] listViews(String[] namespace) throws NoSuchNamespaceException {
    if (InformationSchema.is(namespace)) {
      return new Identifier[0];
    }
    requireSchema(namespace);
    return store.tables(namespace[0]).stream()
        .filter(Metadata::isView)
        .map(t -> Identifier.of(namespace, t.path("name").asText()))
        .toArray(Identifier[]::new);
  }

  @Override
  public View loadView(Identifier i) throws NoSuchViewException {
    JsonNode v = store.table(i).filter(Metadata::isView).orElse(null);
    if (v == null) {
      throw new NoSuchViewException(i);
    }
    return Views.view(v);
  }

  @Override
  public boolean viewExists(Identifier i) {
    return store.table(i).filter(Metadata::isView).isPresent();
  }

  @Override
  public View createView(Identifier i, View v)
      throws ViewAlreadyExistsException, NoSuchNamespaceException {
    try {
      store.create(i, Views.entry(store, i, v));
    } catch (Api.ApiException e) {
      if (e.exists()) {
        throw new ViewAlreadyExistsException(i);
      }
      if (e.notFound()) {
        throw new NoSuchNamespaceException(i.namespace());
      }
      throw e;
    }
    return v;
  }

  @Override
  public View replaceView(Identifier i, View v) throws NoSuchViewException {
    if (!viewExists(i)) {
      throw new NoSuchViewException(i);
    }
    ObjectNode body = Views.entry(store, i, v);
    body.remove(List.of("catalog_name", "schema_name", "name", "table_type"));
    store.update(i, body);
    return v;
  }

  @Override
  public boolean dropView(Identifier i) {
    return viewExists(i) && store.delete(i);
  }

  @Override
  public void renameView(Identifier from, Identifier to) throws NoSuchViewException {
    try {
      metadata.renameTable(from, to);
    } catch (NoSuchTableException e) {
      throw new NoSuchViewException(from);
    }
  }
}
