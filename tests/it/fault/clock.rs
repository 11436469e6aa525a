//! The wall clock wrong by years: no token is lost by it, every certificate is, and all is well once it is set.
//!
//! The clock of the one process is turned by a library that is loaded before the C library (`clock_shim.c`).

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::front::{Front, Speaks};
use super::kind::{Fault, Peer, Row, row};
use super::scene::{ORDERS, Scene, amazon, carried_out, setup};
use crate::support::sidecar::{NA, Stage};

const TEN_YEARS: i64 = 10 * 365 * 86_400;

const TLS: &str = "502 upstream_tls";
const HANDSHAKE: &str =
    "The TLS handshake with sellingpartnerapi-na.amazon.com failed. (upstream_tls)";
const VERDICT: &str = "verdict upstream_unreachable";

const ROWS: &[Row] = &[
    row(Fault::Ahead, TLS, HANDSHAKE, VERDICT),
    row(Fault::Behind, TLS, HANDSHAKE, VERDICT),
];

/// The library, made in a folder.
fn shim(folder: &Path) -> PathBuf {
    let library = folder.join("clock.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fault/clock_shim.c");
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    library
}

async fn play(rows: &'static [Row]) {
    let folder = tempfile::tempdir().unwrap();
    let (library, offset) = (shim(folder.path()), folder.path().join("offset"));
    std::fs::write(&offset, [0; 8]).unwrap();
    let clock = std::fs::File::options().write(true).open(&offset).unwrap();
    let turn = |by: i64| clock.write_all_at(&by.to_ne_bytes(), 0).unwrap();
    let front = Front::open(NA, Speaks::Tls).await;
    let mut world = setup(rows);
    world.connect_to = vec![front.stands_for(NA)];
    world.trusted.clone_from(&front.pem);
    let stage = Stage::set(&world).await;
    let (address, ca) = amazon(&stage);
    front.leads_to(address, ca);
    let variables = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAULTS_CLOCK", offset.to_str().unwrap()),
    ];
    let mut scene = Scene::on(stage, &variables, None, rows).await;
    for row in rows {
        let tenant = row.fault.tenant();
        // kept: a new one would be for the program to disbelieve, as the sidecar's certificate is of another decade then
        let mut kept = scene.connection(NA).await;
        let seen = scene.get_over(&mut kept, tenant, NA, ORDERS).await;
        assert_eq!(seen.text, "200", "before");
        let mark = scene.mark();
        turn(if row.fault == Fault::Ahead {
            TEN_YEARS
        } else {
            -TEN_YEARS
        });
        let seen = scene.get_over(&mut kept, tenant, NA, ORDERS).await;
        assert_eq!(seen.text, row.sees, "{row:?}: {}", scene.child.stdout());
        scene.logs(mark, row, Some(&seen)).await;
        scene.fires(row, tenant).await;
        let exchanges = scene.exchanges();
        turn(0);
        let seen = scene.get_over(&mut kept, tenant, NA, ORDERS).await;
        assert_eq!(seen.text, "200", "at once: {}", scene.child.stdout());
        scene.serves(tenant, "over a new connection").await;
        // a token's life is no matter of the wall clock
        assert_eq!(scene.exchanges(), exchanges);
        scene.tells_no_secret().await;
    }
    scene.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_wrong_by_years_loses_no_token_and_is_no_trouble_once_it_is_set() {
    carried_out(Peer::Clock, ROWS, 1, play).await;
}
