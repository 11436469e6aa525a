//! What is left in memory of a killed tenant's token.
//!
//! Best effort, twice over. It reads the process's own memory as the kernel shows it, which takes root or the right to trace,
//! since a sidecar makes itself unreadable to its own user; where that is refused, the test says so and ends. And it looks
//! for the copies that the sidecar holds (`Bearer T`, one buffer however many share it), which are zeroized. What the HTTP
//! library has read and written stays in its buffers until they are used again; how much that is is only printed.

use std::io::{Read, Seek, SeekFrom};

use super::{ORDERS, set};
use crate::support::admin::Admin;
use crate::support::child::ChildSidecar;
use crate::support::sidecar::{NA, Setup};

/// How many access tokens stand in the writable memory of a process: held, and in messages. `None` where it may not be read.
fn found(process: u32) -> Option<(usize, usize)> {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).ok()?;
    let mut memory = std::fs::File::open(format!("/proc/{process}/mem")).ok()?;
    let (mut held, mut messages) = (0, 0);
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next()?, words.next()?);
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-')?;
        let from = u64::from_str_radix(from, 16).ok()?;
        let to = u64::from_str_radix(to, 16).ok()?;
        let mut bytes = vec![0; usize::try_from(to - from).ok()?];
        // a range may be gone by now
        if memory.seek(SeekFrom::Start(from)).is_err() || memory.read_exact(&mut bytes).is_err() {
            continue;
        }
        for at in tokens(&bytes, b"Atza|") {
            let before = &bytes[at.saturating_sub(32)..at];
            let is_held = before.ends_with(b"Bearer ") && !before.ends_with(b": Bearer ");
            if is_held {
                held += 1;
            } else {
                messages += 1;
            }
        }
    }
    Some((held, messages))
}

/// Where a text stands that a token follows.
fn tokens<'a>(bytes: &'a [u8], text: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let whole = bytes.windows(24).enumerate();
    whole
        .filter(|(_, window)| {
            window
                .strip_prefix(text)
                .is_some_and(|rest| rest.iter().all(u8::is_ascii_graphic))
        })
        .map(|(at, _)| at)
}

#[tokio::test]
async fn a_killed_tenants_token_is_not_left_in_memory() {
    let setup = Setup {
        tenants: "[{ id: acme, app: erp, region: na, scopes: [inventory-and-order-tracking] }]"
            .to_owned(),
        ..Setup::default()
    };
    let sidecar = ChildSidecar::with(setup, &[]).await;
    let mut inside = sidecar.inside(NA).await;
    assert_eq!(inside.get(NA, ORDERS, &[]).await.status, 200);
    let Some(before) = found(sidecar.id()) else {
        eprintln!("SKIPPED: /proc/PID/mem of the sidecar may not be read here");
        return;
    };
    assert!(before.0 > 0, "the token is nowhere although it is in use");
    let admin = Admin::new(sidecar.admin, sidecar.stage.folder.path());
    let (status, body) = set(&admin, "acme", "kill").await;
    assert_eq!(status, 200, "{body}");
    let after = found(sidecar.id()).unwrap();
    eprintln!(
        "tokens in memory, held and in messages: {before:?} before the kill, {after:?} after"
    );
    assert_eq!(after.0, 0);
}
