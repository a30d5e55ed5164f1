package wherry;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;

/** The words of one SQL statement, comments left out, and a cursor over them. */
final class Tokens {
  enum Kind {
    WORD,
    QUOTED,
    STRING,
    NUMBER,
    SYMBOL,
    END
  }

  /** text is what the token means: quotes removed, escapes resolved. */
  record Token(Kind kind, String text, int start, int end) {
    boolean name() {
      return kind == Kind.WORD || kind == Kind.QUOTED;
    }
  }

  final String sql;
  private final List<Token> all = new ArrayList<>();
  private int at;

  Tokens(String sql) {
    this.sql = sql;
    scan();
  }

  // --- scanning

  private void scan() {
    int i = 0;
    int n = sql.length();
    while (i < n) {
      char c = sql.charAt(i);
      if (Character.isWhitespace(c)) {
        i++;
      } else if (sql.startsWith("--", i)) {
        int line = sql.indexOf('\n', i);
        i = line < 0 ? n : line + 1;
      } else if (sql.startsWith("/*", i)) {
        i = commentEnd(i);
      } else if (c == '`') {
        i = quoted(i);
      } else if (c == '\'' || c == '"') {
        i = string(i, i, false);
      } else if ((c == 'r' || c == 'R') && i + 1 < n && "'\"".indexOf(sql.charAt(i + 1)) >= 0) {
        i = string(i, i + 1, true);
      } else if (Character.isLetterOrDigit(c) || c == '_') {
        i = word(i);
      } else {
        all.add(new Token(Kind.SYMBOL, String.valueOf(c), i, i + 1));
        i++;
      }
    }
    all.add(new Token(Kind.END, "", n, n));
  }

  /** Bracketed comments nest. */
  private int commentEnd(int i) {
    int depth = 0;
    while (i < sql.length()) {
      if (sql.startsWith("/*", i)) {
        depth++;
        i += 2;
      } else if (sql.startsWith("*/", i)) {
        depth--;
        i += 2;
        if (depth == 0) {
          return i;
        }
      } else {
        i++;
      }
    }
    return i;
  }

  private int word(int start) {
    int i = start;
    boolean digits = true;
    while (i < sql.length()
        && (Character.isLetterOrDigit(sql.charAt(i)) || sql.charAt(i) == '_')) {
      digits &= Character.isDigit(sql.charAt(i));
      i++;
    }
    all.add(new Token(digits ? Kind.NUMBER : Kind.WORD, sql.substring(start, i), start, i));
    return i;
  }

  private int quoted(int start) {
    StringBuilder text = new StringBuilder();
    int i = start + 1;
    while (i < sql.length()) {
      if (sql.charAt(i) == '`') {
        if (i + 1 < sql.length() && sql.charAt(i + 1) == '`') {
          i++;
        } else {
          break;
        }
      }
      text.append(sql.charAt(i++));
    }
    i = Math.min(i + 1, sql.length());
    all.add(new Token(Kind.QUOTED, text.toString(), start, i));
    return i;
  }

  private int string(int start, int open, boolean raw) {
    char quote = sql.charAt(open);
    StringBuilder text = new StringBuilder();
    int i = open + 1;
    while (i < sql.length() && sql.charAt(i) != quote) {
      char c = sql.charAt(i);
      if (c == '\\' && !raw && i + 1 < sql.length()) {
        c = escaped(sql.charAt(++i));
      }
      text.append(c);
      i++;
    }
    i = Math.min(i + 1, sql.length());
    all.add(new Token(Kind.STRING, text.toString(), start, i));
    return i;
  }

  private static char escaped(char c) {
    return switch (c) {
      case 'n' -> '\n';
      case 't' -> '\t';
      case 'r' -> '\r';
      case 'b' -> '\b';
      case '0' -> '\0';
      default -> c;
    };
  }

  // --- the cursor

  Token peek() {
    return all.get(at);
  }

  Token next() {
    Token t = all.get(at);
    if (t.kind != Kind.END) {
      at++;
    }
    return t;
  }

  int position() {
    return at;
  }

  void back(int position) {
    at = position;
  }

  /** Whether the statement is over, a closing semicolon allowed. */
  boolean done() {
    int i = at;
    while (is(all.get(i), ";")) {
      i++;
    }
    return all.get(i).kind == Kind.END;
  }

  private static boolean is(Token t, String word) {
    return (t.kind == Kind.WORD || t.kind == Kind.SYMBOL) && t.text.equalsIgnoreCase(word);
  }

  /** Takes the given words if they come next, all or none of them. */
  boolean accept(String... words) {
    int i = at;
    for (String w : words) {
      if (!is(all.get(i), w)) {
        return false;
      }
      i++;
    }
    at = i;
    return true;
  }

  /** Takes one of the words, in upper case, or gives null. */
  String acceptAny(String... words) {
    for (String w : words) {
      if (accept(w)) {
        return w.toUpperCase(Locale.ROOT);
      }
    }
    return null;
  }

  void expect(String... words) {
    if (!accept(words)) {
      throw syntax("expected " + String.join(" ", words));
    }
  }

  String string() {
    if (peek().kind != Kind.STRING) {
      throw syntax("expected a string");
    }
    return next().text;
  }

  void end() {
    if (!done()) {
      throw syntax("unexpected '" + peek().text + "'");
    }
  }

  RuntimeException syntax(String problem) {
    String rest = sql.substring(peek().start).lines().findFirst().orElse("the end");
    return Errors.analysis("Syntax error: " + problem + " at '" + rest + "' in: " + sql.strip());
  }

  // --- what a statement mentions

  /** The first parts of all dotted names: any of them may be a catalog. */
  Set<String> firstParts() {
    Set<String> found = new LinkedHashSet<>();
    for (int i = 0; i + 2 < all.size(); i++) {
      boolean begins = i == 0 || !is(all.get(i - 1), ".");
      Token t = all.get(i);
      if (begins && t.name() && is(all.get(i + 1), ".") && all.get(i + 2).name()) {
        found.add(t.text);
      } else if (is(t, "CATALOG") && all.get(i + 1).name()) {
        found.add(all.get(i + 1).text);
      }
    }
    return found;
  }

  /** Whether names are computed: IDENTIFIER('…'). */
  boolean computesNames() {
    for (int i = 0; i + 1 < all.size(); i++) {
      if (is(all.get(i), "IDENTIFIER") && is(all.get(i + 1), "(")) {
        return true;
      }
    }
    return false;
  }
}
