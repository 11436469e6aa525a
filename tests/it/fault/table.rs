//! The table, as a file: each peer's test writes, or checks, its own section.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::kind::{Fault, Peer, Row};

const HEAD: &str = "\
# What a peer may do to a sidecar, and what comes of it

Written from the tests in `tests/it/fault/`, which carry out every line of it against a process of the binary with the real
peer behind a proxy that spoils what passes. In every line besides what it says: what can be served without the peer is
served meanwhile (a token in memory while LWA or the store is away; everything while the webhook or the collector is), the
next call after the fault is served, what LWA, SP-API, the store or the disk made fire is cleared, and no token or secret is in
anything that the process wrote, answered or shows.
After a change of the tests: `UPDATE_FAULTS=1 cargo test --test it fault::`.
";

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/FAULTS.md")
}

fn section(peer: Peer, rows: &[Row]) -> String {
    let mut text = format!(
        "## {}\n\n| Fault | What the program sees | In the log | What fires; the verdict |\n|---|---|---|---|\n",
        peer.title()
    );
    for fault in Fault::ALL {
        let of_it: Vec<&Row> = rows.iter().filter(|row| row.fault == fault).collect();
        assert_eq!(
            of_it.is_empty(),
            peer.senseless(fault).is_some(),
            "{peer:?}: a row, or a reason for none, of {fault:?}"
        );
        let is_a_clocks = matches!(fault, Fault::Ahead | Fault::Behind);
        if of_it.is_empty() && !is_a_clocks {
            writeln!(text, "| {} | – | – | – |", fault.text()).unwrap();
        }
        for row in of_it {
            let cells = [row.sees, row.log, row.alert].map(|cell| cell.replace('|', "\\|"));
            writeln!(text, "| {} | {} |", fault.text(), cells.join(" | ")).unwrap();
        }
    }
    text
}

/// The reasons for what is marked by a dash, in one place.
fn reasons() -> String {
    let mut text = "## Where nothing is tried\n\n".to_owned();
    for peer in Peer::ALL {
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for fault in Fault::ALL {
            let is_a_clocks = matches!(fault, Fault::Ahead | Fault::Behind);
            let Some(reason) = peer.senseless(fault).filter(|_| !is_a_clocks) else {
                continue;
            };
            match reasons.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, faults)) => faults.push(fault.text()),
                None => reasons.push((reason, vec![fault.text()])),
            }
        }
        for (reason, faults) in reasons {
            writeln!(text, "- {}, {}: {reason}.", peer.title(), faults.join(", ")).unwrap();
        }
    }
    text
}

/// Puts a section in its place among the others.
fn placed(file: &str, title: &str, section: &str) -> String {
    let order: Vec<&str> = Peer::ALL.iter().map(|peer| peer.title()).collect();
    let last = "Where nothing is tried";
    let mut text = HEAD.to_owned();
    for name in order.into_iter().chain([last]) {
        let found = if name == title {
            section
        } else if name == last {
            &reasons()
        } else {
            part(file, name)
        };
        if !found.is_empty() {
            write!(text, "\n{}\n", found.trim_end()).unwrap();
        }
    }
    text
}

/// A section of the file, with its heading.
fn part<'a>(file: &'a str, title: &str) -> &'a str {
    let heading = format!("## {title}\n");
    let Some(from) = file.find(&heading) else {
        return "";
    };
    let rest = &file[from..];
    let end = rest[3..].find("\n## ").map_or(rest.len(), |at| at + 4);
    &rest[..end]
}

/// Checks what the file says of a peer against the rows that were carried out.
pub(super) fn says(peer: Peer, rows: &[Row]) {
    let want = section(peer, rows);
    if std::env::var_os("UPDATE_FAULTS").is_some_and(|set| !set.is_empty()) {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path())
            .unwrap();
        // other peers write theirs at the same time
        file.lock().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let text = placed(&text, peer.title(), &want);
        file.rewind().unwrap();
        file.set_len(0).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        return;
    }
    let file = std::fs::read_to_string(path()).unwrap_or_default();
    assert_eq!(
        part(&file, peer.title()).trim_end(),
        want.trim_end(),
        "tests/FAULTS.md is out of date: UPDATE_FAULTS=1 cargo test --test it fault::"
    );
}

#[test]
fn the_table_of_faults_has_every_peer_and_a_reason_for_every_dash() {
    if std::env::var_os("UPDATE_FAULTS").is_some_and(|set| !set.is_empty()) {
        return;
    }
    let file = std::fs::read_to_string(path()).unwrap();
    assert_eq!(placed(&file, "", ""), file);
    for peer in Peer::ALL {
        let rows = part(&file, peer.title()).lines().skip(4);
        let faults: Vec<&str> = rows
            .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
            .collect();
        let clocks = [Fault::Ahead, Fault::Behind];
        for fault in Fault::ALL
            .into_iter()
            .filter(|fault| !clocks.contains(fault))
        {
            assert!(faults.contains(&fault.text()), "{peer:?}: {fault:?}");
        }
    }
}
