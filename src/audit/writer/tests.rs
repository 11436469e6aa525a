use std::path::Path;

use super::*;
use crate::audit::verify;
use crate::audit::{Audit, Call, Unavailable};
use crate::telemetry::record::RequestId;
use crate::tenant::{AppId, TenantId};

fn writer(places: &[&Path]) -> (Writer, Audit) {
    let queue = Arc::<Queue>::default();
    let events = Events::default();
    let places = places.iter().map(|place| (*place).to_owned()).collect();
    let writer = Writer::new(places, events.clone(), Arc::clone(&queue));
    (writer, Audit { queue, events })
}

/// Hands in the line of a call; what became of it, once the writer has said so.
fn call(
    audit: &Audit,
    request: u64,
) -> Result<impl Future<Output = Result<(), Unavailable>>, Unavailable> {
    let (tenant, app) = (
        TenantId::parse("acme").unwrap(),
        AppId::parse("erp").unwrap(),
    );
    let line = Call {
        request: RequestId(request),
        tenant: &tenant,
        app: &app,
        client: None,
        login: false,
        method: &http::Method::GET,
        host: "h",
        operation: "o",
        template: "/t",
        data_elements: None,
    };
    audit.before_call(&line).map(crate::audit::Pending::on_disk)
}

fn kinds(path: &Path) -> Vec<String> {
    let mut kinds = Vec::new();
    let report = verify::read(path, &mut |line, _| {
        kinds.push(line.kind.clone());
        Ok(())
    })
    .unwrap();
    assert_eq!(report.broken, None);
    kinds
}

#[tokio::test]
async fn many_callers_share_one_wait_for_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let (mut writer, audit) = writer(&[&path]);
    writer.open();
    let calls: Vec<_> = (0..500).map(|n| call(&audit, n).unwrap()).collect();
    writer.turn();
    for call in calls {
        assert_eq!(call.await, Ok(()));
    }
    assert_eq!(audit.state().syncs, 1);
    assert_eq!(kinds(&path), vec!["request"; 500]);
}

#[tokio::test]
async fn while_the_file_cannot_be_written_calls_are_refused_and_other_lines_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    // what cannot be written, whoever asks
    let path = folder.path().join("audit.jsonl");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let (mut writer, audit) = writer(&[&path]);
    writer.open();
    let pending = call(&audit, 1).unwrap();
    audit.note(Text::stopped());
    writer.turn();
    let full = Err(Unavailable { cause: "disk_full" });
    assert_eq!(pending.await, full);
    assert_eq!(call(&audit, 2).map(drop), full);
    writer.turn();
    assert_eq!(audit.state().unavailable, Some("disk_full"));
    std::fs::remove_file(&path).unwrap();
    writer.turn();
    assert_eq!(audit.state().unavailable, None);
    let pending = call(&audit, 3).unwrap();
    writer.turn();
    assert_eq!(pending.await, Ok(()));
    assert_eq!(kinds(&path), ["resumed", "stopped", "request"]);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.contains(r#""cause":"disk_full","calls_refused":2"#),
        "{text}"
    );
    assert_eq!(audit.state().refused, 2);
}

#[test]
fn lines_that_find_no_room_are_counted_in_a_line_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let (mut writer, audit) = writer(&[&path]);
    writer.open();
    for _ in 0..10_007 {
        audit.note(Text::stopped());
    }
    while audit.queue.has_lines() {
        writer.turn();
    }
    assert_eq!(kinds(&path).len(), 10_001);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(r#""kind":"dropped","lines":7"#));
    assert_eq!(audit.state().lost, 7);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_does_not_answer_holds_nobody_up_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let (mut writer, audit) = writer(&[&path]);
    writer.open();
    // nobody turns: the writer hangs in its write
    let stalled = Err(Unavailable { cause: "stalled" });
    assert_eq!(call(&audit, 1).unwrap().await, stalled);
    assert_eq!(call(&audit, 2).map(drop), stalled);
    writer.turn();
    assert_eq!(audit.state().unavailable, None);
}

#[test]
fn another_place_is_taken_where_the_usual_one_is_another_sidecars_and_not_where_it_is_only_broken()
{
    let folder = tempfile::tempdir().unwrap();
    let [usual, own] = ["usual.jsonl", "own.jsonl"].map(|name| folder.path().join(name));
    let held = Journal::open(&usual, FILE_BYTES, true).unwrap();
    let (mut second, audit) = writer(&[&usual, &own]);
    second.open();
    assert_eq!(audit.state().path, Some(own.clone()));
    drop((held, second));
    std::fs::remove_file(&own).unwrap();
    std::fs::remove_file(&usual).unwrap();
    std::fs::create_dir(&usual).unwrap();
    let (mut third, audit) = writer(&[&usual, &own]);
    third.open();
    assert_eq!((audit.state().path, own.exists()), (None, false));
    assert!(audit.state().unavailable.is_some());
}
