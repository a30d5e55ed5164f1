package wherry;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.net.ConnectException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Calls of the wherry server in the name of an attached session. A server that is being restarted
 * is waited for: the job must not notice.
 */
public final class Api {
  /** The prefix of the catalog's endpoints. */
  public static final String UC = "/api/2.1/unity-catalog/";

  static final ObjectMapper JSON = new ObjectMapper();

  /** How long a call is repeated while no server answers, in milliseconds. */
  private static final long PATIENCE_MS = 120_000;

  private static final class Http {
    // In a class of its own, so that the first call loads it, not the start of the driver.
    static final HttpClient CLIENT =
        HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .proxy(HttpClient.Builder.NO_PROXY)
            .connectTimeout(Duration.ofSeconds(10))
            .build();
  }

  /** The server's refusal of a call; PySpark shows the message of this class as it is. */
  public static final class ApiException extends IllegalArgumentException {
    public final int status;
    public final String code;

    ApiException(int status, String code, String message) {
      super(message);
      this.status = status;
      this.code = code;
    }

    /** Whether what the call names does not exist. */
    public boolean notFound() {
      return status == 404;
    }

    /** Whether the name is taken. */
    public boolean exists() {
      return status == 409 || code.endsWith("ALREADY_EXISTS");
    }
  }

  private Api() {}

  /** A new JSON object to fill. */
  public static ObjectNode object() {
    return JSON.createObjectNode();
  }

  /** Escapes one segment of a path or one value of a query. */
  public static String escape(String s) {
    return URLEncoder.encode(s, StandardCharsets.UTF_8).replace("+", "%20");
  }

  public static JsonNode get(String path) {
    return call("GET", path, null);
  }

  /** GET that gives nothing where the server says 404. */
  public static Optional<JsonNode> find(String path) {
    try {
      return Optional.of(get(path));
    } catch (ApiException e) {
      if (e.notFound()) {
        return Optional.empty();
      }
      throw e;
    }
  }

  /** All items of a paged list: the values of field over all pages. */
  public static List<JsonNode> list(String path, String field) {
    List<JsonNode> all = new ArrayList<>();
    String next = path;
    while (true) {
      JsonNode page = get(next);
      page.path(field).forEach(all::add);
      String token = page.path("next_page_token").asText("");
      if (token.isEmpty()) {
        return all;
      }
      next = path + (path.contains("?") ? "&" : "?") + "page_token=" + escape(token);
    }
  }

  /** Sends a call as the session of this thread and returns the answer's JSON. */
  public static JsonNode call(String method, String path, JsonNode body) {
    return call(Sessions.current(), method, path, body);
  }

  /** Sends a call as the given session. */
  public static JsonNode call(Attached as, String method, String path, JsonNode body) {
    if (as == null) {
      throw new IllegalStateException("no task is attached to this Spark driver");
    }
    HttpRequest.BodyPublisher content =
        body == null
            ? HttpRequest.BodyPublishers.noBody()
            : HttpRequest.BodyPublishers.ofString(body.toString());
    HttpRequest request =
        HttpRequest.newBuilder(URI.create(as.apiUrl + path))
            .timeout(Duration.ofMillis(PATIENCE_MS))
            .header("Authorization", "Bearer " + as.token)
            .header("Content-Type", "application/json")
            .method(method, content)
            .build();
    return answer(method, path, send(request));
  }

  private static HttpResponse<String> send(HttpRequest request) {
    long end = System.currentTimeMillis() + PATIENCE_MS;
    for (long pause = 20; ; pause = Math.min(2 * pause, 1000)) {
      try {
        HttpResponse<String> r =
            Http.CLIENT.send(request, HttpResponse.BodyHandlers.ofString(StandardCharsets.UTF_8));
        if (r.statusCode() != 503 || System.currentTimeMillis() > end) {
          return r;
        }
        Thread.sleep(pause);
      } catch (IOException e) {
        if (System.currentTimeMillis() > end) {
          String what = e instanceof ConnectException ? "cannot be reached" : "does not answer";
          throw new IllegalStateException("the wherry server " + what + ": " + e, e);
        }
        sleep(pause);
      } catch (InterruptedException e) {
        throw interrupted();
      }
    }
  }

  private static void sleep(long ms) {
    try {
      Thread.sleep(ms);
    } catch (InterruptedException e) {
      throw interrupted();
    }
  }

  private static RuntimeException interrupted() {
    Thread.currentThread().interrupt();
    return new IllegalStateException("cancelled while waiting for the wherry server");
  }

  private static JsonNode answer(String method, String path, HttpResponse<String> r) {
    JsonNode json = null;
    try {
      json = r.body().isEmpty() ? object() : JSON.readTree(r.body());
    } catch (IOException e) {
      // Not JSON: the status alone has to do.
    }
    if (r.statusCode() / 100 == 2 && json != null) {
      return json;
    }
    String code = json == null ? "" : json.path("error_code").asText("");
    String message = json == null ? "" : json.path("message").asText("");
    if (message.isEmpty()) {
      message = "the wherry server answered " + r.statusCode() + " to " + method + " " + path;
    }
    throw new ApiException(r.statusCode(), code, message);
  }
}
