package wherry;

import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.spark.sql.catalyst.analysis.UnresolvedFunction;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;
import org.apache.spark.sql.classic.SparkSession;
import org.apache.spark.sql.connector.catalog.CatalogManager;
import scala.Function1;
import scala.jdk.javaapi.CollectionConverters;
import scala.runtime.AbstractPartialFunction;

/**
 * SQL functions with three-level names. Spark keeps SQL functions in its session catalog only, so
 * {@code c.s.f} is kept there as {@code default.c__s__f}, and calls are led to it. They live as long
 * as the driver.
 */
final class Functions {
  private static final Set<String> KNOWN = ConcurrentHashMap.newKeySet();

  private Functions() {}

  /** Leads CREATE, DROP and DESCRIBE FUNCTION to the session catalog; null for other statements. */
  static String rewrite(SparkSession session, Tokens t) {
    t.back(0);
    String verb = t.acceptAny("CREATE", "DROP", "DESCRIBE", "DESC");
    if (verb == null) {
      return null;
    }
    t.accept("OR", "REPLACE");
    if (!t.accept("FUNCTION")) {
      return null;
    }
    t.accept("EXTENDED");
    if (!t.accept("IF", "NOT", "EXISTS")) {
      t.accept("IF", "EXISTS");
    }
    if (!t.peek().name()) {
      return null;
    }
    int start = t.peek().start();
    java.util.ArrayList<String> parts = new java.util.ArrayList<>();
    int end;
    do {
      Tokens.Token p = t.next();
      parts.add(p.text());
      end = p.end();
    } while (t.accept("."));
    String key = key(session, parts);
    if (key == null || (verb.startsWith("DESC") && !KNOWN.contains(key))) {
      return null;
    }
    if (verb.equals("CREATE")) {
      KNOWN.add(key);
    }
    return t.sql.substring(0, start) + "spark_catalog.default.`" + key + "`" + t.sql.substring(end);
  }

  /** The name in the session catalog, or null for a function that is there already. */
  private static String key(SparkSession session, List<String> parts) {
    CatalogManager m = session.sessionState().catalogManager();
    String catalog = parts.size() > 2 ? parts.get(0) : m.currentCatalog().name();
    String[] namespace = m.currentNamespace();
    String schema =
        parts.size() > 1
            ? parts.get(parts.size() - 2)
            : namespace.length == 0 ? "default" : namespace[namespace.length - 1];
    if (catalog.equals("spark_catalog") || catalog.equals("system")) {
      return null;
    }
    String name = parts.get(parts.size() - 1);
    return (catalog + "__" + schema + "__" + name).toLowerCase(Locale.ROOT);
  }

  /** Leads the calls of known functions to where they are kept. */
  static LogicalPlan resolve(SparkSession session, LogicalPlan plan) {
    if (KNOWN.isEmpty()) {
      return plan;
    }
    return plan.transformAllExpressionsWithSubqueries(new Calls(session));
  }

  private static final class Calls extends AbstractPartialFunction<Expression, Expression> {
    private final SparkSession session;

    Calls(SparkSession session) {
      this.session = session;
    }

    private String known(Expression e) {
      if (!(e instanceof UnresolvedFunction f)) {
        return null;
      }
      String key = key(session, CollectionConverters.asJava(f.nameParts()));
      return key != null && KNOWN.contains(key) ? key : null;
    }

    @Override
    public boolean isDefinedAt(Expression e) {
      return known(e) != null;
    }

    @Override
    @SuppressWarnings("unchecked")
    public <A1 extends Expression, B1> B1 applyOrElse(A1 e, Function1<A1, B1> otherwise) {
      String key = known(e);
      if (key == null) {
        return otherwise.apply(e);
      }
      UnresolvedFunction f = (UnresolvedFunction) (Expression) e;
      var name = CollectionConverters.asScala(List.of("spark_catalog", "default", key)).toList();
      return (B1)
          f.copy(
              name,
              f.arguments(),
              f.isDistinct(),
              f.filter(),
              f.ignoreNulls(),
              f.orderingWithinGroup(),
              f.isInternal());
    }
  }
}
