//! No byte sequence of a live secret leaves the sidecar except to the host that it is bound to.
//!
//! Secrets, requests and answers are made up at random. Every host records every byte that reaches it, and every byte that
//! goes back to the program, into a line or onto a page is recorded too; then each record is searched.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use spapi_sidecar::store::RecordKey;
use spapi_sidecar::tenant::TenantId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::peer::{Face, Origin, Served, read_head, soon};
use crate::support::search::Search;
use crate::support::sidecar::{NA, Setup, TestSidecar};
use crate::support::wire::{Answer, Door, request};

mod case;

use case::{Case, Move, Reply, answer, case};

const LWA: &str = "api.amazon.com";
const EU: &str = "sellingpartnerapi-eu.amazon.com";
const DOCUMENTS: &str = "tortuga.s3.amazonaws.com";
const TUNNEL: &str = "tunnel.example";

/// What the store holds of the app, see `support::sidecar`.
const CLIENT_SECRET: &str = "amzn1.oa2-cs.v1.canary";

/// So many bytes of a secret in a row are a part of it and no chance.
const WINDOW: usize = 8;

/// A host that records what reaches it.
struct Host {
    origin: Origin,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Host {
    /// Answers what `reply` says of a head and a body.
    async fn start<F>(name: &str, reply: F) -> Self
    where
        F: Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    {
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let (into, reply) = (Arc::clone(&heard), Arc::new(reply));
        let face = Face::speaking(&["http/1.1"]);
        let origin = Origin::start(name, face, move |_number, stream| {
            let (into, reply) = (Arc::clone(&into), Arc::clone(&reply));
            async move {
                // whoever goes away in the middle ends the connection
                let _ended = serve(stream, &into, &*reply).await;
            }
        });
        let origin = origin.await;
        Self { origin, heard }
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }
}

async fn serve(
    mut stream: Served,
    heard: &Mutex<Vec<u8>>,
    reply: &(dyn Fn(&str) -> Vec<u8> + Send + Sync),
) -> std::io::Result<()> {
    loop {
        let head = read_head(&mut stream).await?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse().unwrap())
        });
        let mut body = vec![0; length.unwrap_or_default()];
        stream.read_exact(&mut body).await?;
        heard
            .lock()
            .unwrap()
            .extend([head.as_bytes(), &body].concat());
        let answer = reply(&head);
        stream.write_all(&answer).await?;
        stream.flush().await?;
        if answer.ends_with(b"{") {
            return stream.shutdown().await;
        }
    }
}

/// The world of a case, running.
struct Scene {
    sidecar: TestSidecar,
    hosts: HashMap<&'static str, Host>,
    next: Arc<Mutex<Reply>>,
    /// Everything that went back to the program.
    returned: String,
}

impl Scene {
    async fn set(case: &Case) -> Self {
        let next = Arc::new(Mutex::new(Reply::Good));
        let mut hosts = HashMap::new();
        let (tokens, given) = (case.access.clone(), Mutex::new(0));
        let lwa = move |_head: &str| {
            let mut given = given.lock().unwrap();
            *given += 1;
            let token = &tokens[*given % tokens.len()];
            let body = format!(
                r#"{{"access_token":"Atza|{token}","token_type":"bearer","expires_in":3600}}"#
            );
            answer("200 OK", "", &body)
        };
        hosts.insert(LWA, Host::start(LWA, lwa).await);
        let (rdt, reply) = (case.rdt.clone(), Arc::clone(&next));
        let api = move |head: &str| {
            if head.starts_with("POST /tokens/") {
                let body =
                    format!(r#"{{"restrictedDataToken":"Atz.sprdt|{rdt}","expiresIn":3600}}"#);
                return answer("200 OK", "", &body);
            }
            std::mem::replace(&mut *reply.lock().unwrap(), Reply::Good).text()
        };
        hosts.insert(NA, Host::start(NA, api).await);
        for name in [EU, DOCUMENTS, TUNNEL] {
            hosts.insert(
                name,
                Host::start(name, |_head| answer("200 OK", "", "{}")).await,
            );
        }
        let connect_to = hosts
            .iter()
            .map(|(name, host)| (format!("{name}:443"), host.origin.address.to_string()));
        let acme = TenantId::parse("acme").unwrap();
        let setup = Setup {
            connect_to: connect_to.collect(),
            trusted: hosts.values().map(|host| &*host.origin.pem).collect(),
            records: vec![(
                RecordKey::Grant(acme),
                "refresh_token",
                format!("Atzr|{}", case.refresh),
            )],
            upstream: "  response_timeout: 5s".to_owned(),
            throttle: "{ max_wait: 0s }".to_owned(),
            sections: "telemetry: { log: { level: trace } }".to_owned(),
            ..Setup::default()
        };
        Self {
            sidecar: TestSidecar::with(setup).await,
            hosts,
            next,
            returned: String::new(),
        }
    }

    fn note(&mut self, answer: &Answer) {
        let _infallible = write!(self.returned, "{:?}{}", answer.fields, answer.text());
    }

    async fn ask(&mut self, host: &str, text: &str) {
        let mut inside = self.sidecar.inside(host).await;
        inside.send(text).await;
        // an answer that breaks off is none
        if let Ok(answer) = inside.try_answer().await {
            self.note(&answer);
        }
    }

    async fn go(&mut self, moved: &Move, reply: Reply) {
        *self.next.lock().unwrap() = reply;
        match moved {
            Move::Call(path, noise, field) => {
                let target = path.replace('*', noise);
                let fields = [(field.0, &*field.1), ("x-noise", noise)];
                self.ask(NA, &request("GET", NA, &target, &fields, ""))
                    .await;
            }
            Move::Abroad(noise) => {
                let target = format!("/orders/v0/orders?x={noise}");
                self.ask(EU, &request("GET", EU, &target, &[], "")).await;
            }
            Move::Token(noise) => {
                let body = format!("grant_type=refresh_token&refresh_token={noise}");
                let text = request("POST", LWA, "/auth/o2/token", &[], &body);
                self.ask(LWA, &text).await;
            }
            Move::Tunnel(noise) => self.tunnel(noise).await,
            Move::Foreign(noise) => {
                let target = format!("{}.example:443", noise.to_ascii_lowercase());
                let (answer, _wire) = self.sidecar.connect(&target, &[]).await;
                self.note(&answer);
            }
            Move::Document(handed_out) => {
                if *handed_out {
                    let ask = "/reports/2021-06-30/documents/d";
                    self.ask(NA, &request("GET", NA, ask, &[], "")).await;
                }
                let target = "/d?X-Amz-Signature=s&X-Amz-Expires=300";
                let text = request("GET", DOCUMENTS, target, &[], "");
                self.ask(DOCUMENTS, &text).await;
            }
        }
    }

    async fn tunnel(&mut self, noise: &str) {
        let (answer, wire) = self.sidecar.connect(&format!("{TUNNEL}:443"), &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let ca_file = self.sidecar.folder.path().join("tunnel.pem");
        std::fs::write(&ca_file, &self.hosts[TUNNEL].origin.pem).unwrap();
        let end = Door {
            proxy: self.sidecar.proxy(),
            transparent: self.sidecar.transparent(),
            ca_file,
        };
        let stream = end.handshake(wire.io, TUNNEL, &["http/1.1"]).await;
        let mut wire = crate::support::wire::Wire::new(stream.unwrap());
        let answer = wire.get(TUNNEL, &format!("/{noise}"), &[]).await;
        self.note(&answer);
    }

    /// Every place that bytes went to, apart from the hosts.
    async fn places(&self) -> Vec<(&'static str, String)> {
        let page = |path: &str| reqwest::get(format!("http://{}{path}", self.sidecar.app.admin()));
        let mut places = vec![
            ("the program", self.returned.clone()),
            ("the log", self.sidecar.text()),
            // what a panic, or an error that is printed for people who mend this, could show
            ("any panic", format!("{:?}", self.sidecar.app)),
        ];
        for (name, path) in [("metrics", "/metrics"), ("status", "/api/v1/status")] {
            places.push((name, page(path).await.unwrap().text().await.unwrap()));
        }
        places
    }
}

/// The secret parts of which a text holds [`WINDOW`] bytes in a row, and the secrets that it holds encoded.
fn found(text: &str, secrets: &[&str]) -> Vec<String> {
    let mut windows = HashMap::new();
    let mut search = Search::default();
    for secret in secrets {
        search.secret(secret);
        for window in secret.as_bytes().windows(WINDOW) {
            windows.insert(window, *secret);
        }
    }
    search.place("encoded", text);
    let mut found = search.found();
    let raw = text
        .as_bytes()
        .windows(WINDOW)
        .filter_map(|window| windows.get(window));
    found.extend(raw.map(ToString::to_string));
    found
}

async fn run(case: &Case) -> Result<(), TestCaseError> {
    let mut scene = Scene::set(case).await;
    for (moved, reply) in &case.moves {
        soon("a move", scene.go(moved, *reply)).await;
    }
    let access: Vec<&str> = case.access.iter().map(String::as_str).collect();
    let to_lwa = vec![&*case.refresh, CLIENT_SECRET];
    let to_api = [&*access, &[&*case.rdt]].concat();
    let all = [&*to_lwa, &*to_api].concat();
    let bound = |name: &str| match name {
        LWA => to_api.clone(),
        NA => to_lwa.clone(),
        _ => all.clone(),
    };
    for (name, host) in &scene.hosts {
        let found = found(&host.heard(), &bound(name));
        prop_assert!(found.is_empty(), "{name} received {found:?}");
    }
    for (name, text) in scene.places().await {
        let found = found(&text, &all);
        prop_assert!(found.is_empty(), "{name} shows {found:?}");
    }
    // what is bound did arrive: the search had something to find
    prop_assert!(scene.hosts[LWA].heard().contains(CLIENT_SECRET));
    let answered = scene.returned.contains("reportDocumentId");
    prop_assert!(!answered || !found(&scene.hosts[NA].heard(), &access).is_empty());
    Ok(())
}

#[test]
fn no_byte_sequence_of_a_live_secret_leaves_except_to_its_host() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut runner = TestRunner::new(Config {
        cases: 24,
        max_shrink_iters: 20,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&case(), |case| runtime.block_on(run(&case)));
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn eight_bytes_of_a_secret_are_found() {
    let secret = "a-made-up-secret-of-some-length";
    assert_eq!(found("…ecret-of…", &[secret]), [secret]);
    assert!(found("…ecret-o", &[secret]).is_empty());
}
