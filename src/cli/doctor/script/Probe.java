// Asks the sidecar for one call as HttpsURLConnection and, by the same selector, OkHttp do.
import java.net.URI;
import javax.net.ssl.HttpsURLConnection;

public class Probe {
    public static void main(String[] arguments) {
        String outcome;
        String detail = "";
        try {
            var connection = (HttpsURLConnection) URI.create(arguments[0]).toURL().openConnection();
            connection.setConnectTimeout(8000);
            connection.setReadTimeout(8000);
            connection.getResponseCode();
            outcome = connection.getHeaderField("x-spapi-sidecar-request-id") == null ? "direct" : "sidecar";
            var code = connection.getHeaderField("x-spapi-sidecar-error");
            detail = code == null ? "" : code;
        } catch (Exception error) {
            var text = new StringBuilder();
            for (Throwable link = error; link != null; link = link.getCause()) text.append(' ').append(link);
            detail = text.toString().trim();
            outcome = detail.contains("407") ? "login"
                : detail.contains("PKIX") || detail.contains("CertPath") || detail.contains("trustAnchors") ? "untrusted"
                : "unreachable";
        }
        detail = detail.replaceAll("[^ -~]", " ").replace("\\", "/").replace("\"", "'");
        if (detail.length() > 300) detail = detail.substring(0, 300);
        System.out.println("{\"name\":\"java\",\"version\":\"" + System.getProperty("java.version") + "\",\"outcome\":\"" + outcome
            + "\",\"detail\":\"" + detail + "\"}");
    }
}
