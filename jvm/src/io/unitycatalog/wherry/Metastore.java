package io.unitycatalog.wherry;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.apache.spark.sql.connector.catalog.Identifier;
import wherry.Api;

/** The server's catalog API for one catalog. Nothing is kept here: the server is the only truth. */
final class Metastore {
  final String catalog;

  /** The entry that a caller has just fetched, for the next question about the same name. */
  private final ThreadLocal<JsonNode> fetched = new ThreadLocal<>();

  Metastore(String catalog) {
    this.catalog = catalog.toLowerCase(Locale.ROOT);
  }

  static String schema(Identifier i) {
    return i.namespace()[0].toLowerCase(Locale.ROOT);
  }

  static String name(Identifier i) {
    return i.name().toLowerCase(Locale.ROOT);
  }

  String full(Identifier i) {
    return catalog + "." + schema(i) + "." + name(i);
  }

  private String path(Identifier i) {
    return Api.UC + "tables/" + Api.escape(full(i));
  }

  private String schemaPath(String schema) {
    return Api.UC + "schemas/" + Api.escape(catalog + "." + schema.toLowerCase(Locale.ROOT));
  }

  // --- tables and views

  /** A table's or view's entry. Names without one schema, and paths, are nothing of ours. */
  Optional<JsonNode> table(Identifier i) {
    if (i.namespace().length != 1 || i.name().indexOf('/') >= 0) {
      return Optional.empty();
    }
    JsonNode kept = fetched.get();
    fetched.remove();
    if (kept != null && kept.path("full_name").asText().equalsIgnoreCase(full(i))) {
      return Optional.of(kept);
    }
    return Api.find(path(i));
  }

  /** Keeps an entry for the one next call of {@link #table} on this thread. */
  void keep(JsonNode entry) {
    fetched.set(entry);
  }

  void forget() {
    fetched.remove();
  }

  List<JsonNode> tables(String schema) {
    return Api.list(
        Api.UC
            + "tables?catalog_name="
            + Api.escape(catalog)
            + "&schema_name="
            + Api.escape(schema.toLowerCase(Locale.ROOT)),
        "tables");
  }

  /** Reserves the place of a managed table that is about to be written. */
  String stage(Identifier i) {
    ObjectNode body = Api.object();
    body.put("catalog", catalog).put("schema", schema(i)).put("name", name(i));
    JsonNode staged = Api.call("POST", "/api/wherry/catalog/tables/create", body);
    return staged.path("storage_location").asText();
  }

  ObjectNode names(Identifier i) {
    ObjectNode body = Api.object();
    body.put("catalog_name", catalog).put("schema_name", schema(i)).put("name", name(i));
    return body;
  }

  /** Makes a table or view. A repeated call, after an answer that was lost, finds its own entry. */
  void create(Identifier i, ObjectNode body) {
    try {
      Api.call("POST", Api.UC + "tables", body);
    } catch (Api.ApiException e) {
      String place = body.path("storage_location").asText("");
      boolean ours =
          e.exists()
              && !place.isEmpty()
              && table(i).map(t -> t.path("storage_location").asText("").equals(place)).orElse(false);
      if (!ours) {
        throw e;
      }
    }
  }

  void update(Identifier i, JsonNode body) {
    Api.call("PATCH", path(i), body);
  }

  boolean delete(Identifier i) {
    try {
      Api.call("DELETE", path(i), null);
      return true;
    } catch (Api.ApiException e) {
      if (e.notFound()) {
        return false;
      }
      throw e;
    }
  }

  // --- schemas

  List<JsonNode> schemas() {
    return Api.list(Api.UC + "schemas?catalog_name=" + Api.escape(catalog), "schemas");
  }

  Optional<JsonNode> schemaEntry(String schema) {
    return Api.find(schemaPath(schema));
  }

  void createSchema(String schema, Map<String, String> properties, String comment) {
    ObjectNode body = Api.object().put("name", schema.toLowerCase(Locale.ROOT));
    body.put("catalog_name", catalog);
    if (comment != null) {
      body.put("comment", comment);
    }
    body.set("properties", Api.object().setAll(strings(properties)));
    Api.call("POST", Api.UC + "schemas", body);
  }

  void updateSchema(String schema, JsonNode body) {
    Api.call("PATCH", schemaPath(schema), body);
  }

  void deleteSchema(String schema, boolean force) {
    Api.call("DELETE", schemaPath(schema) + (force ? "?force=true" : ""), null);
  }

  List<JsonNode> volumes(String schema) {
    return Api.list(
        Api.UC
            + "volumes?catalog_name="
            + Api.escape(catalog)
            + "&schema_name="
            + Api.escape(schema),
        "volumes");
  }

  // --- maps

  static Map<String, JsonNode> strings(Map<String, String> m) {
    Map<String, JsonNode> out = new HashMap<>();
    m.forEach((k, v) -> out.put(k, com.fasterxml.jackson.databind.node.TextNode.valueOf(v)));
    return out;
  }

  static Map<String, String> properties(JsonNode entry) {
    Map<String, String> out = new HashMap<>();
    entry
        .path("properties")
        .properties()
        .forEach(e -> out.put(e.getKey(), e.getValue().asText()));
    return out;
  }
}
