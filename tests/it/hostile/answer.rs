//! Answers by which upstream would make a blind pipe of a connection.

use super::attack::{Attack, Meets, Way};
use super::{CANARY, ORDERS};
use crate::support::peer::Origin;
use crate::support::sidecar::{NA, Setup, TestSidecar};
use crate::support::wire::request;

/// What the client sends along.
const UPGRADE: [(&str, &str); 2] = [("connection", "upgrade"), ("upgrade", "websocket")];

pub(super) fn attacks() -> Vec<Attack> {
    let unreachable = Meets::Refused(502, "upstream_unreachable");
    let one = |name: &str, head: &str, meets| {
        Attack::new(name, Way::Answer, format!("{head}\r\n{CANARY}"), meets)
    };
    vec![
        one(
            "101, to an upgrade that was dropped",
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
            unreachable,
        ),
        one(
            "101 without a word of what to",
            "HTTP/1.1 101 Switching Protocols\r\n",
            unreachable,
        ),
        one(
            "101 with a length",
            "HTTP/1.1 101 Switching Protocols\r\ncontent-length: 22\r\n",
            unreachable,
        ),
        one(
            "a length and a transfer coding, and chunks that are none",
            "HTTP/1.1 200 OK\r\ncontent-length: 22\r\ntransfer-encoding: chunked\r\n",
            Meets::Closed(None),
        ),
        one(
            "two lengths that differ",
            "HTTP/1.1 200 OK\r\ncontent-length: 22\r\ncontent-length: 2\r\n",
            unreachable,
        ),
        one(
            "a length that is none",
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n",
            unreachable,
        ),
        one(
            "a folded field",
            "HTTP/1.1 200 OK\r\nx-a: 1\r\n x-b: 2\r\ncontent-length: 0\r\n",
            unreachable,
        ),
        one("no HTTP", "220 mail.example ESMTP\r\n", unreachable),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_of_upstream_makes_a_blind_pipe_of_a_connection() {
    for attack in attacks() {
        let answer = attack.sends.clone();
        let origin = Origin::raw(NA, move |_head| answer.clone()).await;
        let sidecar = TestSidecar::with(Setup {
            connect_to: vec![origin.stands_for(NA)],
            trusted: origin.pem.clone(),
            ..Setup::default()
        })
        .await;
        let mut inside = sidecar.inside(NA).await;
        inside.send(request("GET", NA, ORDERS, &UPGRADE, "")).await;
        let met = match inside.try_answer().await {
            Err(_) => Meets::Closed(None),
            Ok(answer) => {
                assert!(
                    !answer.text().contains(CANARY),
                    "{}: {answer:?}",
                    attack.name
                );
                let (status, _) = answer.refused();
                Meets::Refused(status, "upstream_unreachable")
            }
        };
        assert_eq!(met, attack.meets, "{}", attack.name);
        // the next request finds no connection that anything is left on
        let mut next = sidecar.inside(NA).await;
        next.send(request("GET", NA, ORDERS, &[], "")).await;
        let answer = next.try_answer().await;
        assert!(
            answer.is_err() || answer.is_ok_and(|answer| !answer.text().contains(CANARY)),
            "{}: left over",
            attack.name
        );
    }
}
