//! Through a corporate proxy: `upstream.proxy`, for SP-API, LWA and Vault alike.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use crate::support::free_port;
use crate::support::peer::{Face, Origin, Served};
use crate::support::sidecar::{NA, Setup, TestSidecar, refusal};
use crate::support::vault::TestVault;

const AGREES: &str = "HTTP/1.1 200 Connection established\r\n\r\n";
const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";

/// A proxy that answers CONNECT with `answer` and, where that is a 200, leads every tunnel to one address, as soon as it is
/// told which.
struct Corporate {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    leads_to: watch::Sender<Option<SocketAddr>>,
}

impl Corporate {
    async fn answering(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let corporate = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
            leads_to: watch::Sender::new(None),
        };
        let (asked, target) = (Arc::clone(&corporate.asked), corporate.leads_to.subscribe());
        #[expect(clippy::disallowed_methods, reason = "a test's own server")]
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(lead(client, answer, Arc::clone(&asked), target.clone()));
            }
        });
        corporate
    }

    fn leads_to(&self, address: SocketAddr) {
        self.leads_to.send_replace(Some(address));
    }

    /// The authorities that CONNECT named, each once.
    fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let mut asked: Vec<String> = asked
            .iter()
            .map(|head| head.split(' ').nth(1).unwrap().to_owned())
            .collect();
        asked.sort();
        asked.dedup();
        asked
    }

    fn setup(&self) -> Setup {
        Setup {
            upstream: format!("  proxy: http://{}", self.address),
            ..Setup::default()
        }
    }
}

async fn lead(
    mut client: TcpStream,
    answer: &'static str,
    asked: Arc<Mutex<Vec<String>>>,
    mut target: watch::Receiver<Option<SocketAddr>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    asked.lock().unwrap().push(String::from_utf8(head).unwrap());
    if answer != AGREES {
        client.write_all(answer.as_bytes()).await.unwrap();
        return;
    }
    let to = target.wait_for(Option::is_some).await.unwrap().unwrap();
    client.write_all(answer.as_bytes()).await.unwrap();
    let mut upstream = TcpStream::connect(to).await.unwrap();
    let _ended = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
}

async fn status_of_a_call(sidecar: &TestSidecar) -> u16 {
    let url = format!("https://{NA}{ORDERS}");
    let response = sidecar.client().get(url).send().await.unwrap();
    response.status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_and_exchanges_go_through_the_next_hop_and_are_verified_end_to_end() {
    let corporate = Corporate::answering(AGREES).await;
    let sidecar = TestSidecar::with(Setup {
        not_redirected: vec![NA, "api.amazon.com"],
        gets_ready: false,
        ..corporate.setup()
    })
    .await;
    corporate.leads_to(sidecar.sandbox.address());
    sidecar.app.ready().await;
    assert_eq!(status_of_a_call(&sidecar).await, 200);
    assert_eq!(
        corporate.asked(),
        ["api.amazon.com:443", &format!("{NA}:443")]
    );
    for head in &*corporate.asked.lock().unwrap() {
        assert!(head.starts_with("CONNECT ") && head.contains(" HTTP/1.1\r\n"));
        assert!(!head.to_ascii_lowercase().contains("amz"), "{head}");
        assert!(!head.to_ascii_lowercase().contains("auth"), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_next_hop_that_refuses_is_upstream_unreachable() {
    let corporate =
        Corporate::answering("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
    let sidecar = TestSidecar::with(Setup {
        not_redirected: vec![NA],
        ..corporate.setup()
    })
    .await;
    let url = format!("https://{NA}{ORDERS}");
    let (status, code, _) = refusal(sidecar.client().get(url).send().await.unwrap()).await;
    assert_eq!((status, &*code), (502, "upstream_unreachable"));
}

/// A proxy's own TLS end, which looks inside and speaks TLS again to whoever it is told of.
async fn opens_tls(host: &str, beyond: watch::Receiver<Option<(SocketAddr, String)>>) -> Origin {
    Origin::start(
        host,
        Face::speaking(&["http/1.1"]),
        move |_number, client| {
            let mut beyond = beyond.clone();
            async move {
                let known = beyond.wait_for(Option::is_some).await.unwrap().clone();
                let (address, ca) = known.unwrap();
                speak_on(client, address, &ca).await;
            }
        },
    )
    .await
}

async fn speak_on(mut client: Served, address: SocketAddr, ca: &str) {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(NA).unwrap();
    let mut upstream = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .unwrap();
    let _ended = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_next_hop_that_opens_tls_is_believed_only_where_upstream_trust_names_its_ca() {
    for trusted in [true, false] {
        let corporate = Corporate::answering(AGREES).await;
        let beyond = watch::Sender::new(None);
        let inspector = opens_tls(NA, beyond.subscribe()).await;
        corporate.leads_to(inspector.address);
        let sidecar = TestSidecar::with(Setup {
            not_redirected: vec![NA],
            trusted: if trusted {
                inspector.pem.clone()
            } else {
                String::new()
            },
            ..corporate.setup()
        })
        .await;
        beyond.send_replace(Some((
            sidecar.sandbox.address(),
            sidecar.sandbox.ca_pem().to_owned(),
        )));
        let url = format!("https://{NA}{ORDERS}");
        let response = sidecar.client().get(url).send().await.unwrap();
        if trusted {
            assert_eq!(response.status(), 200);
        } else {
            assert_eq!(refusal(response).await.1, "upstream_tls");
            assert_eq!(sidecar.received(), []);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sidecars_own_listener_is_no_next_hop() {
    let own = free_port();
    let sidecar = TestSidecar::with(Setup {
        proxy: format!("127.0.0.1:{own}"),
        upstream: format!("  proxy: http://localhost:{own}"),
        not_redirected: vec![NA],
        ..Setup::default()
    })
    .await;
    let url = format!("https://{NA}{ORDERS}");
    let (status, code, _) = refusal(sidecar.client().get(url).send().await.unwrap()).await;
    assert_eq!((status, &*code), (403, "proxy_loop"));
}

/// A Vault with the records of the usual world, behind TLS of its own for a name that only the next hop knows.
async fn vault_behind_tls() -> Option<(TestVault, Origin)> {
    let vault = TestVault::start().await?;
    vault.holds_the_usual_world().await;
    let plain: SocketAddr = vault.address()["http://".len()..].parse().unwrap();
    let origin = Origin::start(
        "vault.internal.example",
        Face::speaking(&["http/1.1"]),
        move |_number, mut client| async move {
            let mut server = TcpStream::connect(plain).await.unwrap();
            let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        },
    )
    .await;
    Some((vault, origin))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vault_is_reached_through_the_next_hop_by_the_ca_of_its_own() {
    let Some((vault, tls)) = vault_behind_tls().await else {
        return;
    };
    let corporate = Corporate::answering(AGREES).await;
    corporate.leads_to(tls.address);
    let token = vault.file("token", crate::support::vault::ROOT);
    let ca = vault.file("its-ca.pem", &tls.pem);
    let sidecar = TestSidecar::with(Setup {
        store: format!(
            "{{ vault: {{ address: \"https://vault.internal.example:8200\", ca_file: {}, auth: {{ token_file: {} }} }} }}",
            ca.display(),
            token.display()
        ),
        ..corporate.setup()
    })
    .await;
    assert_eq!(status_of_a_call(&sidecar).await, 200);
    assert_eq!(corporate.asked(), ["vault.internal.example:8200"]);
    // what the next hop sees is the CONNECT and TLS
    assert!(!format!("{:?}", corporate.asked.lock().unwrap()).contains("X-Vault"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_on_this_machine_is_reached_without_the_next_hop() {
    let Some((vault, _tls)) = vault_behind_tls().await else {
        return;
    };
    let corporate = Corporate::answering(AGREES).await;
    let token = vault.file("token", crate::support::vault::ROOT);
    let sidecar = TestSidecar::with(Setup {
        store: format!(
            "{{ vault: {{ address: \"{}\", auth: {{ token_file: {} }} }} }}",
            vault.address(),
            token.display()
        ),
        ..corporate.setup()
    })
    .await;
    assert_eq!(status_of_a_call(&sidecar).await, 200);
    assert_eq!(corporate.asked(), Vec::<String>::new());
}
