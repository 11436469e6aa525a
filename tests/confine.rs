//! What is out of reach once the process is confined. Confinement is a thread's, and a test has a thread of its own.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and its helpers stand outside #[test] functions"
)]

use std::io::ErrorKind;
use std::net::ToSocketAddrs as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use spapi_sidecar::config::Config;
use spapi_sidecar::confine::{Memory, Report, confine};

const SAMPLE: &str = include_str!("../proxy.yaml");

/// A configuration with its files in `sidecar`, and somebody's home beside it.
fn place() -> (tempfile::TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["etc", "run", "home"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    let at = |name: &str| folder.path().join(name).display().to_string();
    let text = SAMPLE
        .replace("/run/spapi-sidecar", &at("run"))
        .replace("/etc/spapi-sidecar", &at("etc"))
        .replace("/var/lib/spapi-sidecar", &at("state"));
    for name in ["etc/proxy.yaml", "etc/role-id", "home/id_rsa"] {
        std::fs::write(folder.path().join(name), &text).unwrap();
    }
    let config = Config::parse("proxy.yaml", &text, &|_| None)
        .map_err(|faults| faults.to_string())
        .unwrap();
    (folder, config)
}

/// Whether this kernel has what the test is about. Where it has not, the report has to say so.
fn holds(report: &Report) -> bool {
    if report.files.starts_with("none") {
        eprintln!("skipped: {}", report.files);
        return false;
    }
    true
}

fn denied(path: &Path) -> bool {
    std::fs::read(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

#[test]
fn a_confined_process_reads_what_it_was_configured_with_and_nobody_elses_files() {
    let (folder, config) = place();
    let at = |name: &str| folder.path().join(name);
    let report = confine(&at("etc/proxy.yaml"), &config, &[], Memory::NotLocked);
    if !holds(&report) {
        return;
    }
    assert_eq!(report.missing, Vec::<std::path::PathBuf>::new());
    for name in ["etc/proxy.yaml", "etc/role-id"] {
        assert!(std::fs::read(at(name)).is_ok(), "{name}");
    }
    assert!(denied(&at("home/id_rsa")));
    assert!(denied(Path::new("/etc/shadow")));
    assert!(denied(Path::new("/proc/1/environ")));
    assert!(std::fs::write(at("etc/role-id"), "x").is_err());
    assert!(std::fs::read(at("etc/role-id")).is_ok_and(|text| text != b"x"));
}

#[test]
fn a_confined_process_writes_where_it_was_told_to_and_nowhere_else() {
    let (folder, config) = place();
    let at = |name: &str| folder.path().join(name);
    if !holds(&confine(
        &at("etc/proxy.yaml"),
        &config,
        &[],
        Memory::NotLocked,
    )) {
        return;
    }
    for name in ["run/ca.pem.new", "state/audit.jsonl"] {
        std::fs::write(at(name), "x").unwrap();
    }
    std::fs::rename(at("run/ca.pem.new"), at("run/ca.pem")).unwrap();
    assert!(std::fs::write(at("home/authorized_keys"), "x").is_err());
    assert!(std::fs::write(std::env::temp_dir().join("spapi-sidecar-elsewhere"), "x").is_err());
}

#[test]
fn a_file_that_is_replaced_by_renaming_is_read_anew() {
    let (folder, config) = place();
    let at = |name: &str| folder.path().join(name);
    // as another process does it: from a thread that is not confined
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (new, role) = (at("etc/role-id.new"), at("etc/role-id"));
    let other = std::thread::spawn(move || {
        wait.recv().unwrap();
        std::fs::write(&new, "second").unwrap();
        std::fs::rename(&new, &role).unwrap();
    });
    if !holds(&confine(
        &at("etc/proxy.yaml"),
        &config,
        &[],
        Memory::NotLocked,
    )) {
        return;
    }
    go.send(()).unwrap();
    other.join().unwrap();
    assert_eq!(std::fs::read(at("etc/role-id")).unwrap(), b"second");
}

#[test]
fn a_confined_process_runs_no_program_and_keeps_no_capability() {
    let (folder, config) = place();
    let report = confine(
        &folder.path().join("etc/proxy.yaml"),
        &config,
        &[],
        Memory::NotLocked,
    );
    assert_eq!(report.capabilities, Ok(()));
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    if !status.is_empty() {
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
        assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    }
    if holds(&report) {
        let script = folder.path().join("run/x");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
        for program in [Path::new("/bin/true"), &script] {
            assert!(
                std::process::Command::new(program).status().is_err(),
                "{program:?} ran"
            );
        }
    }
}

#[test]
fn names_are_resolved_and_the_systems_roots_are_read_all_the_same() {
    let (folder, config) = place();
    let before = rustls_native_certs::load_native_certs().certs.len();
    let _report = confine(
        &folder.path().join("etc/proxy.yaml"),
        &config,
        &[],
        Memory::NotLocked,
    );
    assert!(
        ("localhost", 443)
            .to_socket_addrs()
            .unwrap()
            .next()
            .is_some()
    );
    assert_eq!(rustls_native_certs::load_native_certs().certs.len(), before);
}
