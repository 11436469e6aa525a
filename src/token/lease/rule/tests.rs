use zeroize::Zeroizing;

use super::super::record::{Failure, Lease};
use super::*;
use crate::secret::AccessToken;

const LEASE: Duration = Duration::from_secs(30);

fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A record of generation 5 whose hour-long token has this many seconds left.
fn record(left: u64) -> TokenRecord {
    TokenRecord {
        version: 9,
        generation: 5,
        token: Some(Shared {
            token: AccessToken::new(&Zeroizing::new("Atza|x".to_owned())).unwrap(),
            expires_at: wall() + Duration::from_secs(left),
            expires_in: Duration::from_secs(3600),
        }),
        ..TokenRecord::default()
    }
}

fn leased(record: TokenRecord, seconds: u64) -> TokenRecord {
    TokenRecord {
        lease: Some(Lease {
            holder: "other/1".to_owned(),
            nonce: Nonce::draw(),
            // in the far past and the far future alike: it is for people
            until: SystemTime::UNIX_EPOCH,
            length: Duration::from_secs(seconds),
        }),
        ..record
    }
}

fn failed(record: TokenRecord, retry_in: u64) -> TokenRecord {
    TokenRecord {
        failure: Some(Failure {
            word: "grant_revoked".to_owned(),
            failures: 3,
            retry_at: wall() + Duration::from_secs(retry_in),
        }),
        ..record
    }
}

/// What the rule says of a record whose version was first seen this many seconds ago.
fn step(record: &TokenRecord, known: &Known, stood: u64) -> &'static str {
    let now = Instant::now() + Duration::from_hours(10);
    let lwa = config::Lwa {
        token_url: "https://lwa.example/".parse().unwrap(),
        refresh_at: 0.5,
        clock_skew: Duration::from_secs(30),
        timeout: Duration::from_secs(10),
    };
    let rules = Rules::new(lwa);
    assert_eq!(rules.lease, LEASE);
    let mut known = known.clone();
    let first = now - Duration::from_secs(stood);
    known.watched = Some((record.version, first));
    known.looked = Some((record.generation, first));
    match known.judge(Some(record), None, &rules, now, now, wall()) {
        Step::Take(_) => "take",
        Step::Fail(_) => "fail",
        Step::Wait(_) => "wait",
        Step::Held => "held",
        Step::Acquire => "acquire",
    }
}

fn known(taken: u64, refused: u64) -> Known {
    Known {
        taken,
        refused,
        ..Known::default()
    }
}

#[test]
fn a_token_is_taken_when_it_is_news_and_renewed_when_it_is_ours_and_due() {
    for (what, left, taken, refused, want) in [
        ("news, fresh", 3000, 0, 0, "take"),
        ("news, due", 100, 4, 0, "take"),
        ("news, over", 0, 4, 0, "acquire"),
        (
            "news, over but for the tolerated difference",
            29,
            4,
            0,
            "acquire",
        ),
        ("ours, fresh: memory has lost it", 3000, 5, 0, "take"),
        ("ours, due", 100, 5, 0, "acquire"),
        ("refused", 3000, 5, 5, "acquire"),
        ("older than the refused one", 3000, 7, 6, "acquire"),
        ("newer than the refused one", 3000, 4, 4, "take"),
        (
            "older than what we had: begun anew, or an old copy",
            3000,
            8,
            0,
            "acquire",
        ),
    ] {
        assert_eq!(
            step(&record(left), &known(taken, refused), 0),
            want,
            "{what}"
        );
    }
}

#[test]
fn a_lease_ends_by_our_own_clock_and_a_good_token_beside_it_is_used() {
    let due = record(100);
    for (what, record, taken, stood, want) in [
        ("seen just now", leased(due.clone(), 30), 5, 0, "wait"),
        ("not quite over", leased(due.clone(), 30), 5, 29, "wait"),
        ("over", leased(due.clone(), 30), 5, 30, "acquire"),
        (
            "a holder with a longer lease",
            leased(due.clone(), 60),
            5,
            59,
            "wait",
        ),
        ("that one over", leased(due.clone(), 60), 5, 60, "acquire"),
        (
            "a holder with a shorter lease",
            leased(due.clone(), 3),
            5,
            29,
            "wait",
        ),
        ("news beside a lease", leased(due, 30), 4, 0, "take"),
    ] {
        assert_eq!(step(&record, &known(taken, 0), stood), want, "{what}");
    }
}

#[test]
fn a_failure_of_the_fleet_is_believed_for_half_a_minute_at_most() {
    let over = record(0);
    for (what, record, stood, want) in [
        ("a moment ago", failed(over.clone(), 20), 0, "fail"),
        ("its pause is over", failed(over.clone(), 0), 20, "acquire"),
        (
            "by a clock that is a little ahead",
            failed(over.clone(), 50),
            0,
            "fail",
        ),
        (
            "the same, after the longest pause",
            failed(over.clone(), 50),
            30,
            "acquire",
        ),
        (
            "by a clock that is far ahead",
            failed(over, 9999),
            0,
            "acquire",
        ),
        ("beside a good token", failed(record(3000), 20), 0, "take"),
    ] {
        assert_eq!(step(&record, &known(0, 0), stood), want, "{what}");
    }
}

#[test]
fn a_version_that_changes_starts_the_wait_anew() {
    let mut known = known(5, 0);
    let now = Instant::now();
    let mut record = leased(record(0), 30);
    for (after, version, stood) in [(0, 9, 0), (20, 9, 20), (40, 10, 0), (50, 10, 10)] {
        let now = now + Duration::from_secs(after);
        record.version = version;
        known.look(Some(&record), now, now);
        assert_eq!(
            known.stood(now),
            Duration::from_secs(stood),
            "after {after} s"
        );
    }
}

#[test]
fn a_token_is_known_to_be_new_only_where_nobody_held_the_lease_before_it() {
    let free = record(0);
    let held = leased(record(0), 30);
    let next = |record: &TokenRecord| record.generation + 1;
    let seconds = Duration::from_secs;
    let start = Instant::now();
    let mut known = Known::default();
    for (after, record, unborn) in [
        (0, &free, Some(seconds(0))),
        (10, &free, Some(seconds(0))),
        // the holder may have asked since we looked last, not before
        (25, &held, Some(seconds(15))),
    ] {
        let now = start + seconds(after);
        known.look(Some(record), now, now);
        assert_eq!(known.unborn(next(record), now), unborn, "after {after} s");
        assert_eq!(known.unborn(record.generation, now), None);
    }
    let mut known = Known::default();
    known.look(Some(&held), start, start);
    assert_eq!(
        known.unborn(next(&held), start),
        None,
        "nobody knows how long it is held"
    );
}

#[test]
fn a_demand_refuses_whatever_is_there_and_nothing_that_comes_after() {
    let mut known = Known {
        demanded: true,
        ..Known::default()
    };
    let now = Instant::now();
    known.look(Some(&record(3000)), now, now);
    assert_eq!((known.refused, known.demanded), (5, false));
    let mut later = record(3000);
    later.generation = 6;
    known.look(Some(&later), now, now);
    assert_eq!(known.refused, 5);
}
