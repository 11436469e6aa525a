//! The telemetry collector away: no call notices, it is said once, counted, and said once when it is over.

use super::front::{Front, Speaks};
use super::kind::{Fault, NOTHING, Peer, Row, row};
use super::scene::{Scene, carried_out, setup};
use crate::support::collector::{Collector, Manner};
use crate::support::sidecar::{Stage, eventually};

const LOST: &str =
    "the OTLP collector does not take traces; they are dropped and counted until it does";
const AGAIN: &str = "the OTLP collector takes traces again";

pub(super) const ROWS: &[Row] = &[
    row(Fault::Down, "200", LOST, NOTHING),
    row(Fault::Refuses, "200", LOST, NOTHING),
    row(Fault::Hangs, "200", LOST, NOTHING),
    row(Fault::Silent, "200", LOST, NOTHING),
    row(Fault::Slow, "200", NOTHING, NOTHING),
    row(Fault::ResetsMidHead, "200", LOST, NOTHING),
    row(Fault::Garbage, "200", LOST, NOTHING),
    row(Fault::NoTls, "200", LOST, NOTHING),
    row(Fault::WrongCertificate, "200", LOST, NOTHING),
    row(Fault::UnknownIssuer, "200", LOST, NOTHING),
    row(Fault::ExpiredCertificate, "200", LOST, NOTHING),
    row(Fault::Flaps, "200", NOTHING, NOTHING),
];

pub(super) async fn play(rows: &'static [Row]) {
    let collector = Collector::start(Manner::Takes).await;
    let mut front = Front::open("127.0.0.1", Speaks::Tls).await;
    front.leads_to(collector.address, None);
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, &front.pem).unwrap();
    let mut world = setup(rows);
    world.sections = format!(
        "telemetry: {{ otlp: {{ endpoint: \"https://{}\" }} }}",
        front.address
    );
    let stage = Stage::set(&world).await;
    let variables = [("SSL_CERT_FILE", roots.to_str().unwrap())];
    let mut scene = Scene::on(stage, &variables, None, rows).await;
    for row in rows {
        let tenant = row.fault.tenant();
        front.set(Some(row.fault)).await;
        let (mark, posts) = (scene.mark(), collector.heads().len());
        let seen = scene.call(tenant).await;
        assert_eq!(seen.text, row.sees, "{row:?}");
        if row.log == NOTHING {
            eventually("they are taken", || collector.heads().len() > posts).await;
        }
        scene.logs(mark, row, Some(&seen)).await;
        scene.fires(row, tenant).await;
        scene.serves(tenant, "while traces are dropped").await;
        front.set(None).await;
        let posts = collector.heads().len();
        for _ in 0..100 {
            scene.serves(tenant, "afterwards").await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            if collector.heads().len() > posts {
                break;
            }
        }
        assert!(
            collector.heads().len() > posts,
            "{row:?}: never taken again"
        );
        if row.log == LOST {
            let says = |stdout: String| stdout[mark..].matches(AGAIN).count();
            eventually("the good word", || says(scene.child.stdout()) >= 1).await;
        }
        scene.tells_no_secret().await;
    }
    let told = collector.bytes();
    assert!(!told.contains("Atz") && !told.contains("canary"), "{told}");
    scene.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_collector_away_in_every_way_costs_no_call_and_is_said_in_the_log() {
    carried_out(Peer::Collector, ROWS, 6, play).await;
}
