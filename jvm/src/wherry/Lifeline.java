package wherry;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.function.Consumer;

/**
 * Tells when a task's process dies. Each process keeps one connection here, over which it has sent
 * its session's id; Py4J's own connections tell nothing while they wait for a long query.
 */
final class Lifeline {
  private final ServerSocket server;

  Lifeline(Consumer<String> died) throws IOException {
    server = new ServerSocket(0, 64, InetAddress.getLoopbackAddress());
    Driver.thread("wherry-lifeline", () -> accept(died));
  }

  int port() {
    return server.getLocalPort();
  }

  /** The Spark job tag of a task's own threads. */
  static String jobTag(String id) {
    return "wherry-" + id;
  }

  private void accept(Consumer<String> died) {
    while (true) {
      try {
        Socket s = server.accept();
        Driver.thread("wherry-lifeline-of", () -> hold(s, died));
      } catch (IOException e) {
        System.err.println("wherry: lifeline: " + e);
        return;
      }
    }
  }

  private static void hold(Socket socket, Consumer<String> died) {
    String id = null;
    try (socket;
        BufferedReader in =
            new BufferedReader(
                new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8))) {
      id = in.readLine();
      while (in.readLine() != null) {
        // Nothing is said here.
      }
    } catch (IOException e) {
      // Reset: the process is gone.
    }
    if (id != null) {
      died.accept(id);
    }
  }
}
