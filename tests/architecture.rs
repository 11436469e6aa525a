//! The map of `src/lib.rs`, asserted: arrows point down, and what is one room's business stays there.
//!
//! It reads the sources as text: comments and what is compiled for tests alone are left out, string literals are blanked.
//! Every rule is a function of sources, so that a made-up source shows that it can fail.
#![expect(
    clippy::unwrap_used,
    clippy::string_slice,
    reason = "a test fails by panicking, and its helpers stand outside #[test] functions"
)]

use std::collections::BTreeSet;
use std::path::Path;

/// Rooms by floor, from the ground up. The last floor is the composition.
const FLOORS: [&[&str]; 5] = [
    &[
        "catalog", "map", "name", "address", "tenant", "secret", "phantom", "outcome", "redact",
        "config",
    ],
    &["policy", "telemetry", "task", "durable"],
    &[
        "token", "pace", "store", "fleet", "roster", "tls", "upstream", "document", "onboard",
        "confine", "verdict", "audit", "alert", "sandbox",
    ],
    &["proxy", "admin", "preflight"],
    &["app", "cli"],
];

/// Rooms on one floor that know each other all the same, and why.
const NEIGHBOURS: &[(&str, &str, &str)] = &[
    (
        "config",
        "catalog",
        "route templates are checked against Amazon's operations where they are read",
    ),
    ("config", "name", "settings are typed with the words"),
    ("config", "tenant", "settings are typed with the words"),
    ("catalog", "map", "requests look into its tree"),
    ("phantom", "tenant", "a phantom token names a tenant"),
    (
        "redact",
        "catalog",
        "a path is masked by what is literal in some operation",
    ),
    (
        "redact",
        "secret",
        "what looks like a token is masked by the one list of prefixes",
    ),
    (
        "token",
        "store",
        "grants and app credentials are read through the store's contract",
    ),
    (
        "fleet",
        "store",
        "the fleet's record is read and written through the store's contract",
    ),
    (
        "roster",
        "store",
        "profiles are read through the store's contract",
    ),
    (
        "upstream",
        "tls",
        "a connection is opened with the configuration that tls builds",
    ),
    ("cli", "app", "`run` starts the composition"),
];

/// A crate or a name, the places that may use it (a folder ends with `/`), and why it is theirs.
const ONE_ROOM: &[(&str, &[&str], &str)] = &[
    ("vaultrs", &["store/vault/"], "Vault's client"),
    ("foldhash", &["map.rs"], "the hash of maps"),
    ("rustify", &["store/vault/"], "Vault's client"),
    ("granit_parser", &["config/tree/"], "YAML"),
    (
        "moka",
        &["token/cache.rs", "tls/leaf.rs", "roster/profiles.rs"],
        "the caches: tokens, leaves, profiles",
    ),
    ("hickory_resolver", &["upstream/resolve.rs"], "DNS"),
    (
        "rcgen",
        &["tls/", "sandbox/authority.rs"],
        "certificates; the stand-in shares nothing with what it stands beside",
    ),
    (
        "x509_parser",
        &["tls/", "cli/ca.rs"],
        "certificates; `ca show` prints one",
    ),
    (
        "rustls_native_certs",
        &["tls/", "store/vault/wire.rs"],
        "the system's roots; Vault's are read for its client",
    ),
    ("axum", &["admin/"], "the admin listener"),
    (
        "reqwest",
        &[
            "store/vault/",
            "telemetry/otlp.rs",
            "cli/ask.rs",
            "cli/demo/play.rs",
        ],
        "Vault's and the collector's transport, questions to a running sidecar, and the demo's played program",
    ),
    ("clap", &["cli/", "main.rs"], "commands"),
    (
        "rustix",
        &[
            "cli/",
            "confine.rs",
            "confine/",
            "app.rs",
            "proxy/socket.rs",
            "upstream/dial.rs",
        ],
        "terminals, limits and signals; privileges; this machine's name; a read that tells an empty socket; what an error is by its number",
    ),
    (
        "landlock",
        &["confine.rs"],
        "what the process may read and write",
    ),
    ("secrecy", &["secret.rs"], "secret types"),
    (
        "subtle",
        &[
            "secret.rs",
            "phantom.rs",
            "store/record.rs",
            "onboard/consent.rs",
        ],
        "comparisons in constant time",
    ),
    (
        "arc_swap",
        &["app.rs", "proxy/mod.rs", "fleet/mod.rs"],
        "what a reload swaps, and what the fleet's record says",
    ),
    (
        "flate2",
        &["proxy/send.rs", "sandbox/document.rs"],
        "gzip, to judge an answer and to make one",
    ),
    (
        "notify",
        &["app/watch.rs"],
        "the configuration file, watched",
    ),
    ("tracing_subscriber", &["telemetry/"], "where log lines go"),
    ("tracing_opentelemetry", &["telemetry/"], "spans"),
    ("opentelemetry", &["telemetry/"], "spans"),
    ("opentelemetry_sdk", &["telemetry/otlp.rs"], "spans"),
    (
        "opentelemetry_otlp",
        &["telemetry/otlp.rs"],
        "where spans go",
    ),
    (
        "prometheus_client",
        &["telemetry/metrics/page.rs"],
        "OpenMetrics",
    ),
    (
        "hyper",
        &[
            "proxy/",
            "upstream/",
            "sandbox/",
            "task.rs",
            "cli/demo/play.rs",
            "cli/authorize/",
        ],
        "HTTP; task.rs lets it spawn; the demo's played program",
    ),
    (
        "hyper_util",
        &[
            "proxy/",
            "upstream/",
            "sandbox/",
            "cli/demo/play.rs",
            "cli/authorize/",
        ],
        "HTTP, and the demo's played program",
    ),
    (
        "StatusCode::",
        &[
            "proxy/respond.rs",
            "proxy/phantom.rs",
            "proxy/send.rs",
            "admin/",
            "sandbox/",
            "cli/authorize/callback.rs",
        ],
        "choosing a status; send.rs only compares upstream's, and callback.rs answers the browser of a consent",
    ),
    (
        "Manner",
        &[
            "upstream/client.rs",
            "proxy/send.rs",
            "app/outside.rs",
            "app/hook.rs",
        ],
        "sending: for the walk through Outbound, for token requests in app/outside.rs, for alerts in app/hook.rs",
    ),
    (
        "expose",
        &[
            "secret.rs",
            "store/",
            "token/exchange.rs",
            "token/exchange/",
            "token/settle.rs",
            "token/lease/record.rs",
            "sandbox/ledger.rs",
            "cli/tenant.rs",
        ],
        "the secret itself: to seal and to write it, to exchange and to share it, to print a new proxy key once",
    ),
    (
        "expose_bearer",
        &[
            "secret.rs",
            "proxy/head.rs",
            "token/probe.rs",
            "token/rotation.rs",
        ],
        "a token in a header: the walk's, the Tokens API's and a preflight's, and the rotation's",
    ),
    (
        "expose_plain",
        &[
            "secret.rs",
            "proxy/head.rs",
            "token/probe.rs",
            "token/rotation.rs",
        ],
        "a token in a header: the walk's, the Tokens API's and a preflight's, and the rotation's",
    ),
    ("tokio::spawn", &["task.rs"], "tasks that a drain can name"),
    (
        "thread::Builder",
        &[
            "app.rs",
            "telemetry/sink.rs",
            "audit/writer.rs",
            "cli/authorize/paste.rs",
        ],
        "threads: the cores, the log's, the audit's, and one that waits for a person",
    ),
];

/// Macros that write to the terminal, and who may.
const PRINTING: [&str; 4] = ["println!", "print!", "eprintln!", "eprint!"];

/// What is no word and no decision: policy and floor 0 have none of it.
const IMPURE: [&str; 10] = [
    "async",
    "await",
    "tokio",
    "tracing",
    "std::fs",
    "std::env",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
    "TcpStream",
];

/// A source file: its path below `src/`, and its production code.
#[derive(Clone)]
struct Source {
    path: String,
    code: String,
    /// The same with its string literals.
    spoken: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            code: production(text, false),
            spoken: production(text, true),
        }
    }

    fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap();
        first.trim_end_matches(".rs")
    }

    /// How many modules deep the file is: 1 for a room's own file.
    fn depth(&self) -> usize {
        let parts = self.path.split('/').count();
        if self.path.ends_with("/mod.rs") {
            parts - 1
        } else {
            parts
        }
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| {
            self.path == *place || (place.ends_with('/') && self.path.starts_with(place))
        })
    }

    /// Whether a name stands in the code as a whole word.
    fn names(&self, name: &str) -> bool {
        let mut rest = &*self.code;
        let mut before = ' ';
        while let Some(at) = rest.find(name) {
            let open = rest[..at].chars().next_back().unwrap_or(before);
            let after = rest[at + name.len()..].chars().next().unwrap_or(' ');
            let ends_word = name.ends_with(is_word);
            if !(is_word(open) || ends_word && is_word(after)) {
                return true;
            }
            before = name.chars().next_back().unwrap();
            rest = &rest[at + name.len()..];
        }
        false
    }

    /// The rooms that the code names, by `crate::room`, `crate::{room, …}` or enough `super::`.
    fn rooms_named(&self) -> BTreeSet<String> {
        let up = "super::".repeat(self.depth());
        let mut named = BTreeSet::new();
        for prefix in ["crate::", &*up] {
            let mut rest = &*self.code;
            while let Some(at) = rest.find(prefix) {
                let open = rest[..at].chars().next_back().unwrap_or(' ');
                rest = &rest[at + prefix.len()..];
                if !is_word(open) && open != ':' {
                    named.extend(first_names(rest));
                }
            }
        }
        named
    }
}

const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The first segment of a path, or those of each path in a group.
fn first_names(text: &str) -> Vec<String> {
    let word = |text: &str| {
        text.trim_start()
            .chars()
            .take_while(|c| is_word(*c))
            .collect::<String>()
    };
    let Some(group) = text.strip_prefix('{') else {
        return vec![word(text)];
    };
    let mut names = vec![word(group)];
    let mut depth = 1;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => names.push(word(&group[at + 1..])),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

/// Code without comments and without what follows `#[cfg(test)]`, which the house keeps at the end of a file or puts on
/// one item. String literals are blanked unless `keep_strings`.
fn production(text: &str, keep_strings: bool) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            let end = rest.find('\n').unwrap_or(rest.len());
            rest = &rest[end..];
            continue;
        } else if rest.starts_with("/*") {
            rest = rest.find("*/").map_or("", |end| &rest[end + 2..]);
            continue;
        } else if let Some(length) = literal(rest, code.chars().next_back().is_some_and(is_word)) {
            if !keep_strings {
                code.push_str("\"\"");
                rest = &rest[length..];
                continue;
            }
            length
        } else {
            c.len_utf8()
        };
        code.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    without_tests(&code)
}

/// The length of the string or character literal that a text begins with.
fn literal(text: &str, inside_word: bool) -> Option<usize> {
    if !inside_word && text.starts_with(['r', 'b']) {
        let raw = text.trim_start_matches(['r', 'b']);
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let marks = text.len() - raw.len() + hashes;
        if marks <= 5 && text[..marks].contains('r') && text[marks..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let end = text[marks + 1..].find(&close)?;
            return Some(marks + 1 + end + close.len());
        }
    }
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            // a lifetime is a quote that nothing closes
            _ if quote == '\'' && at > 4 && !text.starts_with("'\\u") => return None,
            _ if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some((before, after)) = rest.split_once("#[cfg(test)]") {
        kept.push_str(before);
        let item = after.find([';', '{']).map_or(after.len(), |at| {
            if after[at..].starts_with(';') {
                at + 1
            } else {
                at + block(&after[at..])
            }
        });
        rest = &after[item..];
    }
    kept.push_str(rest);
    kept
}

/// The length of the block that a text begins with.
fn block(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// Arrows that do not point down and are no exception; exceptions that nothing needs.
fn wrong_arrows(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for source in sources
        .iter()
        .filter(|source| source.room() != "main" && source.room() != "lib")
    {
        let from = source.room();
        let Some(floor) = floor_of(from) else {
            wrong.push(format!("{}: the room {from} is on no floor", source.path));
            continue;
        };
        for to in source.rooms_named() {
            let Some(of) = floor_of(&to) else { continue };
            let exception = NEIGHBOURS.iter().find(|(a, b, _)| *a == from && *b == to);
            match exception {
                Some((a, b, _)) => {
                    used.insert((*a, *b));
                }
                None if to == from || of < floor => {}
                None => wrong.push(format!(
                    "{}: {from} (floor {floor}) knows {to} (floor {of})",
                    source.path
                )),
            }
        }
    }
    for (from, to, _) in NEIGHBOURS {
        if !used.contains(&(from, to)) {
            wrong.push(format!(
                "the exception {from} → {to} is not needed any more"
            ));
        }
    }
    wrong
}

/// Crates and names outside their rooms; rooms that do not use what is listed as theirs.
fn outside_their_room(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, places, what) in ONE_ROOM {
        for source in sources
            .iter()
            .filter(|source| source.names(name) && !source.is_in(places))
        {
            wrong.push(format!(
                "{}: {name} ({what}) belongs to {places:?}",
                source.path
            ));
        }
        for place in *places {
            let used = sources
                .iter()
                .any(|source| source.is_in(&[place]) && source.names(name));
            if !used {
                wrong.push(format!("{place} does not use {name} any more"));
            }
        }
    }
    for source in sources
        .iter()
        .filter(|source| !source.is_in(&["cli/", "main.rs"]))
    {
        for print in PRINTING.iter().filter(|print| source.names(print)) {
            wrong.push(format!("{}: {print} belongs to the commands", source.path));
        }
    }
    wrong
}

/// I/O, clocks, logs and waiting where there are only words and decisions.
fn impure(sources: &[Source]) -> Vec<String> {
    let pure = |source: &&Source| source.room() == "policy" || floor_of(source.room()) == Some(0);
    let mut wrong = Vec::new();
    for source in sources.iter().filter(pure) {
        for what in IMPURE.iter().filter(|what| source.names(what)) {
            wrong.push(format!("{}: {what}", source.path));
        }
        if ["config", "secret", "phantom"].contains(&source.room()) && source.names("Serialize") {
            wrong.push(format!(
                "{}: settings and secrets never serialise",
                source.path
            ));
        }
    }
    wrong
}

/// Words of ours that an SDK would take for Amazon's "access token … expired", and then ask for ever.
fn words_of_expiry(sources: &[Source]) -> Vec<String> {
    let ours = |source: &&Source| {
        ["proxy", "policy", "token", "outcome", "upstream"].contains(&source.room())
            && source.path != "token/judge.rs"
    };
    let mut wrong = Vec::new();
    for source in sources.iter().filter(ours) {
        for line in source.spoken.lines() {
            let line = line.to_ascii_lowercase();
            if line
                .split_once("access token")
                .is_some_and(|(_, rest)| rest.contains("expired"))
            {
                wrong.push(format!("{}: {}", source.path, line.trim()));
            }
        }
    }
    wrong
}

fn sources() -> Vec<Source> {
    let mut all = Vec::new();
    gather(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        "",
        &mut all,
    );
    all.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(all.len() > 100, "{} sources", all.len());
    all
}

fn gather(folder: &Path, below: &str, all: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{below}{name}");
        if entry.file_type().unwrap().is_dir() {
            if name != "tests" {
                gather(&entry.path(), &format!("{path}/"), all);
            }
        } else if name.ends_with(".rs") && !["tests.rs", "test_support.rs"].contains(&&*name) {
            all.push(Source::new(
                &path,
                &std::fs::read_to_string(entry.path()).unwrap(),
            ));
        }
    }
}

#[test]
fn arrows_point_down_and_neighbours_do_not_know_each_other() {
    let wrong = wrong_arrows(&sources());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_of_the_crate_is_on_the_map_and_the_map_names_every_room() {
    let lib =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let declared: BTreeSet<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let listed: BTreeSet<&str> = FLOORS
        .iter()
        .flat_map(|rooms| rooms.iter().copied())
        .collect();
    assert_eq!(declared, listed);
    for room in listed {
        assert!(
            lib.contains(&format!("[`{room}`]")),
            "the map does not name {room}"
        );
    }
}

#[test]
fn foreign_crates_statuses_secrets_and_spawning_stay_in_their_rooms() {
    let wrong = outside_their_room(&sources());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn policy_and_the_words_have_no_clock_no_log_and_no_io() {
    let wrong = impure(&sources());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_words_of_ours_read_like_amazons_for_an_expired_token() {
    let wrong = words_of_expiry(&sources());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_binary_knows_the_commands_alone() {
    let all = sources();
    let main = all.iter().find(|source| source.path == "main.rs").unwrap();
    let uses = main.code.matches("spapi_sidecar::").count();
    assert_eq!(
        (uses, main.code.matches("spapi_sidecar::cli").count()),
        (1, 1)
    );
}

/// What the rules find in one made-up file.
fn found_in(path: &str, text: &str) -> Vec<String> {
    let made_up = [Source::new(path, text)];
    let rules = [wrong_arrows, outside_their_room, impure, words_of_expiry];
    let found = rules.iter().flat_map(|rule| rule(&made_up));
    // of course one file does not use all that is listed
    found.filter(|wrong| !wrong.ends_with("any more")).collect()
}

#[test]
fn every_source_is_read_to_its_end() {
    for source in sources() {
        let count = |c: char| source.code.matches(c).count();
        assert_eq!(
            (count('{'), count('(')),
            (count('}'), count(')')),
            "{}",
            source.path
        );
        assert!(!source.code.contains("#[test]"), "{}", source.path);
    }
}

#[test]
fn a_broken_rule_is_found() {
    for (path, text) in [
        ("policy/made_up.rs", "use crate::proxy::Worker;"),
        (
            "policy/made_up.rs",
            "use crate::{config::Config, telemetry};",
        ),
        ("policy/made_up.rs", "fn f() { crate::store::open() }"),
        ("policy/made_up.rs", "fn f() { super::super::task::stop() }"),
        ("document.rs", "use super::upstream::SendError;"),
        ("proxy/made_up.rs", "use crate::admin::Readiness;"),
        ("token/made_up.rs", "use crate::upstream::client::Client;"),
        ("new_room/mod.rs", "use crate::name::Host;"),
        ("proxy/made_up.rs", "use moka::sync::Cache;"),
        (
            "proxy/made_up.rs",
            "fn f() -> http::StatusCode { http::StatusCode::OK }",
        ),
        (
            "proxy/made_up.rs",
            "fn f(t: &AccessToken) { t.expose_bearer(); }",
        ),
        ("telemetry/made_up.rs", "fn f(t: &Opaque) { t.expose(); }"),
        ("upstream/made_up.rs", "fn f() { println!(\"x\") }"),
        ("upstream/made_up.rs", "fn f() { tokio::spawn(g()); }"),
        ("name.rs", "pub async fn f() {}"),
        ("config/made_up.rs", "#[derive(Serialize)] struct S;"),
        ("policy/made_up.rs", "fn f() { let t = Instant::now(); }"),
        (
            "proxy/made_up.rs",
            "const WORDS: &str = \"Your access token has expired.\";",
        ),
    ] {
        assert!(!found_in(path, text).is_empty(), "{path}: {text}");
    }
}

#[test]
fn what_is_said_in_comments_strings_and_tests_breaks_no_rule() {
    for text in [
        "//! [`crate::proxy`] sends; no `println!`.\n/* tokio::spawn */",
        "const HINT: &str = \"crate::proxy::head, tokio::spawn(x), StatusCode::OK\";",
        "const RAW: &str = r#\"println!(\"moka\") crate::admin::x\"#;",
        "fn f<'a>(c: &'a str) -> char { '\"' }\n// println!",
        "#[cfg(test)]\nmod tests { use crate::proxy::Worker; fn f() { println!(\"x\"); } }",
        "#[cfg(test)]\nmod tests;\nuse crate::name::Host;",
        "use crate::name::{Authority, Host}; fn f(exposed: u8, my_tokio: u8) { super::sibling::tokio_like() }",
    ] {
        assert_eq!(
            found_in("policy/made_up.rs", text),
            Vec::<String>::new(),
            "{text}"
        );
    }
}
