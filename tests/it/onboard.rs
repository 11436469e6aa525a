//! From consent to a stored grant, with the sandbox's consent page in Amazon's place.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use spapi_sidecar::sandbox::{Options, Sandbox};

use crate::support::command::counters;

const APPLICATION: &str = "amzn1.sellerapps.app.0000";

/// A folder with a configuration, a sealed store that holds the app, and the sandbox.
struct Place {
    folder: tempfile::TempDir,
    sandbox: Sandbox,
}

impl Place {
    async fn new() -> Self {
        crate::support::crypto();
        let sandbox = Sandbox::start(Options::default()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("sandbox.pem"), sandbox.ca_pem()).unwrap();
        let key = at("store.key");
        std::fs::write(&key, "ab".repeat(32)).unwrap();
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        let here = sandbox.address();
        let text = format!(
            "version: 1
listen: {{ proxy: [\"127.0.0.1:0\"], admin: \"127.0.0.1:0\", admin_token_file: admin.token }}
interception: {{ ca: {{ cert_path: ca.pem, bundle_path: ca-bundle.pem }} }}
upstream:
  trust: {{ ca_file: sandbox.pem }}
  connect_to: {{ \"api.amazon.com:443\": \"{here}\", \"sellingpartnerapi-na.amazon.com:443\": \"{here}\" }}
store: {{ file: {{ path: store.sealed, key_file: store.key }} }}
egress:
  - {{ host: sellingpartnerapi-na.amazon.com, mode: inject }}
  - {{ host: api.amazon.com, mode: lwa }}
apps: [{{ id: erp }}]
tenants:
  - {{ id: acme, app: erp, region: na, marketplaces: [ATVPDKIKX0DER], scopes: [selling-partner-insights, brand-analytics] }}
default_tenant: acme
routes:
  - {{ allow: GET /sellers/v1/marketplaceParticipations, scope: selling-partner-insights, reason: where the account sells, owner: ops@example.com }}
audit: {{ path: audit.jsonl, requests: none }}
"
        );
        std::fs::write(at("proxy.yaml"), text).unwrap();
        let place = Self { folder, sandbox };
        let put = place.run(
            &["app", "put", "erp"],
            "amzn1.application-oa2-client.x\namzn1.oa2-cs.v1.canary-secret\n",
        );
        assert!(put.status.success(), "{}", said(&put));
        place
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spapi-sidecar"));
        command
            .args(words)
            .current_dir(self.path())
            .env_clear()
            .envs(counters())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, words: &[&str], input: &str) -> Output {
        let mut child = self.command(words).spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    }

    /// Starts `authorize` and reads up to its link.
    fn authorize(&self, more: &[&str]) -> Asking {
        let central = format!("https://{}", self.sandbox.address());
        let mut words = vec![
            "authorize",
            "acme",
            "--application-id",
            APPLICATION,
            "--central",
            &central,
        ];
        words.extend(more);
        let mut child = self.command(&words).spawn().unwrap();
        let (stdin, mut stdout) = (
            child.stdin.take().unwrap(),
            BufReader::new(child.stdout.take().unwrap()),
        );
        let (mut intro, mut link) = (String::new(), String::new());
        while !link.starts_with("https://") {
            intro.push_str(&link);
            link.clear();
            assert!(stdout.read_line(&mut link).unwrap() > 0, "{intro}");
        }
        Asking {
            child,
            stdin: Some(stdin),
            stdout,
            intro,
            link: link.trim().to_owned(),
        }
    }
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// An `authorize` that waits.
struct Asking {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<std::process::ChildStdout>,
    intro: String,
    link: String,
}

impl Asking {
    fn types(&mut self, text: &str) {
        self.stdin
            .as_mut()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    /// Its exit code and all that it said after the link.
    fn ends(mut self) -> (Option<i32>, String) {
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).unwrap();
        let output = self.child.wait_with_output().unwrap();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        (output.status.code(), text)
    }
}

/// A selling partner's browser: no redirect is followed by itself, so that a test sees where it leads.
fn browser(place: &Place) -> reqwest::Client {
    reqwest::Client::builder()
        .tls_certs_only([
            reqwest::Certificate::from_pem(place.sandbox.ca_pem().as_bytes()).unwrap(),
        ])
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap()
}

/// Opens the link and presses a button; the address that Amazon sends the browser to.
async fn confirmed(place: &Place, link: &str) -> String {
    pressed(place, link, "confirm").await
}

async fn pressed(place: &Place, link: &str, decision: &str) -> String {
    let browser = browser(place);
    let page = browser.get(link).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let asked: Vec<(String, String)> = url::Url::parse(link)
        .unwrap()
        .query_pairs()
        .into_owned()
        .collect();
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(asked)
        .append_pair("decision", decision)
        .finish();
    let url = format!("https://{}/apps/authorize/confirm", place.sandbox.address());
    let answer = browser.post(url).body(form).send().await.unwrap();
    assert_eq!(answer.status(), 302);
    answer.headers()["location"].to_str().unwrap().to_owned()
}

fn grant_is_there(place: &Place) -> bool {
    let listed = place.run(&["tenant", "list", "--json"], "");
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    listed.to_string().contains(r#""grant":true"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_in_the_browser_ends_as_a_grant_in_the_store_and_no_token_on_the_screen() {
    let place = Place::new().await;
    let asking = place.authorize(&["--listen", "127.0.0.1:0"]);
    for told in [
        "selling-partner-insights\n    for: where the account sells\n    ask: ops@example.com",
        "better not granted: brand-analytics",
    ] {
        assert!(asking.intro.contains(told), "{}", asking.intro);
    }
    let back = confirmed(&place, &asking.link).await;
    let page = browser(&place).get(&back).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert_eq!(page.headers()["referrer-policy"], "no-referrer");
    assert!(page.text().await.unwrap().contains("has arrived"));
    let (code, text) = asking.ends();
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("acme is authorized by selling partner A"),
        "{text}"
    );
    assert!(grant_is_there(&place));
    let code = back.split("spapi_oauth_code=").nth(1).unwrap();
    for secret in ["Atzr", code, "canary-secret"] {
        assert!(!text.contains(secret), "{secret} was shown");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_attempt_is_refused_and_the_right_one_still_taken() {
    let place = Place::new().await;
    let asking = place.authorize(&["--listen", "127.0.0.1:0"]);
    let back = confirmed(&place, &asking.link).await;
    let mut foreign = url::Url::parse(&back).unwrap();
    foreign.set_query(Some(&format!(
        "state={}&selling_partner_id=A1&spapi_oauth_code=ANx",
        "0".repeat(32)
    )));
    let page = browser(&place).get(foreign).send().await.unwrap();
    assert_eq!(page.status(), 400);
    assert!(page.text().await.unwrap().contains("another attempt"));
    assert!(!grant_is_there(&place));
    assert_eq!(
        browser(&place).get(&back).send().await.unwrap().status(),
        200
    );
    let (code, text) = asking.ends();
    assert_eq!(code, Some(0), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_of_the_selling_partner_is_told_to_the_browser_before_the_command_ends() {
    let place = Place::new().await;
    // what comes too late comes so by chance
    for _ in 0..8 {
        let asking = place.authorize(&["--listen", "127.0.0.1:0"]);
        let back = pressed(&place, &asking.link, "cancel").await;
        let page = browser(&place).get(&back).send().await.unwrap();
        assert_eq!(page.status(), 400);
        let page = page.text().await.unwrap();
        assert!(page.contains("the selling partner said no"), "{page}");
        let (code, text) = asking.ends();
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("the selling partner said no"), "{text}");
    }
    assert!(!grant_is_there(&place));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_registered_address_elsewhere_the_answer_is_pasted_and_page_codes_are_explained() {
    let place = Place::new().await;
    let mut asking = place.authorize(&["--redirect-uri", "https://example.com/callback"]);
    let back = confirmed(&place, &asking.link).await;
    assert!(back.starts_with("https://example.com/callback?"));
    asking.types("SPDC8143\n");
    asking.types(&format!("{back}\n"));
    let (code, text) = asking.ends();
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("SPDC8143: whoever is signed in is not the primary user"),
        "{text}"
    );
    assert!(grant_is_there(&place));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_was_spent_leaves_the_store_as_it_was_and_says_to_start_again() {
    let place = Place::new().await;
    let mut one = place.authorize(&["--redirect-uri", "https://example.com/callback"]);
    let back = confirmed(&place, &one.link).await;
    one.types(&format!("{back}\n"));
    assert_eq!(one.ends().0, Some(0));
    let sealed = std::fs::read(place.path().join("store.sealed")).unwrap();
    let mut two = place.authorize(&["--redirect-uri", "https://example.com/callback"]);
    let mut again = url::Url::parse(&two.link).unwrap();
    let state = again
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap()
        .1
        .into_owned();
    let spent = back.split("spapi_oauth_code=").nth(1).unwrap().to_owned();
    again.set_query(Some(&format!(
        "state={state}&selling_partner_id=A1&spapi_oauth_code={spent}"
    )));
    two.types(&format!("{again}\n"));
    let (code, text) = two.ends();
    assert_eq!(code, Some(1));
    assert!(text.contains("good once and for five minutes"), "{text}");
    assert!(
        std::fs::read(place.path().join("store.sealed")).unwrap() == sealed,
        "the store changed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_said_before_anybody_opens_a_page() {
    let place = Place::new().await;
    for (words, want) in [
        (&["authorize", "nobody"][..], "knows no tenant \"nobody\""),
        (&["authorize", "acme"], "--application-id"),
        (
            &["authorize", "acme", "--application-id", "erp"],
            "begins with amzn1.",
        ),
        (
            &[
                "authorize",
                "acme",
                "--application-id",
                APPLICATION,
                "--listen",
                "0.0.0.0:0",
            ],
            "loopback",
        ),
        (
            &[
                "authorize",
                "acme",
                "--application-id",
                APPLICATION,
                "--central",
                "http://a.b",
            ],
            "https://",
        ),
    ] {
        let output = place.run(words, "");
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(said(&output).contains(want), "{words:?}: {}", said(&output));
    }
    let explained = place.run(&["authorize", "--explain", "md5110"], "");
    assert!(explained.status.success() && said(&explained).contains("fragment"));
    assert_eq!(
        place
            .run(&["authorize", "--explain", "X"], "")
            .status
            .code(),
        Some(1)
    );
}
