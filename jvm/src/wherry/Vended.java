package wherry;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.azurebfs.extensions.SASTokenProvider;

/**
 * Signatures for paths under external locations, which the server gives out to the run whose
 * session this file system serves: so it is for accounts for which nobody set credentials.
 */
public final class Vended implements SASTokenProvider {
  /** A signature is asked for anew this long before its end, for a long read begins with it. */
  private static final long SPARE_MS = 10 * 60_000;

  private static final Set<String> READS =
      Set.of(
          GET_ACL_OPERATION,
          GET_STATUS_OPERATION,
          GET_PROPERTIES_OPERATION,
          LIST_OPERATION,
          LIST_OPERATION_BLOB,
          READ_OPERATION);

  private static final List<String> CREDENTIALS =
      List.of(
          "fs.azure.account.auth.type",
          "fs.azure.account.key",
          "fs.azure.account.keyprovider",
          "fs.azure.sas.token.provider.type",
          "fs.azure.sas.fixed.token");

  private record Signed(String url, boolean write, String signature, long until) {
    boolean covers(String path) {
      return path.equals(url) || path.startsWith(url + "/");
    }
  }

  private final List<Signed> given = new CopyOnWriteArrayList<>();
  private Attached as;
  private String host;

  /** Whether paths of a host need signatures: it is a storage account's, with no credentials. */
  static boolean governs(String host, Configuration conf) {
    return host != null
        && host.endsWith(".dfs.core.windows.net")
        && Sessions.count() > 0
        && CREDENTIALS.stream()
            .noneMatch(
                k ->
                    conf.get(k) != null
                        || conf.getPropsWithPrefix(k + ".").keySet().stream()
                            .anyMatch(rest -> rest.equals(host) || rest.endsWith("." + host)));
  }

  /** The settings with which the stock driver asks this class. */
  static Configuration settings(String host, Configuration conf, String session) {
    Configuration c = new Configuration(conf);
    c.set("fs.azure.account.auth.type." + host, "SAS");
    c.set("fs.azure.sas.token.provider.type." + host, Vended.class.getName());
    // Else the driver asks, at the root, whether folders are real ones.
    c.set("fs.azure.account.hns.enabled." + host, "true");
    c.set(Sessions.ID, session);
    return c;
  }

  @Override
  public void initialize(Configuration conf, String account) {
    host = account;
    as = Sessions.byId(conf.get(Sessions.ID, ""));
  }

  @Override
  public String getSASToken(String account, String container, String path, String operation) {
    String url = "abfss://" + container + "@" + host + (path.startsWith("/") ? "" : "/") + path;
    boolean write = !READS.contains(operation);
    long soon = System.currentTimeMillis() + SPARE_MS;
    for (Signed s : given) {
      if (s.covers(url) && (s.write || !write) && s.until > soon) {
        return s.signature;
      }
    }
    return ask(url, write).signature;
  }

  private Signed ask(String url, boolean write) {
    ObjectNode body = Api.object();
    body.put("url", url).put("operation", write ? "PATH_READ_WRITE" : "PATH_READ");
    JsonNode answer = Api.call(as, "POST", Api.UC + "temporary-path-credentials", body);
    Signed s =
        new Signed(
            answer.path("url").asText(),
            write,
            answer.path("azure_user_delegation_sas").path("sas_token").asText(),
            answer.path("expiration_time").asLong());
    given.removeIf(o -> o.url.equals(s.url) && (write || !o.write));
    given.add(0, s);
    return s;
  }
}
