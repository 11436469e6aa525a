//! Instructions of five hot paths, counted by callgrind, against the numbers kept beside this file.
//!
//!     cargo test --bench instructions
//!
//! counts, compares, and fails where a path costs 5 % more; with `UPDATE_INSTRUCTIONS=1` it keeps the new numbers.
//!
//! Each path is run N times and 2 N times in a process of its own under valgrind; the difference by N is what one run costs,
//! so that start-up does not count. Instructions are no times, but they are the same on a busy machine: a change that makes a
//! path dearer is seen at once. The numbers belong to the build of that command, in which our own code is not optimised: what they show
//! is work that was added, and what it costs in a release the other benches say.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use spapi_sidecar::name::Host;
use spapi_sidecar::policy::Ask;
use spapi_sidecar::redact;
use spapi_sidecar::task::Tasks;
use spapi_sidecar::telemetry::event::Events;
use spapi_sidecar::tenant::GrantKind;
use spapi_sidecar::tls::leaf::LeafCache;
use spapi_sidecar::token::AccessKey;
use spapi_sidecar::token::cache::TokenCache;
use tokio::runtime::Builder;

mod parts;
#[expect(dead_code, reason = "other benches use the rest")]
mod world;

use parts::{Endpoint, NOW, SP_API, authority, leaf_host, policy, tenant};
use world::{Protocol, Way, World};

/// A path by its name: how often it is run at first, and the function whose instructions alone count, where not all do.
struct Hot {
    name: &'static str,
    runs: u32,
    within: Option<&'static str>,
    run: fn(u32),
}

/// `inject` is counted inside of a running sidecar, the others alone.
const PATHS: [Hot; 5] = [
    Hot {
        name: "decide",
        runs: 500,
        within: None,
        run: decide,
    },
    Hot {
        name: "inject",
        runs: 800,
        within: Some("*Outbound*request*"),
        run: inject,
    },
    Hot {
        name: "token",
        runs: 2_000,
        within: None,
        run: token,
    },
    Hot {
        name: "redact",
        runs: 200,
        within: None,
        run: redact,
    },
    Hot {
        name: "leaf",
        runs: 2_000,
        within: None,
        run: leaf,
    },
];

/// What a path may cost more than the number that is kept, in per cent.
const SLACK: u64 = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [name, runs] if !name.starts_with('-') => {
            let path = PATHS.iter().find(|path| path.name == name);
            let runs = runs.parse().expect("a number of runs");
            (path.expect("a path of the list").run)(runs);
            ExitCode::SUCCESS
        }
        _ if arguments
            .iter()
            .any(|argument| argument == "--list" || argument == "--test") =>
        {
            ExitCode::SUCCESS
        }
        _ => compare(),
    }
}

/// Counts every path and holds it against the number that is kept.
fn compare() -> ExitCode {
    if Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        println!("valgrind is not installed: nothing was counted");
        return ExitCode::FAILURE;
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    let kept = kept(&file);
    let mut dearer = false;
    let mut text = String::new();
    println!("{:<10} {:>10} {:>10} {:>8}", "", "kept", "now", "ratio");
    for path in &PATHS {
        let once = count(path, path.runs);
        let now = count(path, path.runs * 2).saturating_sub(once) / u64::from(path.runs);
        assert_ne!(now, 0, "{}: nothing was counted", path.name);
        writeln!(text, "{} {now}", path.name).expect("room");
        let before = kept.get(path.name).copied();
        let verdict = match before {
            None => "not kept yet",
            Some(before) if now * 100 > before * (100 + SLACK) => "DEARER",
            Some(before) if now * (100 + SLACK) < before * 100 => "cheaper: keep the new number",
            Some(_) => "",
        };
        dearer |= before.is_none() || verdict == "DEARER";
        let before = before.unwrap_or(0);
        let ratio = now as f64 / before as f64;
        println!(
            "{:<10} {before:>10} {now:>10} {ratio:>8.3} {verdict}",
            path.name
        );
    }
    if std::env::var_os("UPDATE_INSTRUCTIONS").is_some() {
        std::fs::write(file, text).expect("our file");
        return ExitCode::SUCCESS;
    }
    if dearer {
        println!(
            "Make the path cheaper, or keep the new number and say in the commit what is bought with it: UPDATE_INSTRUCTIONS=1."
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn kept(file: &Path) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .map(|(name, count)| (name.to_owned(), count.parse().expect("a number")))
        .collect()
}

/// Instructions of so many runs of a path.
fn count(path: &Hot, runs: u32) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let out: PathBuf = folder.path().join("callgrind.out");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", out.display()));
    if let Some(within) = path.within {
        valgrind.arg(format!("--toggle-collect={within}"));
    }
    let ran = valgrind
        .arg(std::env::current_exe().expect("a program"))
        .args([path.name, &runs.to_string()])
        .output()
        .expect("valgrind runs");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{}: {said}", path.name);
    outside_the_allocator(&std::fs::read_to_string(out).expect("a profile"))
}

/// Sums what every function cost by itself, all but those of the allocator: how far `malloc` has to look depends on what other
/// threads freed before, and is no property of a path. How often a path asks it is what the bench `allocations` counts.
///
/// The format is callgrind's: `fn=(id) name` (the name once, the id alone afterwards) begins a function's lines of costs, and the
/// line after a `calls=` is the cost of what was called.
fn outside_the_allocator(profile: &str) -> u64 {
    let mut allocates = BTreeMap::new();
    let mut counts = true;
    let mut called = false;
    let mut sum = 0;
    for line in profile.lines() {
        if let Some((key, function)) = line.split_once('=') {
            called = key == "calls";
            if matches!(key, "fn" | "cfn") {
                let (id, name) = function.split_once(' ').unwrap_or((function, ""));
                if !name.is_empty() {
                    allocates.insert(id, is_of_the_allocator(name));
                }
                if key == "fn" {
                    counts = !allocates.get(id).expect("a function with a name");
                }
            }
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let cost = line.split(' ').nth(1).map_or(0, |cost| {
                cost.parse::<u64>().expect("a number of instructions")
            });
            if counts && !called {
                sum += cost;
            }
            called = false;
        }
    }
    sum
}

/// By glibc's names for it.
fn is_of_the_allocator(function: &str) -> bool {
    let begins = [
        "_int_",
        "malloc",
        "unlink_chunk",
        "sysmalloc",
        "tcache",
        "arena_get",
        "heap_",
    ];
    ["free", "realloc", "calloc", "systrim", "sbrk", "brk"].contains(&function)
        || begins.iter().any(|name| function.starts_with(name))
}

fn decide(runs: u32) {
    let (policy, tenant) = (policy(400), tenant());
    let host = Host::parse(SP_API).expect("a good host");
    for _ in 0..runs {
        black_box(policy.route(black_box(&Ask {
            tenant: &tenant,
            host: &host,
            method: &http::Method::GET,
            path: "/orders/v0/orders/123-4567890-1234567/address",
            query: Some("MarketplaceIds=ATVPDKIKX0DER&CreatedAfter=2026-01-01T00%3A00%3A00Z"),
        })));
    }
}

fn inject(runs: u32) {
    let world = World::start();
    let mut sender = world.block_on(world.open(Way::Sidecar, Protocol::Http1));
    for _ in 0..runs {
        world.block_on(world.get(&mut sender, "/json"));
    }
}

fn token(runs: u32) {
    let core = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a thread");
    let tenant = Arc::new(tenant());
    let tasks = Tasks::new(core.handle().clone());
    let cache = TokenCache::new("exchange", Arc::new(Endpoint), tasks, Events::default());
    let key = || AccessKey::new(&tenant, GrantKind::Refresh);
    core.block_on(async {
        for _ in 0..=runs {
            black_box(cache.usable(&key()).await.expect("a fresh token"));
        }
    });
}

fn redact(runs: u32) {
    for _ in 0..runs {
        black_box(redact::path(
            None,
            black_box("/orders/v0/orders/123-4567890-1234567/address"),
        ));
        black_box(redact::query_keys(black_box(
            "MarketplaceIds=ATVPDKIKX0DER&CreatedAfter=2026-01-01",
        )));
        black_box(redact::text(black_box(
            "The access token Atza|canary is expired, ask 123-4567890-1234567 again.",
        )));
    }
}

fn leaf(runs: u32) {
    let cache = LeafCache::new(authority()).expect("ticket keys");
    let host = leaf_host();
    for _ in 0..=runs {
        black_box(cache.server_config(&host, NOW).expect("a covered host"));
    }
}
