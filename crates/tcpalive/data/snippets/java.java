import java.io.IOException;
import java.net.Socket;
import java.net.StandardSocketOptions;
import jdk.net.ExtendedSocketOptions;

final class KeepAlive {
    // Java 11 or later, on Linux. It has no user timeout.
    static void enable(Socket socket) throws IOException {
        socket.setOption(StandardSocketOptions.SO_KEEPALIVE, true);
        socket.setOption(ExtendedSocketOptions.TCP_KEEPIDLE, @idle@);
        socket.setOption(ExtendedSocketOptions.TCP_KEEPINTERVAL, @interval@);
        socket.setOption(ExtendedSocketOptions.TCP_KEEPCOUNT, @count@);
    }
}
