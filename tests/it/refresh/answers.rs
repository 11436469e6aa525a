//! Every recorded answer of SP-API, served through a sidecar: what the client gets of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::peer::Origin;
use crate::support::sidecar::{NA, Setup, TestSidecar, refusal};

/// Answers that are about a token: one more try, and then words of ours.
const ABOUT_THE_TOKEN: [&str; 4] = [
    "401_invalid_authentication_token",
    "401_unauthorized",
    "403_token_expired",
    "403_token_invalid",
];

/// The corpus, by name: the answers' bytes on the wire, and their bodies.
fn corpus() -> BTreeMap<String, (Vec<u8>, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/answers");
    let files = std::fs::read_dir(folder).unwrap();
    files
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let name = path
                .file_name()?
                .to_str()?
                .strip_suffix(".http")?
                .to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let (head, body) = text.split_once("\n\n").unwrap();
            let head = head.replace('\n', "\r\n");
            let wire = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            Some((name, (wire.into_bytes(), body.to_owned())))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_all_recorded_answers_those_about_the_token_alone_are_not_the_clients_to_read() {
    let corpus = Arc::new(corpus());
    assert!(corpus.len() >= 30);
    let (asked, served) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&corpus));
    let count = Arc::clone(&asked);
    let origin = Origin::raw(NA, move |head| {
        count.fetch_add(1, Ordering::SeqCst);
        let name = head.split("answer=").nth(1).unwrap();
        let name = name.split(' ').next().unwrap();
        served[name].0.clone()
    })
    .await;
    let sidecar = TestSidecar::with(Setup {
        connect_to: vec![origin.stands_for(NA)],
        trusted: origin.pem.clone(),
        ..Setup::default()
    })
    .await;
    let client = sidecar.client();
    for (name, (_, body)) in &*corpus {
        let before = asked.load(Ordering::SeqCst);
        let url = format!("https://{NA}/orders/v0/orders?answer={name}");
        let answer = client.get(url).send().await.unwrap();
        let tries = asked.load(Ordering::SeqCst) - before;
        if ABOUT_THE_TOKEN.contains(&&**name) {
            let (status, code, details) = refusal(answer).await;
            assert_eq!((status, &*code), (403, "token_refused"), "{name}");
            assert!(!details.contains("expired"), "{name}: {details}");
            assert!((1..=2).contains(&tries), "{name}: {tries}");
            continue;
        }
        assert!(name.starts_with(answer.status().as_str()), "{name}");
        assert!(
            !answer.headers().contains_key("x-spapi-sidecar-error"),
            "{name}"
        );
        assert_eq!(answer.text().await.unwrap(), *body, "{name}");
        assert_eq!(tries, 1, "{name}");
    }
}
