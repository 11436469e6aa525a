//! Whether this machine's clock is right, by the `Date` of an answer.
//!
//! Job: note the `Date` of LWA's answers on their way, and judge the newest.
//! Invariants: what is passed on is untouched; a `Date` is whole seconds and as old as its way here, so that a second or two is
//! no skew.
//! Failure mode: an answer without a `Date` that can be read says nothing.
//! Source: RFC 9110 sections 5.6.7 and 6.6.1.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::HeaderValue;

use super::Check;
use crate::store::BoxFuture;
use crate::telemetry;
use crate::token::exchange::{Answer, Get, Post, Transport};

/// From this on, dates that others check do not hold: presigned URLs and certificates are given a few minutes.
const TOO_FAR: Duration = Duration::from_mins(5);

/// A way out that notes the clock of who answers to a POST.
#[derive(Debug)]
pub struct Timekeeper {
    inner: Arc<dyn Transport>,
    seen: Mutex<Option<Reading>>,
}

/// A clock, and this machine's at the same moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reading {
    theirs: SystemTime,
    ours: SystemTime,
}

impl Timekeeper {
    /// Passes on to `inner`.
    #[must_use]
    pub fn over(inner: Arc<dyn Transport>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            seen: Mutex::default(),
        })
    }

    /// The reading of the first answer since it was asked for the last time.
    pub(super) fn take(&self) -> Option<Reading> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn note(&self, answer: &Answer) {
        if let Some(theirs) = answer.date.as_ref().and_then(moment) {
            let ours = telemetry::now();
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let _first = seen.get_or_insert(Reading { theirs, ours });
        }
    }
}

impl Transport for Timekeeper {
    fn post<'a>(&'a self, post: Post<'a>) -> BoxFuture<'a, Result<Answer, String>> {
        Box::pin(async move {
            let answer = self.inner.post(post).await?;
            self.note(&answer);
            Ok(answer)
        })
    }

    fn get<'a>(&'a self, get: Get<'a>) -> BoxFuture<'a, Result<Answer, String>> {
        self.inner.get(get)
    }
}

fn moment(field: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(field.to_str().ok()?).ok()
}

/// The row.
pub(super) fn row(reading: Option<Reading>, bearable: Duration) -> Check {
    let at = ("exchange", "clock");
    let Some(Reading { theirs, ours }) = reading else {
        return Check::skip(at, "LWA gave no date to compare with");
    };
    let (off, which) = match ours.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let found = format!("this machine's clock is {} s {which} LWA's", off.as_secs());
    let remedy = "have this machine's clock set by NTP (`timedatectl`); presigned URLs, certificates and records that are shared rest on it";
    if off > TOO_FAR {
        Check::fail(at, found, remedy)
    } else if off > bearable.max(Duration::from_secs(2)) {
        Check::warn(at, found, remedy)
    } else {
        Check::pass(at, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::Outcome;

    #[test]
    fn a_date_is_read_in_each_form_of_http_and_what_is_none_says_nothing() {
        let read = |text: &'static str| moment(&HeaderValue::from_static(text));
        let want = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(read(date), Some(want), "{date}");
        }
        for other in ["Sun, 06 nNo 1994 08:49:37 GMT", "Sun, 06 Nov 1994", ""] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn a_clock_that_is_off_is_a_warning_and_from_five_minutes_on_a_failure() {
        for (off, want) in [
            (0, Outcome::Pass),
            (30, Outcome::Pass),
            (-30, Outcome::Pass),
            (31, Outcome::Warn),
            (-31, Outcome::Warn),
            (301, Outcome::Fail),
            (-301, Outcome::Fail),
        ] {
            let ours = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
            let by = Duration::from_secs(u64::try_from(i64::abs(off)).unwrap());
            let theirs = if off < 0 { ours - by } else { ours + by };
            let row = row(Some(Reading { theirs, ours }), Duration::from_secs(30));
            assert_eq!(row.outcome, want, "{off}: {row:?}");
        }
        assert_eq!(row(None, Duration::ZERO).outcome, Outcome::Skip);
    }
}
