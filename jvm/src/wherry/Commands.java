package wherry;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.apache.spark.sql.classic.SparkSession;
import org.apache.spark.sql.connector.catalog.CatalogManager;
import scala.jdk.javaapi.CollectionConverters;
import wherry.Sys.Table;

/** Runs the statements that {@link Statement} reads, each against the server. */
final class Commands {
  private final JsonNode s;
  private final String[] arguments;
  private final SparkSession session = SparkSession.active();

  Commands(JsonNode statement, String[] arguments) {
    this.s = statement;
    this.arguments = arguments;
  }

  Table run() {
    return switch (s.path("do").asText()) {
      case "use_catalog" -> useCatalog();
      case "create_catalog" -> createCatalog();
      case "drop_catalog" -> dropCatalog();
      case "show_catalogs" -> showCatalogs();
      case "create_volume" -> createVolume();
      case "drop_volume" -> drop("volumes", full(3), "");
      case "show_volumes" -> showVolumes();
      case "describe" -> describe();
      case "comment" -> patch(Api.object().set("comment", s.get("comment")));
      case "owner" -> patch(Api.object().put("owner", s.path("principal").asText()));
      case "set_tags", "unset_tags" -> tags();
      case "grant", "revoke" -> grant();
      case "show_grants" -> showGrants();
      case "show_create_table" -> new TableCommands(session).showCreate(parts(3));
      case "analyze" ->
          new TableCommands(session)
              .analyze(parts(3), s.path("columns").asBoolean(), s.path("noscan").asBoolean());
      default -> throw Errors.analysis("wherry does not support " + s.path("do").asText());
    };
  }

  // --- names

  /** The name's parts, completed to the given number from the session's catalog and schema. */
  private List<String> parts(int wanted) {
    List<String> given = new ArrayList<>();
    if (s.has("name_argument")) {
      String text = arguments[s.path("name_argument").asInt()];
      if (text == null || text.isBlank()) {
        throw Errors.analysis("IDENTIFIER() needs a name, it has none");
      }
      try {
        given.addAll(
            CollectionConverters.asJava(
                session.sessionState().sqlParser().parseMultipartIdentifier(text)));
      } catch (Exception e) {
        throw Errors.analysis("not a name: " + text, e);
      }
    } else {
      s.path("name").forEach(p -> given.add(p.asText()));
    }
    CatalogManager m = session.sessionState().catalogManager();
    if (given.size() < wanted && wanted == 3 && given.size() == 1) {
      String[] ns = m.currentNamespace();
      given.add(0, ns.length == 0 ? "default" : ns[0]);
    }
    if (given.size() < wanted) {
      given.add(0, m.currentCatalog().name());
    }
    if (given.size() != wanted) {
      throw Errors.analysis("not a name of " + wanted + " parts: " + String.join(".", given));
    }
    return given;
  }

  private String full(int wanted) {
    return String.join(".", parts(wanted));
  }

  private int levels(String type) {
    return switch (type) {
      case "catalog", "metastore", "external_location", "storage_credential" -> 1;
      case "schema" -> 2;
      default -> 3;
    };
  }

  private String type() {
    return s.path("type").asText().toLowerCase(Locale.ROOT);
  }

  // --- catalogs

  private Table useCatalog() {
    String name = parts(1).get(0);
    Sessions.ensureCatalogs(session, java.util.Set.of(name));
    session.sessionState().catalogManager().setCurrentCatalog(name);
    return Table.NOTHING;
  }

  private Table createCatalog() {
    String name = parts(1).get(0);
    ObjectNode body = Api.object().put("name", name);
    if (s.has("comment")) {
      body.put("comment", s.path("comment").asText());
    }
    if (s.has("location")) {
      body.put("storage_root", s.path("location").asText());
    }
    try {
      Api.call("POST", Api.UC + "catalogs", body);
    } catch (Api.ApiException e) {
      if (!e.exists() || !s.path("if_not_exists").asBoolean()) {
        throw e;
      }
    }
    Sessions.ensureCatalogs(session, java.util.Set.of(name));
    return Table.NOTHING;
  }

  private Table dropCatalog() {
    return drop("catalogs", full(1), s.path("cascade").asBoolean() ? "?force=true" : "");
  }

  private Table drop(String kind, String name, String query) {
    try {
      Api.call("DELETE", Api.UC + kind + "/" + Api.escape(name) + query, null);
    } catch (Api.ApiException e) {
      if (!e.notFound() || !s.path("if_exists").asBoolean()) {
        throw e;
      }
    }
    return Table.NOTHING;
  }

  private Table showCatalogs() {
    List<String> names = new ArrayList<>();
    Api.list(Api.UC + "catalogs", "catalogs").forEach(c -> names.add(c.path("name").asText()));
    return column("catalog", names);
  }

  private Table column(String title, List<String> names) {
    String pattern = s.path("pattern").asText("*");
    String regex = "(?i)" + pattern.replace("%", "*").replace("*", ".*");
    return new Table(
        List.of(title), names.stream().filter(n -> n.matches(regex)).map(List::of).toList());
  }

  // --- volumes

  private Table createVolume() {
    List<String> p = parts(3);
    ObjectNode body = Api.object();
    body.put("catalog_name", p.get(0)).put("schema_name", p.get(1)).put("name", p.get(2));
    body.put("volume_type", s.path("volume_type").asText());
    if (s.has("location")) {
      body.put("storage_location", s.path("location").asText());
    }
    if (s.has("comment")) {
      body.put("comment", s.path("comment").asText());
    }
    try {
      Api.call("POST", Api.UC + "volumes", body);
    } catch (Api.ApiException e) {
      if (!e.exists() || !s.path("if_not_exists").asBoolean()) {
        throw e;
      }
    }
    return Table.NOTHING;
  }

  private Table showVolumes() {
    List<String> p;
    if (s.has("name") || s.has("name_argument")) {
      p = parts(2);
    } else {
      CatalogManager m = session.sessionState().catalogManager();
      p = List.of(m.currentCatalog().name(), m.currentNamespace()[0]);
    }
    String query = "catalog_name=" + Api.escape(p.get(0)) + "&schema_name=" + Api.escape(p.get(1));
    String pattern = s.path("pattern").asText("*");
    String regex = "(?i)" + pattern.replace("%", "*").replace("*", ".*");
    List<List<String>> rows = new ArrayList<>();
    for (JsonNode v : Api.list(Api.UC + "volumes?" + query, "volumes")) {
      String name = v.path("name").asText();
      if (name.matches(regex)) {
        rows.add(List.of(p.get(1), name));
      }
    }
    return new Table(List.of("database", "volume_name"), rows);
  }

  // --- any securable

  private String collection() {
    return switch (type()) {
      case "catalog" -> "catalogs";
      case "schema" -> "schemas";
      case "volume" -> "volumes";
      case "function" -> "functions";
      default -> "tables";
    };
  }

  private Table patch(JsonNode body) {
    String name = full(levels(type()));
    Api.call("PATCH", Api.UC + collection() + "/" + Api.escape(name), body);
    return Table.NOTHING;
  }

  private Table describe() {
    String name = full(levels(type()));
    JsonNode found = Api.get(Api.UC + collection() + "/" + Api.escape(name));
    List<List<String>> rows = new ArrayList<>();
    found
        .properties()
        .forEach(
            e -> {
              JsonNode v = e.getValue();
              rows.add(List.of(e.getKey(), v.isValueNode() ? v.asText() : v.toString()));
            });
    return new Table(List.of("info_name", "info_value"), rows);
  }

  private Table tags() {
    String type = type().equals("view") ? "table" : type();
    String name = full(levels(type));
    String entity = s.has("column") ? "columns" : type + "s";
    if (s.has("column")) {
      name += "." + s.path("column").asText();
    }
    String base = Api.UC + "entity-tag-assignments";
    boolean set = s.path("do").asText().equals("set_tags");
    for (JsonNode tag : s.path("tags")) {
      String key = tag.path("key").asText();
      String one = base + "/" + entity + "/" + Api.escape(name) + "/tags/" + Api.escape(key);
      if (!set) {
        Api.call("DELETE", one, null);
        continue;
      }
      ObjectNode body = Api.object().put("entity_type", entity).put("entity_name", name);
      body.put("tag_key", key).put("tag_value", tag.path("value").asText(""));
      try {
        Api.call("POST", base, body);
      } catch (Api.ApiException e) {
        if (!e.exists()) {
          throw e;
        }
        Api.call("PATCH", one + "?update_mask=tag_value", body);
      }
    }
    return Table.NOTHING;
  }

  // --- grants

  private String permissions() {
    String type = type();
    String name = type.equals("metastore") ? "metastore" : full(levels(type));
    return Api.UC + "permissions/" + type + "/" + Api.escape(name);
  }

  private Table grant() {
    boolean grant = s.path("do").asText().equals("grant");
    ObjectNode body = Api.object();
    ObjectNode change = body.putArray("changes").addObject();
    change.put("principal", s.path("principal").asText());
    ArrayNode list = change.putArray(grant ? "add" : "remove");
    s.path("privileges").forEach(p -> list.add(privilege(p.asText())));
    Api.call("PATCH", permissions(), body);
    return Table.NOTHING;
  }

  /** SQL says ALL PRIVILEGES and USAGE; the API knows ALL_PRIVILEGES and USE_SCHEMA. */
  private String privilege(String sql) {
    if (sql.equals("USAGE")) {
      return type().equals("catalog") ? "USE_CATALOG" : "USE_SCHEMA";
    }
    return sql.equals("ALL") ? "ALL_PRIVILEGES" : sql;
  }

  private Table showGrants() {
    String only = s.path("principal").asText("");
    String name = type().equals("metastore") ? "metastore" : full(levels(type()));
    List<List<String>> rows = new ArrayList<>();
    Optional<JsonNode> found = Api.find(permissions());
    for (JsonNode a : found.map(f -> f.path("privilege_assignments")).orElse(Api.object())) {
      String principal = a.path("principal").asText();
      if (only.isEmpty() || only.equals(principal)) {
        a.path("privileges")
            .forEach(
                p ->
                    rows.add(
                        List.of(
                            principal,
                            p.asText().replace('_', ' '),
                            type().toUpperCase(Locale.ROOT),
                            name)));
      }
    }
    return new Table(List.of("Principal", "ActionType", "ObjectType", "ObjectKey"), rows);
  }
}
