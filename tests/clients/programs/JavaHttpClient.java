// java.net.http.HttpClient of Java 17: proxy and trust store from JAVA_TOOL_OPTIONS. It prefers HTTP/2.
// One file, run from source; answers are read with small patterns, for Java brings no JSON.

import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import java.util.zip.GZIPInputStream;

class JavaHttpClient {
    static final String SP_API = "https://sellingpartnerapi-na.amazon.com";
    static final String TOKEN_URL = "https://api.amazon.com/auth/o2/token";
    static final String PLACEHOLDER = "spx-placeholder";
    static final HttpClient CLIENT = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(30)).build();
    static final List<String> CALLS = new ArrayList<>();
    static String token = PLACEHOLDER;
    static String version = "";

    interface Call {
        String run() throws Exception;
    }

    interface Note {
        String of(String answer) throws Exception;
    }

    public static void main(String[] arguments) {
        take("exchange", JavaHttpClient::exchange, answer -> "for " + field(answer, "expires_in") + " s");
        take("getMarketplaceParticipations", () -> get("/sellers/v1/marketplaceParticipations"),
                answer -> "with " + field(answer, "countryCode"));
        String orders = take("getOrders",
                () -> get("/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER&CreatedAfter=2026-01-01T00%3A00%3A00Z"),
                answer -> "order " + field(answer, "AmazonOrderId"));
        String path = "/orders/v0/orders/" + field(orders, "AmazonOrderId");
        take("getOrder", () -> get(path), answer -> {
            field(answer, "BuyerName");
            return address(answer);
        });
        take("getOrderAddress", () -> get(path + "/address"), JavaHttpClient::address);

        String wanted = "{\"reportType\":\"GET_MERCHANT_LISTINGS_ALL_DATA\",\"marketplaceIds\":[\"ATVPDKIKX0DER\"]}";
        String created = take("createReport", () -> post("/reports/2021-06-30/reports", wanted),
                answer -> "report " + field(answer, "reportId"));
        String report = take("getReport", () -> untilDone("/reports/2021-06-30/reports/" + field(created, "reportId")),
                answer -> field(answer, "processingStatus"));
        String details = take("getReportDocument",
                () -> get("/reports/2021-06-30/documents/" + field(report, "reportDocumentId")),
                answer -> "at " + URI.create(field(answer, "url")).getHost());
        take("download", () -> download(details), text -> need(text.strip(), "the text of the document").length() + " characters");
        close(true);
    }

    static String exchange() throws Exception {
        String refresh = System.getenv().getOrDefault("APP_REFRESH_TOKEN", PLACEHOLDER);
        String form = "grant_type=refresh_token&refresh_token=" + refresh + "&client_id=" + PLACEHOLDER + "&client_secret=" + PLACEHOLDER;
        HttpRequest request = HttpRequest.newBuilder(URI.create(TOKEN_URL)).timeout(Duration.ofSeconds(30))
                .header("content-type", "application/x-www-form-urlencoded;charset=UTF-8")
                .POST(HttpRequest.BodyPublishers.ofString(form)).build();
        String answer = new String(send(request), StandardCharsets.UTF_8);
        token = field(answer, "access_token");
        return answer;
    }

    static HttpRequest.Builder call(String path) {
        return HttpRequest.newBuilder(URI.create(SP_API + path)).timeout(Duration.ofSeconds(30))
                .header("x-amz-access-token", token).header("user-agent", "clients/1.0 (Language=Java)");
    }

    static String get(String path) throws Exception {
        return new String(send(call(path).GET().build()), StandardCharsets.UTF_8);
    }

    static String post(String path, String body) throws Exception {
        HttpRequest.Builder request = call(path).header("content-type", "application/json");
        return new String(send(request.POST(HttpRequest.BodyPublishers.ofString(body)).build()), StandardCharsets.UTF_8);
    }

    static byte[] send(HttpRequest request) throws Exception {
        HttpResponse<byte[]> answer = CLIENT.send(request, HttpResponse.BodyHandlers.ofByteArray());
        version = answer.version() == HttpClient.Version.HTTP_2 ? "2" : "1.1";
        if (answer.statusCode() / 100 != 2) {
            throw new IllegalStateException("status " + answer.statusCode() + ": " + new String(answer.body(), StandardCharsets.UTF_8));
        }
        return answer.body();
    }

    static String untilDone(String path) throws Exception {
        for (int poll = 0; poll < 20; poll++) {
            String report = get(path);
            String status = field(report, "processingStatus");
            if (status.equals("DONE")) {
                return report;
            }
            if (!status.startsWith("IN_")) {
                break;
            }
            Thread.sleep(250);
        }
        throw new IllegalStateException("the report is not done");
    }

    static String download(String details) throws Exception {
        byte[] body = send(HttpRequest.newBuilder(URI.create(field(details, "url"))).timeout(Duration.ofSeconds(30)).build());
        boolean packed = details.contains("\"GZIP\"");
        return new String(packed ? new GZIPInputStream(new ByteArrayInputStream(body)).readAllBytes() : body, StandardCharsets.UTF_8);
    }

    static String address(String answer) {
        need(answer.contains("\"ShippingAddress\"") ? "there" : "", "ShippingAddress");
        field(answer, "Name");
        field(answer, "AddressLine1");
        return "with the buyer's address";
    }

    /** The first string or number of that name, unescaped as far as these answers need it. */
    static String field(String json, String name) {
        var found = Pattern.compile("\"" + name + "\"\\s*:\\s*(?:\"((?:[^\"\\\\]|\\\\.)*)\"|(\\d+))").matcher(json);
        String value = !found.find() ? "" : found.group(1) != null ? found.group(1) : found.group(2);
        return need(value.replace("\\u0026", "&").replace("\\/", "/"), name);
    }

    static String need(String value, String what) {
        if (value.isEmpty()) {
            throw new IllegalStateException(what + " is missing");
        }
        return value;
    }

    static String take(String name, Call call, Note note) {
        try {
            String answer = call.run();
            CALLS.add(line(name, true, note.of(answer)));
            return answer;
        } catch (Exception error) {
            String text = String.valueOf(error);
            CALLS.add(line(name, false, text.substring(0, Math.min(600, text.length()))));
            close(false);
            throw new IllegalStateException(error);
        }
    }

    static String line(String name, boolean ok, String note) {
        return "{\"name\":\"" + name + "\",\"ok\":" + ok + ",\"note\":\"" + escape(note) + "\"}";
    }

    static String escape(String text) {
        return text.replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("\\p{Cntrl}", " ");
    }

    static void close(boolean ok) {
        System.out.println("{\"client\":\"Java HttpClient\",\"http\":\"" + version + "\",\"calls\":["
                + String.join(",", CALLS) + "],\"ok\":" + ok + "}");
        System.exit(ok ? 0 : 1);
    }
}
