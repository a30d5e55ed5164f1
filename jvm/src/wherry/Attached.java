package wherry;

import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.classic.SparkSession;

/**
 * One task's hold on the driver: its Spark session, its Py4J server, and in whose name the session
 * calls the wherry server. It is also the entry point that the task's Python sees.
 */
public final class Attached {
  final String id;
  final long runId;
  final String token;
  final String apiUrl;
  final Map<String, String> conf;
  final SparkSession session;
  final JavaSparkContext context;

  /** What the lineage listener has already reported for this session. */
  final Set<String> reported = ConcurrentHashMap.newKeySet();

  volatile py4j.ClientServer server;

  Attached(
      String id,
      long runId,
      String token,
      String apiUrl,
      Map<String, String> conf,
      SparkSession session,
      JavaSparkContext context) {
    this.id = id;
    this.runId = runId;
    this.token = token;
    this.apiUrl = apiUrl;
    this.conf = conf;
    this.session = session;
    this.context = context;
  }

  // --- what Python calls

  public JavaSparkContext jsc() {
    return context;
  }

  public SparkSession session() {
    return session;
  }

  /** A further session of the same task, as spark.newSession() asks for. */
  public SparkSession newSession() {
    SparkSession s = session.newSession();
    Sessions.configure(s, this);
    return s;
  }

  /** Cancels what this task runs, and nothing of the others. */
  public void cancelAll() {
    session.interruptAll();
    context.sc().cancelJobsWithTag(Lifeline.jobTag(id), "cancelled by the task");
  }

  /** Makes a catalog known that came into being after this session did. */
  public void ensureCatalog(String name) {
    Sessions.ensureCatalogs(session, Set.of(name));
  }
}
