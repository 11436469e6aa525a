//! The disk of the audit away: calls that have to be audited are refused with the cause, the others go on.

use super::kind::{Fault, Peer, Row, row};
use super::scene::{CALM, PARTICIPATIONS, Scene, carried_out, setup};
use crate::audit::SmallDisk;
use crate::support::sidecar::{NA, Stage};

/// What has to be audited.
const ADDRESS: &str = "/orders/v0/orders/902-3159896-1390916/address";

const REFUSED: &str = "503 audit_unavailable";
const FIRES: &str = "audit_unavailable; verdict audit_unavailable";

const ROWS: &[Row] = &[
    row(
        Fault::Down,
        REFUSED,
        "the audit cannot be written: calls that have to be audited are refused (audit_unavailable) until it can; name a place that this user may write in `audit.path`, or make room (io_error)",
        FIRES,
    ),
    row(
        Fault::Refuses,
        REFUSED,
        "the audit cannot be written: calls that have to be audited are refused (audit_unavailable) until it can; name a place that this user may write in `audit.path`, or make room (read_only)",
        FIRES,
    ),
    row(
        Fault::Truncated,
        REFUSED,
        "the audit cannot be written: calls that have to be audited are refused (audit_unavailable) until it can; name a place that this user may write in `audit.path`, or make room (disk_full)",
        FIRES,
    ),
    row(
        Fault::Flaps,
        REFUSED,
        "the audit cannot be written: calls that have to be audited are refused (audit_unavailable) until it can; name a place that this user may write in `audit.path`, or make room (read_only)",
        FIRES,
    ),
];

/// Restricted calls until one is not served; what it saw.
async fn until_refused(scene: &mut Scene, tenant: &str) -> super::scene::Seen {
    for _ in 0..2000 {
        let seen = scene.get(tenant, NA, ADDRESS).await;
        if seen.text != "200" {
            return seen;
        }
    }
    panic!("every call is served, and none should be");
}

async fn until_served(scene: &mut Scene, tenant: &str) {
    for _ in 0..400 {
        if scene.get(tenant, NA, ADDRESS).await.text == "200" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("never served again: {}", scene.child.stdout());
}

async fn play(rows: &'static [Row]) {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("disk");
    std::fs::write(&place, "no folder").unwrap();
    let mut world = setup(rows);
    world.audit_path = Some(place.join("audit.jsonl"));
    let stage = Stage::set(&world).await;
    let mut scene = Scene::on(stage, &[], None, rows).await;
    let (mut disk, mut mark) = (None, 0);
    for row in rows {
        let tenant = row.fault.tenant();
        let ballast = place.join("ballast");
        let remount = |disk: &Option<SmallDisk>, how| disk.as_ref().unwrap().remount(how);
        match row.fault {
            Fault::Refuses => remount(&disk, "ro"),
            // a line would be cut off
            Fault::Truncated => {
                let _as_much_as_there_is_room_for = std::fs::write(&ballast, vec![0; 1 << 20]);
            }
            Fault::Flaps => {
                for _ in 0..2 {
                    remount(&disk, "ro");
                    assert_eq!(until_refused(&mut scene, tenant).await.text, row.sees);
                    remount(&disk, "rw");
                    until_served(&mut scene, tenant).await;
                }
                remount(&disk, "ro");
            }
            // it is away from the start
            _ => {}
        }
        let seen = until_refused(&mut scene, tenant).await;
        assert_eq!(seen.text, row.sees, "{row:?}: {}", scene.child.stdout());
        scene.logs(mark, row, Some(&seen)).await;
        scene.fires(row, "audit").await;
        for name in [tenant, CALM] {
            let seen = scene.get(name, NA, PARTICIPATIONS).await;
            assert_eq!(seen.text, "200", "what need not be audited, of {name}");
        }
        mark = scene.mark();
        match row.fault {
            Fault::Down => {
                std::fs::remove_file(&place).unwrap();
                disk = SmallDisk::mount(&place);
                assert!(disk.is_some(), "mounted once already");
            }
            Fault::Truncated => std::fs::remove_file(&ballast).unwrap(),
            _ => remount(&disk, "rw"),
        }
        until_served(&mut scene, tenant).await;
        scene.is_calm("audit").await;
        scene.tells_no_secret().await;
    }
    let audit = std::fs::read_to_string(place.join("audit.jsonl")).unwrap();
    assert!(
        !audit.contains("canary") && !audit.contains("Atz"),
        "{audit}"
    );
    scene.ends().await;
}

/// Whether this user may mount a file system; a loud word, and in CI a failure, where not.
fn may_mount() -> bool {
    let folder = tempfile::tempdir().unwrap();
    if SmallDisk::mount(&folder.path().join("disk")).is_some() {
        return true;
    }
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!in_ci, "this user may not mount a file system");
    eprintln!("\n*** SKIPPED: this user may not mount a file system\n");
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audits_disk_away_in_every_way_refuses_what_has_to_be_audited_and_nothing_else() {
    if may_mount() {
        carried_out(Peer::Disk, ROWS, 1, play).await;
    }
}
