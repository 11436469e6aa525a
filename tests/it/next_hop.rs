//! Through a corporate proxy: `upstream.proxy`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::sidecar::{NA, Setup, TestSidecar, refusal};

/// A proxy that answers CONNECT with `answer` and, where that is a 200, leads every tunnel to the address it is told.
struct Corporate {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    leads_to: Arc<Mutex<Option<SocketAddr>>>,
}

async fn corporate(answer: &'static str) -> Corporate {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, leads_to) = (
        Arc::<Mutex<Vec<String>>>::default(),
        Arc::<Mutex<Option<SocketAddr>>>::default(),
    );
    let (ours, target) = (Arc::clone(&asked), Arc::clone(&leads_to));
    #[expect(clippy::disallowed_methods, reason = "a test's own server")]
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (ours, target) = (Arc::clone(&ours), Arc::clone(&target));
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                ours.lock().unwrap().push(String::from_utf8(head).unwrap());
                client.write_all(answer.as_bytes()).await.unwrap();
                let leads_to = *target.lock().unwrap();
                if let (true, Some(leads_to)) = (answer.starts_with("HTTP/1.1 200"), leads_to) {
                    let mut upstream = TcpStream::connect(leads_to).await.unwrap();
                    let _ended = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
                }
            });
        }
    });
    Corporate {
        address,
        asked,
        leads_to,
    }
}

/// A world whose SP-API host is not redirected, so that the next hop has to lead there.
async fn behind(corporate: &Corporate) -> TestSidecar {
    let sidecar = TestSidecar::with(Setup {
        upstream: format!("  proxy: http://{}", corporate.address),
        not_redirected: vec![NA],
        ..Setup::default()
    })
    .await;
    *corporate.leads_to.lock().unwrap() = Some(sidecar.sandbox.address());
    sidecar
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_goes_through_the_next_hop_and_is_verified_end_to_end() {
    let corporate = corporate("HTTP/1.1 200 Connection established\r\n\r\n").await;
    let sidecar = behind(&corporate).await;
    let url = format!("https://{NA}/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER");
    assert_eq!(
        sidecar.client().get(url).send().await.unwrap().status(),
        200
    );
    let asked = corporate.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 1);
    assert!(
        asked[0].starts_with(&format!("CONNECT {NA}:443 HTTP/1.1\r\n")),
        "{asked:?}"
    );
    assert!(!asked[0].to_ascii_lowercase().contains("amz"), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_next_hop_that_refuses_is_upstream_unreachable() {
    let corporate = corporate("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
    let sidecar = behind(&corporate).await;
    let url = format!("https://{NA}/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER");
    let (status, code, _) = refusal(sidecar.client().get(url).send().await.unwrap()).await;
    assert_eq!((status, &*code), (502, "upstream_unreachable"));
}
