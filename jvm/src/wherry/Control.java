package wherry;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.Function;

/** The agent's socket: a line of JSON in, a line of JSON out, as often as the connection lasts. */
final class Control {
  private final ServerSocketChannel server;
  private final Function<JsonNode, JsonNode> answer;

  Control(Path socket, Function<JsonNode, JsonNode> answer) throws IOException {
    this.answer = answer;
    Files.deleteIfExists(socket);
    server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    server.bind(UnixDomainSocketAddress.of(socket));
  }

  /** Answers until the process ends. */
  void serve() throws IOException {
    while (true) {
      SocketChannel connection = server.accept();
      Driver.thread("wherry-control", () -> talk(connection));
    }
  }

  private void talk(SocketChannel connection) {
    try (connection;
        BufferedReader in =
            new BufferedReader(
                new InputStreamReader(
                    Channels.newInputStream(connection), StandardCharsets.UTF_8))) {
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        byte[] out =
            (answer.apply(Api.JSON.readTree(line)) + "\n").getBytes(StandardCharsets.UTF_8);
        Channels.newOutputStream(connection).write(out);
      }
    } catch (IOException e) {
      // The agent went away; it will connect again.
    }
  }
}
