//! The webhook away: no call notices, the log says it, and what was to be told is told afterwards.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::front::{Front, Speaks};
use super::kind::{Fault, NOTHING, Peer, Row, row};
use super::scene::{Scene, carried_out, setup};
use crate::support::peer::read_head;
use crate::support::sidecar::{Stage, eventually};

const HOOKS: &str = "hooks.example";
const LOST: &str = "a notice was not delivered";
const FIRES: &str = "new_endpoint";

pub(super) const ROWS: &[Row] = &[
    row(Fault::Down, "200", LOST, FIRES),
    row(Fault::Refuses, "200", LOST, FIRES),
    row(Fault::Hangs, "200", LOST, FIRES),
    row(Fault::Silent, "200", LOST, FIRES),
    row(Fault::Slow, "200", NOTHING, FIRES),
    row(Fault::SlowBody, "200", NOTHING, FIRES),
    row(Fault::ResetsMidHead, "200", LOST, FIRES),
    row(Fault::ResetsMidBody, "200", NOTHING, FIRES),
    row(Fault::Garbage, "200", LOST, FIRES),
    row(Fault::NoTls, "200", LOST, FIRES),
    row(Fault::Truncated, "200", NOTHING, FIRES),
    row(Fault::WrongCertificate, "200", LOST, FIRES),
    row(Fault::UnknownIssuer, "200", LOST, FIRES),
    row(Fault::ExpiredCertificate, "200", LOST, FIRES),
    row(Fault::Flaps, "200", NOTHING, FIRES),
];

/// What a receiver got.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<String>>);

impl Receiver {
    async fn listens(&self, tasks: &mut JoinSet<()>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kept = Arc::clone(&self.0);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let kept = Arc::clone(&kept);
                connections.spawn(async move {
                    let Ok(head) = read_head(&mut stream).await else {
                        return;
                    };
                    let length = head.to_ascii_lowercase();
                    let length = length
                        .lines()
                        .find_map(|line| line.strip_prefix("content-length: "));
                    let mut body = vec![0; length.unwrap().parse().unwrap()];
                    if stream.read_exact(&mut body).await.is_err() {
                        return;
                    }
                    kept.lock()
                        .unwrap()
                        .push_str(&String::from_utf8(body).unwrap());
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nthanks";
                    let _sent = stream.write_all(answer).await;
                });
            }
        });
        address
    }

    /// Whether it was told of a tenant's first call.
    fn knows(&self, tenant: &str) -> bool {
        let told = self.0.lock().unwrap();
        told.contains(&format!(
            "{{\"alert\":\"new_endpoint\",\"subject\":\"{tenant}\""
        ))
    }
}

pub(super) async fn play(rows: &'static [Row]) {
    let (receiver, mut tasks) = (Receiver::default(), JoinSet::new());
    let mut front = Front::open(HOOKS, Speaks::Tls).await;
    front.leads_to(receiver.listens(&mut tasks).await, None);
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("hook.secret");
    std::fs::write(&secret, "hook-secret-canary\n").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut world = setup(rows);
    world.connect_to = vec![front.stands_for(HOOKS)];
    world.trusted.clone_from(&front.pem);
    world.sections = format!(
        "alerts: {{ webhook: {{ url: \"https://{HOOKS}/alerts\", secret_file: {} }} }}",
        secret.display()
    );
    let stage = Stage::set(&world).await;
    let mut scene = Scene::on(stage, &[], None, rows).await;
    scene.beside = &["freshness_slo"];
    for row in rows {
        let tenant = row.fault.tenant();
        front.set(Some(row.fault)).await;
        let mark = scene.mark();
        // the first call of its kind is what there is to tell
        let seen = scene.call(tenant).await;
        assert_eq!(seen.text, row.sees, "{row:?}");
        scene.fires(row, tenant).await;
        if row.log == NOTHING {
            eventually("it is told", || receiver.knows(tenant)).await;
        }
        scene.logs(mark, row, Some(&seen)).await;
        scene.serves(tenant, "while nobody can be told").await;
        front.set(None).await;
        eventually("it is told", || receiver.knows(tenant)).await;
        scene.tells_no_secret().await;
    }
    let told = receiver.0.lock().unwrap().clone();
    assert!(!told.contains("Atz") && !told.contains("canary"), "{told}");
    scene.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_webhook_away_in_every_way_costs_no_call_and_is_told_afterwards() {
    carried_out(Peer::Webhook, ROWS, 5, play).await;
}
