use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;
use crate::telemetry::record::Outcome;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000 + seconds)
}

fn call(traffic: &Traffic, template: &str, now: SystemTime) {
    let kind = Kind {
        tenant: TenantId::parse("acme").unwrap(),
        method: http::Method::GET,
        template: template.into(),
    };
    traffic.note(kind, Outcome::Refused, Some(Reason::ScopeDenied), now);
}

#[test]
fn what_was_seen_survives_a_restart_and_is_nobody_elses_to_read() {
    let folder = tempfile::tempdir().unwrap();
    let audit = folder.path().join("audit.jsonl");
    let first = Traffic::open(&audit, at(0));
    call(&first, "/a", at(1));
    first.save(at(2));
    let second = Traffic::open(&audit, at(1000));
    assert_eq!(second.snapshot(), first.snapshot());
    assert_eq!(second.seen_since(), at(0));
    call(&second, "/a", at(1001));
    assert_eq!(second.seen()[0].1.requests, 2);
    assert_eq!(second.seen()[0].1.first, at(1));
    let mode = std::fs::metadata(beside(&audit)).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let names = std::fs::read_dir(folder.path()).unwrap();
    assert_eq!(names.count(), 1, "nothing is left beside it");
}

#[test]
fn a_file_that_is_none_of_ours_is_begun_anew_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let audit = folder.path().join("audit.jsonl");
    for text in [
        "",
        "{",
        "[]",
        r#"{"version":2,"since":"2026-01-01T00:00:00Z","kinds":[]}"#,
    ] {
        std::fs::write(beside(&audit), text).unwrap();
        let traffic = Traffic::open(&audit, at(5));
        assert_eq!(traffic.seen_since(), at(5), "{text}");
        assert!(traffic.standing().error.is_some(), "{text}");
        traffic.save(at(6));
        assert_eq!(traffic.standing().error, None, "{text}");
    }
}

#[test]
fn a_line_that_names_no_tenant_or_time_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let audit = folder.path().join("audit.jsonl");
    let first = Traffic::open(&audit, at(0));
    for template in ["/a", "/b", "/c"] {
        call(&first, template, at(1));
    }
    let mut snapshot = first.snapshot();
    snapshot.kinds[0].tenant = "../x".to_owned();
    snapshot.kinds[1].last_seen = "soon".to_owned();
    std::fs::write(beside(&audit), serde_json::to_vec(&snapshot).unwrap()).unwrap();
    let seen = Traffic::open(&audit, at(9)).seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(&*seen[0].0.template, "/c");
}

#[test]
fn where_nothing_can_be_written_that_is_said_and_counting_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let traffic = Traffic::open(&folder.path().join("no/folder/audit.jsonl"), at(0));
    traffic.save(at(1));
    assert!(traffic.standing().error.is_some());
    call(&traffic, "/a", at(2));
    assert_eq!(traffic.seen().len(), 1);
}

#[test]
fn what_nobody_calls_for_fifteen_months_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let traffic = Traffic::open(&folder.path().join("audit.jsonl"), at(0));
    call(&traffic, "/a", at(0));
    traffic.save(at(454 * 86_400));
    assert_eq!(traffic.seen().len(), 1);
    traffic.save(at(456 * 86_400));
    assert_eq!(traffic.seen().len(), 0);
}
