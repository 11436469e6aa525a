//! LWA away: tokens in memory go on, a call that needs a new one is refused with the cause.

use super::front::{Front, Speaks};
use super::kind::{Fault, NOTHING, Peer, Row, row};
use super::scene::{CALM, Scene, amazon, carried_out, setup};
use crate::support::fleet::LWA;
use crate::support::sidecar::Stage;

const REFUSED: &str = "503 token_unavailable";
const GONE: &str = "no token (lwa_unreachable)";
const FIRES: &str = "refresh_failing; verdict lwa_unreachable";

pub(super) const ROWS: &[Row] = &[
    row(Fault::Down, REFUSED, GONE, FIRES),
    row(Fault::Refuses, REFUSED, GONE, FIRES),
    row(Fault::Hangs, REFUSED, GONE, FIRES),
    row(Fault::Silent, REFUSED, GONE, FIRES),
    row(Fault::Slow, REFUSED, GONE, FIRES),
    row(Fault::SlowBody, REFUSED, GONE, FIRES),
    row(Fault::ResetsMidHead, REFUSED, GONE, FIRES),
    row(Fault::ResetsMidBody, REFUSED, GONE, FIRES),
    row(Fault::Garbage, REFUSED, GONE, FIRES),
    row(Fault::NoTls, REFUSED, GONE, FIRES),
    row(Fault::Truncated, REFUSED, GONE, FIRES),
    row(Fault::WrongCertificate, REFUSED, GONE, FIRES),
    row(Fault::UnknownIssuer, REFUSED, GONE, FIRES),
    row(Fault::ExpiredCertificate, REFUSED, GONE, FIRES),
    row(Fault::Flaps, "200", NOTHING, NOTHING),
];

pub(super) async fn play(rows: &'static [Row]) {
    let mut front = Front::open(LWA, Speaks::Tls).await;
    let mut world = setup(rows);
    world.connect_to = vec![front.stands_for(LWA)];
    world.trusted.clone_from(&front.pem);
    let stage = Stage::set(&world).await;
    let (address, ca) = amazon(&stage);
    front.leads_to(address, ca);
    let mut scene = Scene::on(stage, &[], None, rows).await;
    scene.serves(CALM, "before everything").await;
    for row in rows {
        let tenant = row.fault.tenant();
        scene.serves(tenant, "before").await;
        front.set(Some(row.fault)).await;
        let mark = scene.mark();
        scene.serves(tenant, "with a token in memory").await;
        scene.needs_a_token(tenant);
        let seen = scene.call(tenant).await;
        assert_eq!(seen.text, row.sees, "{row:?}: {}", scene.child.stdout());
        assert!(front.accepted() > 0 || row.fault == Fault::Down, "{row:?}");
        scene.logs(mark, row, Some(&seen)).await;
        scene.fires(row, tenant).await;
        scene.serves(CALM, "while another waits for LWA").await;
        front.set(None).await;
        scene.serves_again(tenant).await;
        scene.is_calm(tenant).await;
        scene.tells_no_secret().await;
    }
    scene.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lwa_away_in_every_way_costs_no_call_with_a_token_and_is_named_to_one_without() {
    carried_out(Peer::Lwa, ROWS, 4, play).await;
}
