package wherry;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Deque;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedDeque;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.sql.classic.SparkSession;
import org.apache.spark.sql.internal.SQLConf;
import scala.Option;

/**
 * The sessions attached to this driver, and which of them a thread works for: the one that its
 * active Spark session belongs to, else the newest (streams' and pools' threads; all sessions of a
 * driver belong to one principal).
 */
final class Sessions {
  /** The conf entry that ties a Spark session, and its clones in streams, to an attached task. */
  static final String ID = "spark.wherry.session";

  static final String CATALOG_CLASS = "io.unitycatalog.wherry.Catalog";

  private static final String DEFAULT_CATALOG = "spark.sql.defaultCatalog";
  private static final String CATALOG_CONF = "spark.sql.catalog.";
  private static final Map<String, Attached> BY_ID = new ConcurrentHashMap<>();
  private static final Deque<Attached> NEWEST_FIRST = new ConcurrentLinkedDeque<>();

  private Sessions() {}

  static void add(Attached a) {
    BY_ID.put(a.id, a);
    NEWEST_FIRST.addFirst(a);
  }

  /** Forgets a session; null if it was already gone. */
  static Attached remove(String id) {
    Attached a = BY_ID.remove(id);
    if (a != null) {
      NEWEST_FIRST.remove(a);
      AzureFileSystem.forget(id);
    }
    return a;
  }

  /** The session that a Hadoop configuration was made for, else the one of this thread. */
  static String idOf(Configuration conf) {
    String id = conf.get(ID, "");
    if (BY_ID.containsKey(id)) {
      return id;
    }
    Attached a = current();
    return a == null ? "" : a.id;
  }

  /** The attached task of an id; null when it has gone. */
  static Attached byId(String id) {
    return BY_ID.get(id);
  }

  static int count() {
    return BY_ID.size();
  }

  /** The session that this thread works for; null before the first task attached. */
  static Attached current() {
    Option<SparkSession> active = SparkSession.getActiveSession();
    if (active.isDefined()) {
      Attached a = of(active.get());
      if (a != null) {
        return a;
      }
    }
    return NEWEST_FIRST.peekFirst();
  }

  /** The attached task that a Spark session belongs to, or null. */
  static Attached of(SparkSession s) {
    String id = s.sessionState().conf().getConfString(ID, "");
    return id.isEmpty() ? null : BY_ID.get(id);
  }

  /** Gives a new Spark session the settings of the task and the catalogs of the server. */
  static void configure(SparkSession s, Attached a) {
    SQLConf conf = s.sessionState().conf();
    conf.setConfString(ID, a.id);
    a.conf.forEach(conf::setConfString);
    for (JsonNode c : catalogs(a)) {
      register(conf, c.path("name").asText());
    }
    register(conf, "system");
    String current = a.conf.getOrDefault(DEFAULT_CATALOG, "");
    if (!current.isEmpty() && conf.getConfString(CATALOG_CONF + current, "").isEmpty()) {
      // Even SELECT 1 fails in Spark without its default catalog.
      conf.unsetConf(DEFAULT_CATALOG);
      System.err.println("wherry: no catalog " + current + ": Spark's own is the default one");
    }
  }

  /** Registers those of the names that are catalogs on the server and not yet known to s. */
  static void ensureCatalogs(SparkSession s, Set<String> names) {
    SQLConf conf = s.sessionState().conf();
    boolean unknown = false;
    for (String n : names) {
      unknown |= conf.getConfString(CATALOG_CONF + n, "").isEmpty();
    }
    Attached a = unknown ? current() : null;
    if (a == null) {
      return;
    }
    for (JsonNode c : catalogs(a)) {
      String known = c.path("name").asText();
      register(conf, known);
      // Names are as their author typed them; the server knows them in lower case.
      names.stream().filter(known::equalsIgnoreCase).forEach(n -> register(conf, n));
    }
  }

  /** Registers every catalog of the server with s, whatever it knows already. */
  static void refreshCatalogs(SparkSession s) {
    Attached a = current();
    if (a != null) {
      catalogs(a).forEach(c -> register(s.sessionState().conf(), c.path("name").asText()));
    }
  }

  private static Iterable<JsonNode> catalogs(Attached a) {
    return Api.call(a, "GET", Api.UC + "catalogs", null).path("catalogs");
  }

  private static void register(SQLConf conf, String name) {
    String key = CATALOG_CONF + name;
    if (conf.getConfString(key, "").isEmpty()) {
      conf.setConfString(key, CATALOG_CLASS);
    }
  }
}
