package io.unitycatalog.wherry;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.spark.sql.connector.catalog.Identifier;
import org.apache.spark.sql.connector.catalog.TableCatalog;
import org.apache.spark.sql.connector.catalog.View;
import wherry.Api;

/**
 * Views as the catalog API keeps them: entries of type VIEW whose properties hold what Spark needs
 * to read the text again (where names resolve, the settings of then).
 */
final class Views {
  private static final String PREFIX = "view.";
  private static final String CATALOG = PREFIX + "catalog";
  private static final String NAMESPACE = PREFIX + "namespace";
  private static final String MODE = PREFIX + "schemaMode";
  private static final String QUERY_COLUMNS = PREFIX + "query.columns";
  private static final String CONFIG = PREFIX + "sqlConfig.";

  private Views() {}

  /** The entry to send for a view. */
  static ObjectNode entry(Metastore store, Identifier i, View v) {
    ObjectNode body = store.names(i);
    body.put("table_type", "VIEW");
    body.put("view_definition", v.queryText());
    body.set("columns", Columns.json(v.schema(), List.of()));
    Map<String, String> properties = new HashMap<>(v.properties());
    String comment = properties.get(TableCatalog.PROP_COMMENT);
    if (comment != null) {
      body.put("comment", comment);
    }
    properties.keySet().removeAll(Metadata.RESERVED);
    properties.values().removeIf(java.util.Objects::isNull);
    if (v.currentCatalog() != null) {
      properties.put(CATALOG, v.currentCatalog());
    }
    properties.put(NAMESPACE, list(v.currentNamespace()));
    if (v.schemaMode() != null) {
      properties.put(MODE, v.schemaMode());
    }
    properties.put(QUERY_COLUMNS, list(v.queryColumnNames()));
    v.sqlConfigs().forEach((k, value) -> properties.put(CONFIG + k, value));
    body.set("properties", Api.object().setAll(Metastore.strings(properties)));
    return body;
  }

  private static String list(String[] parts) {
    var a = Api.object().putArray("list");
    for (String p : parts == null ? new String[0] : parts) {
      a.add(p);
    }
    return a.toString();
  }

  private static String[] list(String json) {
    try {
      JsonNode n = new com.fasterxml.jackson.databind.ObjectMapper().readTree(json);
      String[] out = new String[n.size()];
      for (int i = 0; i < out.length; i++) {
        out[i] = n.get(i).asText();
      }
      return out;
    } catch (IOException e) {
      throw new IllegalStateException("a view's properties are damaged: " + json, e);
    }
  }

  /** The view of an entry. */
  static View view(JsonNode entry) {
    Map<String, String> all = Metastore.properties(entry);
    Map<String, String> configs = new HashMap<>();
    Map<String, String> properties = new HashMap<>();
    all.forEach(
        (k, v) -> {
          if (k.startsWith(CONFIG)) {
            configs.put(k.substring(CONFIG.length()), v);
          } else if (!k.startsWith(PREFIX)) {
            properties.put(k, v);
          }
        });
    View.Builder b = new View.Builder();
    b.withQueryText(entry.path("view_definition").asText());
    b.withCurrentCatalog(all.getOrDefault(CATALOG, entry.path("catalog_name").asText()));
    b.withCurrentNamespace(
        list(all.getOrDefault(NAMESPACE, "[\"" + entry.path("schema_name").asText() + "\"]")));
    b.withSqlConfigs(configs);
    if (all.containsKey(MODE)) {
      b.withSchemaMode(all.get(MODE));
    }
    b.withQueryColumnNames(list(all.getOrDefault(QUERY_COLUMNS, "[]")));
    b.withSchema(Columns.schema(entry.path("columns")));
    b.withProperties(properties);
    if (!entry.path("comment").asText("").isEmpty()) {
      b.withComment(entry.path("comment").asText());
    }
    if (!entry.path("owner").asText("").isEmpty()) {
      b.withOwner(entry.path("owner").asText());
    }
    return b.build();
  }
}
