//! DNS away: a call to a host that has to be looked up is answered with the cause, the others go on.
//!
//! It runs in a network of its own (Linux namespaces), where the one name server is the test's, at 127.0.0.1:53, and a public
//! address is this machine's: names may lead to nothing else.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::front::{Front, Speaks};
use super::kind::{Fault, NOTHING, Peer, Row, row};
use super::scene::{CALM_EU, Scene, amazon, carried_out, setup};
use crate::support::sidecar::{NA, Stage};

/// Set where the test runs inside.
const INSIDE: &str = "FAULTS_INSIDE";

/// Where the name leads to: any address of the internet, that is this machine's inside.
const PUBLIC: [u8; 4] = [52, 94, 0, 10];

const UNREACHABLE: &str = "502 upstream_unreachable";
const UNKNOWN: &str = "sellingpartnerapi-na.amazon.com does not resolve. (upstream_unreachable)";
const VERDICT: &str = "verdict upstream_unreachable";

const ROWS: &[Row] = &[
    row(Fault::Down, UNREACHABLE, UNKNOWN, VERDICT),
    row(Fault::Refuses, UNREACHABLE, UNKNOWN, VERDICT),
    row(Fault::Hangs, UNREACHABLE, UNKNOWN, VERDICT),
    row(Fault::Slow, "200", NOTHING, NOTHING),
    row(Fault::Garbage, UNREACHABLE, UNKNOWN, VERDICT),
    row(Fault::Truncated, UNREACHABLE, UNKNOWN, VERDICT),
    row(Fault::Flaps, "200", NOTHING, NOTHING),
];

/// A name server that knows one address for everything.
#[derive(Default)]
struct NameServer(JoinSet<()>);

impl NameServer {
    async fn set(&mut self, fault: Option<Fault>) {
        self.0.shutdown().await;
        if fault == Some(Fault::Down) {
            return;
        }
        let socket = UdpSocket::bind("127.0.0.1:53").await.unwrap();
        self.0.spawn(async move {
            let mut asked = 0;
            loop {
                let mut query = [0; 512];
                let (length, from) = socket.recv_from(&mut query).await.unwrap();
                let query = &query[..length];
                asked += u32::from(asks_for_a(query));
                answer(&socket, query, from, fault, asked).await;
            }
        });
    }
}

async fn answer(
    socket: &UdpSocket,
    query: &[u8],
    from: SocketAddr,
    fault: Option<Fault>,
    asked: u32,
) {
    let text = match fault {
        Some(Fault::Hangs) => return,
        Some(Fault::Flaps) if asks_for_a(query) && asked % 2 == 1 => return,
        Some(Fault::Garbage) => b"\x00canary of the garbage\xff\xff".to_vec(),
        Some(Fault::Refuses) => reply(query, 0x8185),
        Some(Fault::Truncated) => reply(query, 0x8380),
        _ => reply(query, 0x8180),
    };
    if fault == Some(Fault::Slow) {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    socket.send_to(&text, from).await.unwrap();
}

/// Where the root label of the question's name is.
fn name_end(query: &[u8]) -> usize {
    let mut end = 12;
    while query[end] != 0 {
        end += usize::from(query[end]) + 1;
    }
    end
}

fn asks_for_a(query: &[u8]) -> bool {
    let end = name_end(query);
    query[end + 1..end + 3] == [0, 1]
}

/// A reply with these flags (RFC 1035 section 4.1); with the address where they tell of no error and it was asked for.
fn reply(query: &[u8], flags: u16) -> Vec<u8> {
    let question = &query[12..name_end(query) + 5];
    let count = u16::from(flags == 0x8180 && asks_for_a(query));
    let mut text = query[..2].to_vec();
    for number in [flags, 1, count, 0, 0] {
        text.extend(number.to_be_bytes());
    }
    text.extend(question);
    if count == 1 {
        // the name of the question, A, IN, good for no time at all
        text.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        text.extend(PUBLIC);
    }
    text
}

async fn play(rows: &'static [Row]) {
    let mut names = NameServer::default();
    names.set(None).await;
    let [a, b, c, d] = PUBLIC;
    let front = Front::open_at(&format!("{a}.{b}.{c}.{d}:443"), NA, Speaks::Tls).await;
    let mut world = setup(rows);
    // a question that is lost is asked again after a second, within the bound
    world.upstream = "  connect_timeout: 5s\n  response_timeout: 2s\n  resolver: dns".to_owned();
    world.not_redirected = vec![NA];
    world.trusted.clone_from(&front.pem);
    let stage = Stage::set(&world).await;
    let (address, ca) = amazon(&stage);
    front.leads_to(address, ca);
    let mut scene = Scene::on(stage, &[], None, rows).await;
    for row in rows {
        let tenant = row.fault.tenant();
        scene.serves(tenant, "before").await;
        names.set(Some(row.fault)).await;
        let (mark, before) = (scene.mark(), scene.reached(NA));
        let seen = scene.call(tenant).await;
        assert_eq!(seen.text, row.sees, "{row:?}: {}", scene.child.stdout());
        let sent = usize::from(row.sees == "200");
        assert_eq!(scene.reached(NA) - before, sent, "{row:?}: sent so often");
        scene.logs(mark, row, Some(&seen)).await;
        scene.fires(row, tenant).await;
        scene
            .serves(CALM_EU, "a host that need not be looked up")
            .await;
        names.set(None).await;
        scene.serves(tenant, "at once").await;
        scene.tells_no_secret().await;
    }
    scene.ends().await;
}

/// This test again, in a network of its own; a loud word, and in CI a failure, where none can be made.
async fn inside(test: &str) {
    let folder = tempfile::tempdir().unwrap();
    let resolv = folder.path().join("resolv.conf");
    std::fs::write(
        &resolv,
        "nameserver 127.0.0.1\noptions timeout:1 attempts:40\n",
    )
    .unwrap();
    let [a, b, c, d] = PUBLIC;
    let enter = format!(
        "ip link set lo up && ip address add {a}.{b}.{c}.{d}/32 dev lo && mount --bind {} /etc/resolv.conf",
        resolv.display()
    );
    let mut unshare = tokio::process::Command::new("unshare");
    unshare.args(["--net", "--mount", "sh", "-c"]);
    if !unshare
        .arg(&enter)
        .status()
        .await
        .is_ok_and(|status| status.success())
    {
        let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!in_ci, "no network namespace can be made");
        return eprintln!("\n*** SKIPPED: no network namespace can be made\n");
    }
    let output = tokio::process::Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c"])
        .arg(format!("{enter} && exec \"$@\""))
        .arg("sh")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let is_one = text.contains("1 passed");
    assert!(
        output.status.success() && is_one,
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dns_away_in_every_way_is_answered_with_the_cause_and_known_addresses_go_on() {
    if std::env::var_os(INSIDE).is_some() {
        return carried_out(Peer::Dns, ROWS, 1, play).await;
    }
    inside(
        "fault::dns::dns_away_in_every_way_is_answered_with_the_cause_and_known_addresses_go_on",
    )
    .await;
}
