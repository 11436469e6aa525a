//! The next-hop proxy away: calls that go through it are answered with the cause, the others go on.

use super::front::{Front, Speaks};
use super::kind::{Fault, NOTHING, Peer, Row, row};
use super::scene::{BOUNDS, CALM_EU, Scene, amazon, carried_out, lets_requests_out, setup};
use crate::support::sidecar::{NA, Stage};

const UNREACHABLE: &str = "502 upstream_unreachable";
const TLS: &str = "502 upstream_tls";
const NO_CONNECTION: &str =
    "No connection to sellingpartnerapi-na.amazon.com. (upstream_unreachable)";
const HANDSHAKE: &str =
    "The TLS handshake with sellingpartnerapi-na.amazon.com failed. (upstream_tls)";
const CUT_OFF: &str = "the request's own line: 200, failed (upstream_unreachable)";
const VERDICT: &str = "verdict upstream_unreachable";

pub(super) const ROWS: &[Row] = &[
    row(Fault::Down, UNREACHABLE, NO_CONNECTION, VERDICT),
    row(Fault::Refuses, UNREACHABLE, NO_CONNECTION, VERDICT),
    row(Fault::Hangs, UNREACHABLE, NO_CONNECTION, VERDICT),
    row(Fault::Silent, UNREACHABLE, NO_CONNECTION, VERDICT),
    row(Fault::Slow, UNREACHABLE, NO_CONNECTION, VERDICT),
    row(Fault::SlowBody, "200", NOTHING, NOTHING),
    row(Fault::ResetsMidHead, UNREACHABLE, NO_CONNECTION, VERDICT),
    row(Fault::ResetsMidBody, "200, cut off", CUT_OFF, VERDICT),
    row(Fault::Garbage, UNREACHABLE, NO_CONNECTION, VERDICT),
    row(Fault::NoTls, TLS, HANDSHAKE, VERDICT),
    row(Fault::Truncated, UNREACHABLE, NO_CONNECTION, VERDICT),
    row(Fault::WrongCertificate, TLS, HANDSHAKE, VERDICT),
    row(Fault::UnknownIssuer, TLS, HANDSHAKE, VERDICT),
    row(Fault::ExpiredCertificate, TLS, HANDSHAKE, VERDICT),
    row(Fault::Flaps, "200", NOTHING, NOTHING),
];

pub(super) async fn play(rows: &'static [Row]) {
    let mut front = Front::open(NA, Speaks::Connect).await;
    let mut world = setup(rows);
    world.upstream = format!("{BOUNDS}\n  proxy: http://{}", front.address);
    world.not_redirected = vec![NA];
    world.trusted.clone_from(&front.pem);
    let stage = Stage::set(&world).await;
    let (address, ca) = amazon(&stage);
    front.leads_to(address, ca);
    let mut scene = Scene::on(stage, &[], None, rows).await;
    for row in rows {
        let tenant = row.fault.tenant();
        scene.serves(tenant, "before").await;
        front.set(Some(row.fault)).await;
        let (mark, before) = (scene.mark(), scene.reached(NA));
        let seen = scene.call(tenant).await;
        assert_eq!(seen.text, row.sees, "{row:?}: {}", scene.child.stdout());
        assert!(front.accepted() > 0 || row.fault == Fault::Down, "{row:?}");
        let is_open = row.sees.starts_with("200");
        let sent = usize::from(is_open && lets_requests_out(row.fault));
        assert_eq!(scene.reached(NA) - before, sent, "{row:?}: sent so often");
        scene.logs(mark, row, Some(&seen)).await;
        scene.fires(row, tenant).await;
        scene.serves(CALM_EU, "by a way that does without").await;
        front.set(None).await;
        scene.serves(tenant, "at once").await;
        scene.tells_no_secret().await;
    }
    scene.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_hop_away_in_every_way_is_answered_with_the_cause_and_other_ways_stay_open() {
    carried_out(Peer::NextHop, ROWS, 4, play).await;
}
