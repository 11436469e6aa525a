//! The disk of the audit away: calls that have to be audited are refused with the cause, the others go on.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::kind::{Fault, Peer, Row, row};
use super::scene::{CALM, PARTICIPATIONS, Scene, carried_out, setup};
use crate::audit::SmallDisk;
use crate::support::sidecar::{NA, Stage};

/// What has to be audited.
const ADDRESS: &str = "/orders/v0/orders/902-3159896-1390916/address";

const REFUSED: &str = "503 audit_unavailable";
const FIRES: &str = "audit_unavailable; verdict audit_unavailable";

const NO_ENTRY: &str = "the audit cannot be written: calls that have to be audited are refused (audit_unavailable) until it can; name a place that this user may write in `audit.path`, or make room (permission_denied)";
const READ_ONLY: &str = "the audit cannot be written: calls that have to be audited are refused (audit_unavailable) until it can; name a place that this user may write in `audit.path`, or make room (read_only)";
const FULL: &str = "the audit cannot be written: calls that have to be audited are refused (audit_unavailable) until it can; name a place that this user may write in `audit.path`, or make room (disk_full)";

const ROWS: &[Row] = &[
    row(Fault::Down, REFUSED, NO_ENTRY, FIRES),
    row(Fault::Refuses, REFUSED, READ_ONLY, FIRES),
    row(Fault::Truncated, REFUSED, FULL, FIRES),
    row(Fault::Flaps, REFUSED, FULL, FIRES),
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

/// A disk, and how it is away.
struct Disk {
    small: SmallDisk,
    fault: Fault,
}

impl Disk {
    fn file(&self) -> PathBuf {
        self.small.0.join("audit.jsonl")
    }

    fn ballast(&self) -> PathBuf {
        self.small.0.join("ballast")
    }

    fn mode(&self, bits: u32) {
        let mode = std::fs::Permissions::from_mode(bits);
        std::fs::set_permissions(&self.small.0, mode).unwrap();
    }

    /// What has to be so before the sidecar opens its file: a file that is open stays so.
    fn begins_before(&self) {
        if self.fault == Fault::Down {
            self.mode(0);
        } else if self.fault == Fault::Refuses {
            self.small.remount("ro");
        }
    }

    fn begins(&self) {
        if matches!(self.fault, Fault::Truncated | Fault::Flaps) {
            // a line would be cut off
            let _as_much_as_there_is_room_for = std::fs::write(self.ballast(), vec![0; 1 << 20]);
        }
    }

    fn ends(&self) {
        if self.fault == Fault::Down {
            self.mode(0o700);
        } else if self.fault == Fault::Refuses {
            self.small.remount("rw");
        } else {
            std::fs::remove_file(self.ballast()).unwrap();
        }
    }
}

async fn play(rows: &'static [Row]) {
    let [row] = rows else {
        panic!("a file that is open stays so: each row has a process of its own");
    };
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk {
        small: SmallDisk::mount(&folder.path().join("disk")).unwrap(),
        fault: row.fault,
    };
    let mut world = setup(rows);
    world.audit_path = Some(disk.file());
    disk.begins_before();
    let mut scene = Scene::on(Stage::set(&world).await, &[], None, rows).await;
    let (tenant, mut mark) = (row.fault.tenant(), 0);
    let times = if row.fault == Fault::Flaps { 3 } else { 1 };
    for _ in 0..times {
        disk.begins();
        let seen = until_refused(&mut scene, tenant).await;
        assert_eq!(seen.text, row.sees, "{row:?}: {}", scene.child.stdout());
        scene.logs(mark, row, Some(&seen)).await;
        scene.fires(row, "audit").await;
        for name in [tenant, CALM] {
            let seen = scene.get(name, NA, PARTICIPATIONS).await;
            assert_eq!(seen.text, "200", "what need not be audited, of {name}");
        }
        mark = scene.mark();
        disk.ends();
        until_served(&mut scene, tenant).await;
        scene.is_calm("audit").await;
    }
    let audit = std::fs::read_to_string(disk.file()).unwrap();
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
        carried_out(Peer::Disk, ROWS, ROWS.len(), play).await;
    }
}
