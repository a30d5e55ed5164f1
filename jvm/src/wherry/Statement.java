package wherry;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import wherry.Tokens.Kind;
import wherry.Tokens.Token;

/**
 * Reads the statements that Spark does not know. Each becomes {@code CALL wherry_sys.sys.exec(…)}
 * with the statement as JSON, so that it runs where Spark runs commands and needs no plan node of
 * its own, or another statement that Spark does know.
 */
final class Statement {
  private final Tokens t;
  private final ObjectNode out = Api.object();

  /** The texts of IDENTIFIER(…): Spark evaluates them as arguments of the call. */
  private final List<String> arguments = new ArrayList<>();

  private Statement(Tokens t) {
    this.t = t;
  }

  /** The SQL to give to Spark instead, or null if the statement is Spark's as it is. */
  static String rewrite(Tokens t) {
    t.back(0);
    return new Statement(t).rewrite();
  }

  private String rewrite() {
    Token first = t.peek();
    if (first.kind() != Kind.WORD) {
      return null;
    }
    String replaced =
        switch (first.text().toUpperCase(Locale.ROOT)) {
          case "USE" -> use();
          case "COMMENT" -> commentOn();
          case "ALTER" -> alter();
          case "CREATE" -> create();
          case "DROP" -> drop();
          case "SHOW" -> show();
          case "DESCRIBE", "DESC" -> describe();
          case "GRANT", "REVOKE" -> grant();
          case "ANALYZE" -> analyze();
          default -> null;
        };
    return replaced;
  }

  private String call() {
    t.end();
    StringBuilder sql = new StringBuilder("CALL wherry_sys.sys.exec(").append(literal(out));
    for (String a : arguments) {
      sql.append(", cast((").append(a).append(") AS string)");
    }
    return sql.append(')').toString();
  }

  private static String literal(Object o) {
    return "'" + o.toString().replace("\\", "\\\\").replace("'", "\\'") + "'";
  }

  // --- names

  /** Reads a dotted name, or IDENTIFIER(expression), into the field. */
  private void name(String field) {
    if (t.accept("IDENTIFIER", "(")) {
      int start = t.peek().start();
      int depth = 1;
      Token last = t.peek();
      while (depth > 0) {
        last = t.next();
        if (last.kind() == Kind.END) {
          throw t.syntax("IDENTIFIER( is not closed");
        }
        if (last.kind() == Kind.SYMBOL) {
          depth += last.text().equals("(") ? 1 : last.text().equals(")") ? -1 : 0;
        }
      }
      out.put(field + "_argument", arguments.size());
      arguments.add(t.sql.substring(start, last.start()));
      return;
    }
    ArrayNode parts = out.putArray(field);
    do {
      parts.add(part());
    } while (t.accept("."));
  }

  /** One part of a name; unquoted parts may hold hyphens, as principals and catalogs do. */
  private String part() {
    Token p = t.next();
    if (!p.name() && p.kind() != Kind.NUMBER) {
      throw t.syntax("expected a name");
    }
    StringBuilder text = new StringBuilder(p.text());
    int end = p.end();
    while (p.kind() == Kind.WORD
        && t.peek().kind() == Kind.SYMBOL
        && "-@".contains(t.peek().text())
        && t.peek().start() == end) {
      text.append(t.next().text());
      Token more = t.next();
      text.append(more.text());
      end = more.end();
    }
    return text.toString();
  }

  /** A principal: a name, or an address in quotes. */
  private void principal() {
    Token p = t.peek();
    if (p.kind() == Kind.STRING) {
      out.put("principal", t.next().text());
      return;
    }
    StringBuilder text = new StringBuilder(part());
    while (t.accept(".")) {
      text.append('.').append(part());
    }
    out.put("principal", text.toString());
  }

  private void optionalComment() {
    if (t.accept("COMMENT")) {
      out.put("comment", t.string());
    }
  }

  // --- statements

  private String use() {
    t.next();
    if (!t.accept("CATALOG")) {
      return null;
    }
    out.put("do", "use_catalog");
    int start = t.position();
    if (t.accept("IDENTIFIER", "(")) {
      t.back(start);
      name("name");
      return call();
    }
    return "SET CATALOG " + t.sql.substring(t.peek().start());
  }

  private String commentOn() {
    t.next();
    t.expect("ON");
    String type = t.acceptAny("CATALOG", "VOLUME", "COLUMN");
    if (type == null) {
      return null;
    }
    if (type.equals("COLUMN")) {
      return commentOnColumn();
    }
    out.put("do", "comment").put("type", type);
    name("name");
    t.expect("IS");
    if (t.accept("NULL")) {
      out.putNull("comment");
    } else {
      out.put("comment", t.string());
    }
    return call();
  }

  private String commentOnColumn() {
    List<String> parts = new ArrayList<>();
    do {
      parts.add("`" + part().replace("`", "``") + "`");
    } while (t.accept("."));
    t.expect("IS");
    String comment = t.sql.substring(t.peek().start());
    if (parts.size() < 2) {
      throw t.syntax("expected the name of a table and a column");
    }
    String column = parts.remove(parts.size() - 1);
    return "ALTER TABLE " + String.join(".", parts) + " ALTER COLUMN " + column + " COMMENT "
        + comment;
  }

  private String alter() {
    t.next();
    String type =
        t.acceptAny("CATALOG", "SCHEMA", "DATABASE", "TABLE", "VIEW", "VOLUME", "FUNCTION");
    if (type == null) {
      return null;
    }
    out.put("type", type.equals("DATABASE") ? "SCHEMA" : type);
    name("name");
    if (t.accept("OWNER", "TO") || t.accept("SET", "OWNER", "TO")) {
      out.put("do", "owner");
      principal();
      return call();
    }
    if (t.accept("ALTER", "COLUMN")) {
      out.put("column", part());
    }
    boolean set = t.accept("SET", "TAGS");
    if (set || t.accept("UNSET", "TAGS")) {
      out.put("do", set ? "set_tags" : "unset_tags");
      tags(set);
      return call();
    }
    if (type.equals("CATALOG") || type.equals("VOLUME")) {
      throw Errors.analysis("wherry does not support this statement: " + t.sql.strip());
    }
    return null;
  }

  private void tags(boolean withValues) {
    ArrayNode tags = out.putArray("tags");
    t.expect("(");
    do {
      ObjectNode tag = tags.addObject().put("key", t.string());
      if (withValues && t.accept("=")) {
        tag.put("value", t.string());
      }
    } while (t.accept(","));
    t.expect(")");
  }

  private String create() {
    t.next();
    if (t.accept("CATALOG")) {
      out.put("do", "create_catalog");
      out.put("if_not_exists", t.accept("IF", "NOT", "EXISTS"));
      name("name");
      if (t.accept("MANAGED", "LOCATION")) {
        out.put("location", t.string());
      }
      optionalComment();
      return call();
    }
    boolean external = t.accept("EXTERNAL", "VOLUME");
    if (external || t.accept("VOLUME")) {
      out.put("do", "create_volume").put("volume_type", external ? "EXTERNAL" : "MANAGED");
      out.put("if_not_exists", t.accept("IF", "NOT", "EXISTS"));
      name("name");
      if (t.accept("LOCATION")) {
        out.put("location", t.string());
      }
      optionalComment();
      return call();
    }
    return null;
  }

  private String drop() {
    t.next();
    String type = t.acceptAny("CATALOG", "VOLUME");
    if (type == null) {
      return null;
    }
    out.put("do", "drop_" + type.toLowerCase(Locale.ROOT));
    out.put("if_exists", t.accept("IF", "EXISTS"));
    name("name");
    out.put("cascade", t.accept("CASCADE"));
    t.accept("RESTRICT");
    return call();
  }

  private String show() {
    t.next();
    if (t.accept("CATALOGS")) {
      out.put("do", "show_catalogs");
      pattern();
      return call();
    }
    if (t.accept("VOLUMES")) {
      out.put("do", "show_volumes");
      if (t.accept("IN") || t.accept("FROM")) {
        name("name");
      }
      pattern();
      return call();
    }
    if (t.accept("CREATE", "TABLE")) {
      out.put("do", "show_create_table");
      name("name");
      return t.done() ? call() : null;
    }
    if (t.accept("GRANTS") || t.accept("GRANT")) {
      out.put("do", "show_grants");
      if (!t.accept("ON")) {
        principal();
        t.expect("ON");
      }
      securable();
      return call();
    }
    return null;
  }

  private void pattern() {
    t.accept("LIKE");
    if (t.peek().kind() == Kind.STRING) {
      out.put("pattern", t.string());
    }
  }

  private String describe() {
    t.next();
    String type = t.acceptAny("CATALOG", "VOLUME");
    if (type == null || t.done()) {
      return null;
    }
    out.put("do", "describe").put("type", type);
    t.accept("EXTENDED");
    name("name");
    return call();
  }

  private String grant() {
    boolean grant = t.next().text().equalsIgnoreCase("GRANT");
    out.put("do", grant ? "grant" : "revoke");
    ArrayNode privileges = out.putArray("privileges");
    do {
      StringBuilder p = new StringBuilder();
      while (t.peek().kind() == Kind.WORD && !t.peek().text().equalsIgnoreCase("ON")) {
        p.append(p.isEmpty() ? "" : "_").append(t.next().text().toUpperCase(Locale.ROOT));
      }
      if (p.isEmpty()) {
        throw t.syntax("expected a privilege");
      }
      privileges.add(p.toString());
    } while (t.accept(","));
    t.expect("ON");
    securable();
    t.expect(grant ? "TO" : "FROM");
    principal();
    return call();
  }

  /** The kind and name of what a grant is on; a bare name is a table's. */
  private void securable() {
    String[][] types = {
      {"EXTERNAL", "LOCATION"}, {"STORAGE", "CREDENTIAL"}, {"REGISTERED", "MODEL"}, {"CATALOG"},
      {"SCHEMA"}, {"DATABASE"}, {"VOLUME"}, {"FUNCTION"}, {"MODEL"}, {"TABLE"}, {"VIEW"}
    };
    String type = "table";
    if (t.accept("METASTORE")) {
      out.put("type", "metastore").putArray("name").add("metastore");
      return;
    }
    for (String[] words : types) {
      if (t.accept(words)) {
        type = String.join("_", words).toLowerCase(Locale.ROOT);
        break;
      }
    }
    out.put(
        "type",
        switch (type) {
          case "database" -> "schema";
          case "view" -> "table";
          case "model" -> "registered_model";
          default -> type;
        });
    name("name");
  }

  private String analyze() {
    t.next();
    if (!t.accept("TABLE")) {
      return null;
    }
    out.put("do", "analyze");
    name("name");
    t.expect("COMPUTE");
    t.accept("DELTA");
    t.expect("STATISTICS");
    out.put("noscan", t.accept("NOSCAN"));
    boolean columns = t.accept("FOR", "ALL", "COLUMNS");
    if (!columns && t.accept("FOR", "COLUMNS")) {
      columns = true;
      while (!t.done()) {
        t.next();
      }
    }
    out.put("columns", columns);
    return call();
  }
}
