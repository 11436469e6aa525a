//! Which commit a release was built from, for `--version`.
//!
//! Read from the environment (`SPAPI_SIDECAR_COMMIT`, `SOURCE_DATE_EPOCH`), else from git. The date is the commit's, never the
//! clock's, so that two builds of one commit are alike. Debug builds carry neither: they would be linked anew with every commit.

#![expect(
    clippy::disallowed_methods,
    reason = "a build script is told everything by its environment"
)]

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=SPAPI_SIDECAR_COMMIT");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if release && let Some(head) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={head}");
    } else {
        println!("cargo::rerun-if-changed=build.rs");
    }
    let commit = named("SPAPI_SIDECAR_COMMIT")
        .or_else(|| git(&["rev-parse", "--short=12", "HEAD"]).filter(|_| release));
    let date = named("SOURCE_DATE_EPOCH")
        .and_then(|seconds| day(seconds.parse().ok()?))
        .or_else(|| git(&["show", "-s", "--format=%cs", "HEAD"]).filter(|_| release));
    let version = match (commit, date) {
        (Some(commit), Some(date)) => format!("{} ({commit} {date})", env!("CARGO_PKG_VERSION")),
        (Some(commit), None) => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
        _ => format!("{} (unreleased)", env!("CARGO_PKG_VERSION")),
    };
    println!("cargo::rustc-env=SPAPI_SIDECAR_VERSION={version}");
}

fn named(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

/// The day of a Unix time, as `YYYY-MM-DD` (proleptic Gregorian, UTC).
fn day(seconds: u64) -> Option<String> {
    let mut left = seconds / 86_400;
    let mut year = 1970;
    loop {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = if leap { 366 } else { 365 };
        if left < days {
            let february = if leap { 29 } else { 28 };
            for (month, days) in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
                .into_iter()
                .enumerate()
            {
                if left < days {
                    return Some(format!("{year}-{:02}-{:02}", month + 1, left + 1));
                }
                left -= days;
            }
            return None;
        }
        left -= days;
        year += 1;
    }
}
