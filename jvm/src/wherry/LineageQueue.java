package wherry;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.spark.SparkContext;

/** Posts lineage behind the queries' backs: no query waits for it, a detach does. */
final class LineageQueue {
  /** The work must not throw checked exceptions; what else it throws is no query's matter. */
  private record Item(Runnable work) {}

  /** How long a detach waits for the last reports, in milliseconds. */
  private static final long DRAIN_MS = 10_000;

  private static final BlockingQueue<Item> QUEUE = new LinkedBlockingQueue<>(10_000);
  private static final AtomicLong OPEN = new AtomicLong();

  static {
    Driver.thread("wherry-lineage", LineageQueue::post);
  }

  private LineageQueue() {}

  static void offer(Attached from, JsonNode body) {
    if (from.reported.add(body.toString())) {
      run(() -> Api.call(from, "POST", "/api/wherry/lineage", body));
    }
  }

  /** Does something after what was offered before; a detach waits for it too. */
  static void run(Runnable work) {
    OPEN.incrementAndGet();
    if (!QUEUE.offer(new Item(work))) {
      done();
    }
  }

  private static void post() {
    while (true) {
      try {
        QUEUE.take().work.run();
      } catch (InterruptedException e) {
        return;
      } catch (RuntimeException e) {
        // Lineage is an observation: it never fails a query, and a server without it is no error.
      }
      done();
    }
  }

  private static void done() {
    synchronized (OPEN) {
      OPEN.decrementAndGet();
      OPEN.notifyAll();
    }
  }

  /** Waits until Spark's listeners have seen all that happened and all of it is posted. */
  static void drain(SparkContext sc) {
    long end = System.currentTimeMillis() + DRAIN_MS;
    try {
      sc.listenerBus().waitUntilEmpty(DRAIN_MS);
      synchronized (OPEN) {
        while (OPEN.get() > 0 && System.currentTimeMillis() < end) {
          OPEN.wait(100);
        }
      }
    } catch (java.util.concurrent.TimeoutException e) {
      System.err.println("wherry: lineage is late: " + e.getMessage());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
