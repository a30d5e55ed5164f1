package wherry;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.Reader;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.classic.SparkSession;
import py4j.ClientServer;

/**
 * One Spark driver for many tasks. Started with the name of a properties file, it makes the Spark
 * context, prints one line of JSON when it is ready, and then answers requests on a unix socket, one
 * line of JSON each: health, attach (a session and a Py4J server of its own), detach. It ends when
 * its standard input does, so never later than the agent that started it.
 */
public final class Driver {
  private static final InetAddress LOOPBACK = InetAddress.getLoopbackAddress();

  private final SparkSession base;
  private final JavaSparkContext context;
  private final String secret;
  private final Lifeline lifeline;

  /** A session made ahead, because its first state costs what an attach should not. */
  private SparkSession spare;

  private Driver(SparkSession base, String secret) throws IOException {
    this.base = base;
    this.context = JavaSparkContext.fromSparkContext(base.sparkContext());
    this.secret = secret;
    this.lifeline = new Lifeline(this::detach);
  }

  /** args: the properties file. */
  public static void main(String[] args) throws Exception {
    long started = started();
    Properties settings = new Properties();
    try (Reader r = Files.newBufferedReader(Path.of(args[0]))) {
      settings.load(r);
    }
    SparkConf conf = new SparkConf();
    for (String key : settings.stringPropertyNames()) {
      if (!key.startsWith("wherry.")) {
        conf.set(key, settings.getProperty(key));
      }
    }
    if (settings.containsKey("wherry.training")) {
      SparkSession s = SparkSession.builder().config(conf).getOrCreate();
      Training.run(s, Path.of(settings.getProperty("wherry.training")));
      s.stop();
      System.exit(0);
    }
    thread("wherry-parent", Driver::endWithParent);
    SparkSession base = SparkSession.builder().config(conf).getOrCreate();
    String secret = Files.readString(Path.of(settings.getProperty("wherry.secret"))).strip();
    Driver driver = new Driver(base, secret);
    Control control = new Control(Path.of(settings.getProperty("wherry.control")), driver::answer);
    thread("wherry-warm", driver::warm);
    ObjectNode ready = Api.object();
    ready.put("ready", true).put("pid", ProcessHandle.current().pid());
    ready.put("ms", System.currentTimeMillis() - started);
    System.out.println(ready);
    System.out.flush();
    control.serve();
  }

  private static long started() {
    return ProcessHandle.current()
        .info()
        .startInstant()
        .map(java.time.Instant::toEpochMilli)
        .orElseGet(System::currentTimeMillis);
  }

  static void thread(String name, Runnable body) {
    Thread t = new Thread(body, name);
    t.setDaemon(true);
    t.start();
  }

  private static void endWithParent() {
    try {
      while (System.in.read() >= 0) {
        // The agent never writes; only the end of the stream matters.
      }
    } catch (IOException e) {
      // The same as its end.
    }
    // Shutdown hooks remove the temporary folders, but must not keep the process.
    thread(
        "wherry-halt",
        () -> {
          try {
            Thread.sleep(5000);
          } catch (InterruptedException e) {
            // Halt at once.
          }
          Runtime.getRuntime().halt(1);
        });
    System.exit(0);
  }

  /** Runs what the first query of a task would otherwise wait for. */
  private void warm() {
    try {
      nextSpare();
      base.range(10).count();
    } catch (RuntimeException e) {
      System.err.println("wherry: warming up: " + e);
    }
  }

  private void nextSpare() {
    SparkSession s = base.newSession();
    s.sessionState().conf();
    s.sessionState().analyzer();
    synchronized (this) {
      spare = s;
    }
  }

  private SparkSession takeSession() {
    SparkSession s;
    synchronized (this) {
      s = spare;
      spare = null;
    }
    return s != null ? s : base.newSession();
  }

  /** Answers one request of the agent. */
  private JsonNode answer(JsonNode request) {
    byte[] given = request.path("secret").asText().getBytes(StandardCharsets.UTF_8);
    if (!MessageDigest.isEqual(given, secret.getBytes(StandardCharsets.UTF_8))) {
      return error("wrong secret");
    }
    try {
      return switch (request.path("op").asText()) {
        case "health" -> health();
        case "attach" -> attach(request);
        case "detach" -> {
          detach(request.path("id").asText());
          yield Api.object().put("ok", true);
        }
        default -> error("unknown request " + request.path("op"));
      };
    } catch (RuntimeException e) {
      return error(e.getMessage() == null ? e.toString() : e.getMessage());
    }
  }

  private JsonNode health() {
    ObjectNode out = Api.object().put("sessions", Sessions.count());
    out.put("jobs", context.statusTracker().getActiveJobIds().length);
    return out;
  }

  private static JsonNode error(String message) {
    return Api.object().put("error", message);
  }

  private JsonNode attach(JsonNode request) {
    String id = UUID.randomUUID().toString();
    Map<String, String> conf = new HashMap<>();
    request.path("conf").properties().forEach(e -> conf.put(e.getKey(), e.getValue().asText()));
    SparkSession session = takeSession();
    Attached a =
        new Attached(
            id,
            request.path("run_id").asLong(),
            request.path("token").asText(),
            request.path("api_url").asText(),
            conf,
            session,
            context);
    Sessions.add(a);
    try {
      Sessions.configure(session, a);
      useSchema(session, request.path("schema").asText(""));
      session.streams().addListener(new StreamLineage(a));
      // Threads that no session is active on see the newest one.
      SparkSession.setDefaultSession(session);
      String password = password();
      a.server =
          new ClientServer.ClientServerBuilder()
              .authToken(password)
              .javaPort(0)
              .javaAddress(LOOPBACK)
              .entryPoint(a)
              .build();
      a.server.startServer();
      ObjectNode out = Api.object().put("id", id).put("secret", password);
      out.put("port", a.server.getJavaServer().getListeningPort());
      out.put("lifeline", lifeline.port());
      return out;
    } catch (RuntimeException e) {
      detach(id);
      throw e;
    } finally {
      thread("wherry-spare", this::nextSpare);
    }
  }

  private static void useSchema(SparkSession session, String schema) {
    if (schema.isEmpty() || schema.equals("default")) {
      return;
    }
    session.sessionState().catalogManager().setCurrentNamespace(new String[] {schema});
  }

  private static String password() {
    byte[] b = new byte[24];
    new SecureRandom().nextBytes(b);
    return HexFormat.of().formatHex(b);
  }

  /** Ends what a task still runs, reports its lineage and closes its server. Idempotent. */
  private void detach(String id) {
    Attached a = Sessions.remove(id);
    if (a == null) {
      return;
    }
    for (var q : a.session.streams().active()) {
      try {
        q.stop();
      } catch (Exception e) {
        System.err.println("wherry: stop stream " + q.name() + ": " + e);
      }
    }
    a.cancelAll();
    if (a.server != null) {
      a.server.shutdown();
    }
    LineageQueue.drain(context.sc());
  }
}
