// A program of Java 8's time: HttpsURLConnection, and nothing newer than TLS 1.2 (-Dhttps.protocols=TLSv1.2).
// Proxy and trust store come from JAVA_TOOL_OPTIONS. Prints the cipher suite, then the answer.

import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.net.URL;
import javax.net.ssl.HttpsURLConnection;

class Java8 {
    public static void main(String[] arguments) throws Exception {
        HttpsURLConnection connection = (HttpsURLConnection) new URL(arguments[0]).openConnection();
        connection.setConnectTimeout(30000);
        connection.setReadTimeout(30000);
        ByteArrayOutputStream answer = new ByteArrayOutputStream();
        try (InputStream body = connection.getInputStream()) {
            System.out.println(connection.getCipherSuite());
            byte[] some = new byte[8192];
            for (int read = body.read(some); read >= 0; read = body.read(some)) {
                answer.write(some, 0, read);
            }
        }
        System.out.println(answer.toString("UTF-8"));
    }
}
