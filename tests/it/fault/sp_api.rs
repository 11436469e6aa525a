//! SP-API away: the call is answered with the cause, nothing is sent twice, and other hosts go on.

use super::front::{Front, Speaks};
use super::kind::{Fault, NOTHING, Peer, Row, row};
use super::scene::{CALM_EU, Scene, amazon, carried_out, lets_requests_out, setup};
use crate::support::sidecar::{NA, Stage};

const UNREACHABLE: &str = "502 upstream_unreachable";
const TLS: &str = "502 upstream_tls";
const NO_CONNECTION: &str =
    "No connection to sellingpartnerapi-na.amazon.com. (upstream_unreachable)";
const CLOSED: &str = "sellingpartnerapi-na.amazon.com closed the connection without an answer. (upstream_unreachable)";
const LATE: &str = "sellingpartnerapi-na.amazon.com did not answer in time. (upstream_timeout)";
const HANDSHAKE: &str =
    "The TLS handshake with sellingpartnerapi-na.amazon.com failed. (upstream_tls)";
const CUT_OFF: &str = "the request's own line: 200, failed (upstream_unreachable)";
const VERDICT: &str = "verdict upstream_unreachable";

pub(super) const ROWS: &[Row] = &[
    row(Fault::Down, UNREACHABLE, NO_CONNECTION, VERDICT),
    row(Fault::Refuses, UNREACHABLE, NO_CONNECTION, VERDICT),
    row(Fault::Hangs, UNREACHABLE, NO_CONNECTION, VERDICT),
    row(Fault::Silent, "504 upstream_timeout", LATE, VERDICT),
    row(Fault::Slow, "504 upstream_timeout", LATE, VERDICT),
    row(Fault::SlowBody, "200", NOTHING, NOTHING),
    row(Fault::ResetsMidHead, UNREACHABLE, CLOSED, VERDICT),
    row(Fault::ResetsMidBody, "200, cut off", CUT_OFF, VERDICT),
    row(Fault::Garbage, UNREACHABLE, CLOSED, VERDICT),
    row(Fault::NoTls, TLS, HANDSHAKE, VERDICT),
    row(Fault::Truncated, "200, cut off", CUT_OFF, VERDICT),
    row(Fault::WrongCertificate, TLS, HANDSHAKE, VERDICT),
    row(Fault::UnknownIssuer, TLS, HANDSHAKE, VERDICT),
    row(Fault::ExpiredCertificate, TLS, HANDSHAKE, VERDICT),
    row(Fault::Flaps, "200", NOTHING, NOTHING),
];

pub(super) async fn play(rows: &'static [Row]) {
    let mut front = Front::open(NA, Speaks::Tls).await;
    let mut world = setup(rows);
    world.connect_to = vec![front.stands_for(NA)];
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
        let sent = usize::from(lets_requests_out(row.fault));
        assert_eq!(scene.reached(NA) - before, sent, "{row:?}: sent so often");
        scene.logs(mark, row, Some(&seen)).await;
        scene.fires(row, tenant).await;
        scene.serves(CALM_EU, "while another host is away").await;
        front.set(None).await;
        scene.serves(tenant, "at once").await;
        scene.is_calm(tenant).await;
        scene.tells_no_secret().await;
    }
    scene.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sp_api_away_in_every_way_is_answered_with_the_cause_and_nothing_is_sent_twice() {
    carried_out(Peer::SpApi, ROWS, 4, play).await;
}
