package wherry;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import org.apache.spark.sql.classic.SparkSession;
import scala.Option;

/**
 * Names the task run in the commitInfo of a Delta commit. The log stores add it: Delta's own
 * userMetadata is the user's to set.
 */
final class Signature {
  private static final String COMMIT_INFO = "{\"commitInfo\":{";

  private Signature() {}

  /** The actions of a commit, signed if the session of this thread is a task's. */
  static Iterator<String> sign(Iterator<String> actions) {
    Option<SparkSession> active = SparkSession.getActiveSession();
    Attached a = active.isDefined() ? Sessions.of(active.get()) : null;
    if (a == null || a.runId == 0) {
      return actions;
    }
    String signed = COMMIT_INFO + "\"wherry\":{\"run_id\":" + a.runId + "},";
    List<String> all = new ArrayList<>();
    actions.forEachRemaining(
        x -> all.add(x.startsWith(COMMIT_INFO) ? signed + x.substring(COMMIT_INFO.length()) : x));
    return all.iterator();
  }
}
