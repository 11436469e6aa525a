use super::*;
use crate::audit::verify::{self, Problem};
use std::os::unix::fs::PermissionsExt as _;

fn write(journal: &mut Journal, kinds: &[&str]) {
    let texts: Vec<String> = kinds
        .iter()
        .map(|kind| format!(r#""kind":"{kind}""#))
        .collect();
    let lines: Vec<Waiting<'_>> = texts
        .iter()
        .map(|text| Waiting {
            at: SystemTime::UNIX_EPOCH,
            text,
        })
        .collect();
    journal.append(&lines).unwrap();
    journal.mark(true).unwrap();
}

fn open(path: &Path) -> Journal {
    Journal::open(path, FILE_BYTES, true).unwrap()
}

/// The kinds of all lines up to the first broken one, and what is wrong with that.
fn read(path: &Path) -> (Vec<String>, Option<(String, u64, Problem)>) {
    let mut kinds = Vec::new();
    let report = verify::read(path, &mut |line, _| {
        kinds.push(line.kind.clone());
        Ok(())
    })
    .unwrap();
    let broken = report.broken.map(|broken| {
        let name = broken
            .file
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        (name, broken.line, broken.problem)
    });
    (kinds, broken)
}

fn fresh() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/audit.jsonl");
    (folder, path)
}

#[test]
fn the_chain_goes_on_over_a_restart_and_the_file_is_its_owners_alone() {
    let (_folder, path) = fresh();
    write(&mut open(&path), &["a", "b"]);
    write(&mut open(&path), &["c"]);
    assert_eq!(
        read(&path),
        (["a", "b", "c"].map(str::to_owned).to_vec(), None)
    );
    for file in [&path, &beside(&path, "head")] {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn one_process_at_a_time_writes_a_file() {
    let (_folder, path) = fresh();
    let held = open(&path);
    let second = Journal::open(&path, FILE_BYTES, true);
    assert!(matches!(second, Err(JournalError::Locked(_))));
    drop(held);
    open(&path);
}

#[test]
fn a_torn_line_is_moved_away_and_told_of() {
    let (_folder, path) = fresh();
    write(&mut open(&path), &["a", "b"]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(br#"{"seq":3,"ts":"20"#);
    std::fs::write(&path, &bytes).unwrap();
    assert!(read(&path).1.is_some());
    let mut journal = open(&path);
    assert!(
        journal
            .found()
            .any(|text| text.as_str().contains(r#""torn_bytes":17"#))
    );
    write(&mut journal, &["c"]);
    assert_eq!(read(&path).0, ["a", "b", "repaired", "c"]);
    assert_eq!(read(&path).1, None);
    let torn = std::fs::read(beside(&path, "torn")).unwrap();
    assert_eq!(torn, b"{\"seq\":3,\"ts\":\"20\n");
}

#[test]
fn a_large_file_is_closed_and_the_next_one_carries_the_chain_on() {
    let (_folder, path) = fresh();
    for round in 0..4 {
        // every append but the first finds the file too large
        let mut journal = Journal::open(&path, 1, true).unwrap();
        write(&mut journal, &["a"]);
        if round % 2 == 1 {
            write(&mut journal, &["b"]);
        }
    }
    let (kinds, broken) = read(&path);
    assert_eq!(broken, None);
    assert_eq!(
        kinds,
        [
            "a",
            "continued",
            "a",
            "continued",
            "b",
            "continued",
            "a",
            "continued",
            "a",
            "continued",
            "b"
        ]
    );
    let parts: Vec<u64> = files::older(&path)
        .unwrap()
        .into_iter()
        .map(|(n, _)| n)
        .collect();
    assert_eq!(parts, [1, 2, 3, 4, 5]);
    // old parts may be archived; one missing in the middle is a gap
    std::fs::remove_file(beside(&path, "1")).unwrap();
    assert_eq!(read(&path).1, None);
    std::fs::remove_file(beside(&path, "3")).unwrap();
    let (name, line, problem) = read(&path).1.unwrap();
    assert_eq!((&*name, line), ("audit.jsonl.4", 1));
    assert!(matches!(problem, Problem::Line(_)), "{problem}");
}

#[test]
fn a_crash_between_two_files_loses_nothing() {
    let (_folder, path) = fresh();
    write(&mut open(&path), &["a", "b"]);
    std::fs::rename(&path, beside(&path, "1")).unwrap();
    write(&mut open(&path), &["c"]);
    assert_eq!(
        read(&path),
        (
            ["a", "b", "continued", "c"].map(str::to_owned).to_vec(),
            None
        )
    );
}

#[test]
fn lines_cut_off_at_the_end_are_found_before_and_for_ever_after_the_next_start() {
    let (_folder, path) = fresh();
    write(&mut open(&path), &["a", "b", "c"]);
    let text = std::fs::read_to_string(&path).unwrap();
    let kept: String = text.split_inclusive('\n').take(1).collect();
    std::fs::write(&path, kept).unwrap();
    let cut = (
        "audit.jsonl".to_owned(),
        2,
        Problem::Cut { last: 1, head: 3 },
    );
    assert_eq!(read(&path).1, Some(cut));
    write(&mut open(&path), &["d"]);
    let (_, line, problem) = read(&path).1.unwrap();
    assert_eq!(line, 2);
    assert!(matches!(problem, Problem::Line(_)), "{problem}");
}

#[test]
fn a_file_that_was_taken_away_whole_is_told_of() {
    for also in [None, Some("head")] {
        let (_folder, path) = fresh();
        write(&mut open(&path), &["a", "b"]);
        match also {
            // every line is gone, and the head knows
            None => std::fs::remove_file(&path).unwrap(),
            // the end may have been cut, and nothing says where it was
            Some(name) => std::fs::remove_file(beside(&path, name)).unwrap(),
        }
        write(&mut open(&path), &["c"]);
        let (_, _, problem) = read(&path).1.unwrap();
        assert!(matches!(problem, Problem::Told(_)), "{also:?}: {problem}");
    }
}

#[test]
fn the_last_line_written_anew_is_found_by_the_head() {
    let (_folder, path) = fresh();
    write(&mut open(&path), &["a", "b"]);
    let first = std::fs::read_to_string(&path).unwrap();
    let first = first.split_inclusive('\n').next().unwrap().to_owned();
    let (_, link) = crate::audit::chain::Line::read(first.as_bytes()).unwrap();
    let mut forged = first.into_bytes();
    link.seal(SystemTime::UNIX_EPOCH, r#""kind":"forged""#, &mut forged);
    std::fs::write(&path, forged).unwrap();
    assert_eq!(
        read(&path).1,
        Some(("audit.jsonl".to_owned(), 2, Problem::NotTheHeads(2)))
    );
}

#[test]
fn a_file_that_somebody_changes_meanwhile_is_not_written_on() {
    let (_folder, path) = fresh();
    let mut journal = open(&path);
    write(&mut journal, &["a"]);
    std::fs::rename(&path, beside(&path, "taken")).unwrap();
    let line = [Waiting {
        at: SystemTime::UNIX_EPOCH,
        text: r#""kind":"b""#,
    }];
    let error = journal.append(&line).unwrap_err();
    assert!(matches!(error, JournalError::Disturbed(_)), "{error}");
    drop(journal);
    let mut journal = open(&path);
    write(&mut journal, &["b"]);
    // put back, the two do not fit together unseen
    assert!(read(&path).1.is_some());
    let taken = std::fs::read(beside(&path, "taken")).unwrap();
    std::fs::write(&path, taken).unwrap();
    let error = journal.append(&line).unwrap_err();
    assert!(matches!(error, JournalError::Disturbed(_)), "{error}");
}

#[test]
fn a_folder_that_is_gone_later_is_not_made_again() {
    let (folder, path) = fresh();
    let missing = Journal::open(&path, FILE_BYTES, false).unwrap_err();
    assert_eq!(missing.cause(), "not_found");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
