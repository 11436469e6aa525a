//! Properties that hold for any input, on made-up ones: the functions of `fuzz/src`, which the fuzz targets call as well.
//!
//! Inputs are the seeds of `fuzz/corpus`, changed and crossed. By default each property is tried a few hundred times;
//! `PROPERTY_SECONDS=60` tries each for that long. How often it was tried is printed (`--nocapture` shows it).
#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test fails by panicking, prints what it did, and shares its modules with a crate of its own"
)]

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use tokio::time::Instant;

#[path = "../fuzz/src/lib.rs"]
mod properties;

/// Tries by default, for a property that costs microseconds, and for the one that opens a connection.
const TRIES: u32 = 512;
const TRIES_OF_A_CONNECTION: u32 = 64;

/// What inputs are made of besides their seeds.
const WORDS: [&str; 28] = [
    "/",
    "//",
    "/./",
    "/../",
    "%2e",
    "%2F",
    "%5C",
    "%00",
    "%",
    ";",
    "?",
    "#",
    "\\",
    "\n",
    "\r\n",
    "\r\n\r\n",
    " ",
    ":",
    "@",
    "*",
    "{x}",
    "canary",
    "~",
    "\0",
    "\u{fc}",
    "0x7f",
    "[::ffff:1]",
    "Transfer-Encoding: chunked\r\n",
];

/// Bytes that show themselves as text.
#[derive(Clone)]
struct Input(Vec<u8>);

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// One change of an input.
#[derive(Clone, Debug)]
enum Change {
    Insert(Index, &'static str),
    Byte(Index, u8),
    Remove(Index, usize),
    Repeat(Index, usize),
    Cross(Index, Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let place = any::<Index>;
    prop_oneof![
        (place(), select(&WORDS[..])).prop_map(|(at, word)| Change::Insert(at, word)),
        (place(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        (place(), 1..8_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        (place(), 1..16_usize).prop_map(|(at, length)| Change::Repeat(at, length)),
        (place(), place(), place()).prop_map(|(at, other, from)| Change::Cross(at, other, from)),
    ]
}

fn changed(mut input: Vec<u8>, changes: &[Change], seeds: &[Vec<u8>]) -> Vec<u8> {
    for change in changes {
        match change {
            Change::Insert(at, word) => {
                let at = at.index(input.len() + 1);
                input.splice(at..at, word.bytes());
            }
            Change::Byte(at, byte) if !input.is_empty() => {
                let at = at.index(input.len());
                input[at] = *byte;
            }
            Change::Remove(at, length) if !input.is_empty() => {
                let at = at.index(input.len());
                let end = (at + length).min(input.len());
                input.drain(at..end);
            }
            Change::Repeat(at, length) if !input.is_empty() => {
                let at = at.index(input.len());
                let end = (at + length).min(input.len());
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            Change::Cross(at, other, from) => {
                let other = &seeds[other.index(seeds.len())];
                input.truncate(at.index(input.len() + 1));
                input.extend_from_slice(&other[from.index(other.len() + 1)..]);
            }
            Change::Byte(..) | Change::Remove(..) | Change::Repeat(..) => {}
        }
    }
    input
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let files =
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seeds: Vec<Vec<u8>> = files
        .map(|file| std::fs::read(file.expect("a file").path()).expect("a seed"))
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{}", folder.display());
    seeds
}

/// Tries a property on every seed as it is, and then on changed ones.
fn holds(name: &str, tries: u32) {
    let (_, check) = properties::ALL
        .into_iter()
        .find(|(other, _)| *other == name)
        .expect("a property");
    let seeds = seeds(name);
    for seed in &seeds {
        check(seed);
    }
    let inputs = {
        let seeds = seeds.clone();
        (select(seeds.clone()), prop::collection::vec(change(), 0..6))
            .prop_map(move |(seed, changes)| Input(changed(seed, &changes, &seeds)))
    };
    #[expect(clippy::disallowed_methods, reason = "CI says how long to try")]
    let bound = std::env::var("PROPERTY_SECONDS").ok().map(|text| {
        let seconds = text
            .parse()
            .expect("PROPERTY_SECONDS is a number of seconds");
        Duration::from_secs(seconds)
    });
    let (from, mut done) = (Instant::now(), 0);
    loop {
        let mut runner = TestRunner::new(Config {
            cases: tries,
            failure_persistence: None,
            ..Config::default()
        });
        let outcome = runner.run(&inputs, |input| {
            check(&input.0);
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        done += u64::from(tries);
        if bound.is_none_or(|bound| from.elapsed() >= bound) {
            break;
        }
    }
    println!(
        "{name}: {done} executions from {} seeds in {} s",
        seeds.len(),
        from.elapsed().as_secs()
    );
}

macro_rules! tested {
    ($($test:ident => $name:literal, $tries:expr;)*) => {
        $(#[test] fn $test() { holds($name, $tries); })*

        #[test]
        fn every_property_is_tried() {
            let tried = [$($name),*];
            let all: Vec<&str> = properties::ALL.iter().map(|(name, _)| *name).collect();
            assert_eq!(all, tried);
        }
    };
}

tested! {
    a_host_has_one_spelling_and_no_address_passes_for_a_name => "host", TRIES;
    an_allowed_target_is_one_route_to_every_reader_and_goes_on_as_it_came => "target", TRIES;
    the_tree_of_templates_agrees_with_trying_each => "template", TRIES;
    any_file_is_a_configuration_or_faults_with_places => "file", TRIES;
    the_schema_refuses_no_file_that_is_taken => "tree", TRIES;
    what_is_shown_is_printable_and_holds_no_credential => "redaction", TRIES;
    any_answer_of_lwa_is_a_token_or_a_closed_cause => "answer", TRIES;
    nothing_but_a_minted_phantom_is_genuine => "phantom", TRIES;
    any_bytes_leave_the_listener_alive_and_nothing_unnamed_leaves => "connection", TRIES_OF_A_CONNECTION;
}

#[test]
fn the_sample_that_is_edited_is_the_sample() {
    let read = |text: &str| {
        let config = spapi_sidecar::config::Config::parse("proxy.yaml", text, &|_| None);
        format!("{:?}", config.unwrap_or_else(|faults| panic!("{faults}")))
    };
    let edited = include_str!("../fuzz/src/sample.json");
    assert_eq!(read(edited), read(include_str!("../proxy.yaml")));
}
