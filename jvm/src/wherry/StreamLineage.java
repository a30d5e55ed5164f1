package wherry;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.spark.sql.streaming.SourceProgress;
import org.apache.spark.sql.streaming.StreamingQueryListener;
import org.apache.spark.sql.streaming.StreamingQueryProgress;

/** Lineage of streams, told by the descriptions of their sources and sink, which name paths. */
final class StreamLineage extends StreamingQueryListener {
  private static final Pattern NAMED =
      Pattern.compile("(?:DeltaSource|DeltaSink|FileStreamSource|FileSink)\\[(.*)\\]");

  private final Attached owner;

  StreamLineage(Attached owner) {
    this.owner = owner;
  }

  @Override
  public void onQueryStarted(QueryStartedEvent event) {}

  @Override
  public void onQueryProgress(QueryProgressEvent event) {
    StreamingQueryProgress p = event.progress();
    ObjectNode body = Api.object();
    body.put("run_id", owner.runId).put("operation", "STREAMING UPDATE");
    ArrayNode reads = body.putArray("reads");
    for (SourceProgress s : p.sources()) {
      add(reads, s.description());
    }
    ArrayNode writes = body.putArray("writes");
    add(writes, p.sink().description());
    if (!reads.isEmpty() || !writes.isEmpty()) {
      LineageQueue.offer(owner, body);
    }
  }

  private static void add(ArrayNode list, String description) {
    Matcher m = NAMED.matcher(description);
    if (m.find()) {
      list.addObject().put("path", m.group(1));
    }
  }

  @Override
  public void onQueryTerminated(QueryTerminatedEvent event) {}
}
