//! The table of attacks, as a file.

use std::fmt::Write as _;
use std::path::Path;

use super::attack::Attack;
use super::{
    answer, chunk, door, field, flood, framing, hello, http2, line, name, plain, pour, slow,
    target, upgrade,
};

const HEAD: &str = "\
# What a hostile program may try, and what comes of it

Written from the tests in `tests/it/hostile/`, which carry out every line of it against a sidecar and an upstream that notes
every byte. Where upstream sees nothing, no connection and no byte reached it; after every line, a good request is served.
After a change of the tests: `UPDATE_HOSTILE=1 cargo test --test it hostile::table`.
";

/// A section of the file: its title, and its lines as cells.
type Section = (&'static str, Vec<[String; 4]>);

fn lines(attacks: Vec<Attack>) -> Vec<[String; 4]> {
    attacks
        .into_iter()
        .map(|attack| {
            let reaches = match attack.behind {
                0 => attack.meets.reaches().to_owned(),
                1 => "the one before it".to_owned(),
                more => format!("the {more} before it"),
            };
            [
                attack.name,
                attack.way.text().to_owned(),
                attack.meets.text(),
                reaches,
            ]
        })
        .collect()
}

fn sections() -> Vec<Section> {
    let floods = flood::floods().into_iter().map(|flood| {
        [
            flood.name.to_owned(),
            flood.way.text().to_owned(),
            flood.ends.text().to_owned(),
            format!("at most {} requests", pour::MOST_REQUESTS),
        ]
    });
    let slow = slow::slow().into_iter().map(|slow| {
        let reaches = if slow.begins {
            "at most a beginning, broken off"
        } else {
            "nothing"
        };
        [
            slow.name.to_owned(),
            slow.way.text().to_owned(),
            "cut off after its limit".to_owned(),
            reaches.to_owned(),
        ]
    });
    vec![
        ("Fields", lines(field::attacks())),
        ("Framing", lines(framing::attacks())),
        ("Lines", lines(line::attacks())),
        ("Chunks", lines(chunk::attacks())),
        ("Upgrades", lines(upgrade::attacks())),
        (
            "Plain text, with `listen.plaintext: upgrade`",
            lines(plain::attacks()),
        ),
        ("Targets", lines(target::attacks())),
        ("Names and pseudo-fields", lines(name::attacks())),
        (
            "CONNECT, and what else the proxy listener may be asked",
            lines(door::attacks()),
        ),
        ("First words where TLS is due", lines(hello::attacks())),
        ("HTTP/2 frames", lines(http2::attacks())),
        ("Answers of upstream", lines(answer::attacks())),
        (
            "Floods (everybody else is served meanwhile; memory is bounded)",
            floods.collect(),
        ),
        (
            "Slowness (header_timeout, idle_timeout, response_timeout)",
            slow.collect(),
        ),
    ]
}

fn written() -> String {
    let sections = sections();
    let count: usize = sections.iter().map(|(_, lines)| lines.len()).sum();
    let mut text = format!("{HEAD}\n{count} attacks.\n");
    for (title, lines) in sections {
        let head = "| What is tried | Where | What comes of it | What reaches upstream |";
        write!(text, "\n## {title}\n\n{head}\n|---|---|---|---|\n").unwrap();
        for line in lines {
            let cells = line.map(|cell| cell.replace('|', "\\|"));
            writeln!(text, "| {} |", cells.join(" | ")).unwrap();
        }
    }
    text
}

#[test]
fn the_table_of_attacks_is_what_the_tests_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/HOSTILE.md");
    let want = written();
    if std::env::var_os("UPDATE_HOSTILE").is_some_and(|set| !set.is_empty()) {
        std::fs::write(&path, &want).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == want,
        "tests/HOSTILE.md is out of date: UPDATE_HOSTILE=1 cargo test --test it hostile::table"
    );
}
