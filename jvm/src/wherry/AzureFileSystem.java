package wherry;

import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.DelegateToFileSystem;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.FilterFileSystem;

/**
 * Hadoop's own driver for abfs and abfss, one instance for each set of credentials. Hadoop keeps
 * file systems by host and user only, so that a session with other credentials, or with mended
 * ones, would go on with those of the first. Where there are none, each attached session has an
 * instance that asks the server for them.
 */
public class AzureFileSystem extends FilterFileSystem {
  private static final String STOCK = "org.apache.hadoop.fs.azurebfs.";
  private static final String SETTINGS = "fs.azure.";
  private static final Map<String, FileSystem> OPEN = new ConcurrentHashMap<>();

  private String scheme = "abfss";

  @Override
  public String getScheme() {
    return scheme;
  }

  @Override
  public void initialize(URI name, Configuration conf) throws IOException {
    scheme = name.getScheme();
    setConf(conf);
    statistics = FileSystem.getStatistics(scheme, getClass());
    String key = scheme + "://" + name.getRawAuthority() + " " + digest(conf);
    Configuration used = conf;
    if (Vended.governs(name.getHost(), conf)) {
      String session = Sessions.idOf(conf);
      key += " " + session;
      used = Vended.settings(name.getHost(), conf, session);
    }
    synchronized (OPEN) {
      fs = OPEN.get(key);
      if (fs == null) {
        fs = stock(name, used);
        OPEN.put(key, fs);
      }
    }
  }

  /** Lets go of the instances that asked in the name of a session that has ended. */
  static void forget(String session) {
    synchronized (OPEN) {
      OPEN.keySet().removeIf(key -> key.endsWith(" " + session));
    }
  }

  private static FileSystem stock(URI name, Configuration conf) throws IOException {
    String cls = name.getScheme().equals("abfs") ? "Azure" : "SecureAzure";
    try {
      FileSystem made =
          (FileSystem)
              Class.forName(STOCK + cls + "BlobFileSystem").getDeclaredConstructor().newInstance();
      made.initialize(name, conf);
      return made;
    } catch (ReflectiveOperationException e) {
      throw new IOException("hadoop-azure is not on the class path", e);
    }
  }

  private static String digest(Configuration conf) {
    // Hashed, because the values are secrets.
    Map<String, String> settings = new TreeMap<>(conf.getPropsWithPrefix(SETTINGS));
    try {
      byte[] sum =
          MessageDigest.getInstance("SHA-256")
              .digest(settings.toString().getBytes(StandardCharsets.UTF_8));
      return HexFormat.of().formatHex(sum);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  /** The instance below is shared. */
  @Override
  public void close() {}

  /** The same for Hadoop's FileContext, which streaming checkpoints use. */
  public static class Abs extends DelegateToFileSystem {
    public Abs(URI uri, Configuration conf) throws Exception {
      super(uri, new AzureFileSystem(), conf, uri.getScheme(), false);
    }

    @Override
    public int getUriDefaultPort() {
      return -1;
    }
  }
}
