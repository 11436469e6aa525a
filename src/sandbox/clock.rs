//! One reading of the wall clock, carried on by tokio's clock so that tests with paused time move both.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Wall-clock and monotonic time of one sandbox.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    wall: SystemTime,
    started: Instant,
}

impl Clock {
    /// Reads the wall clock; nothing else in the room does.
    pub(super) fn start() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "presigned URLs carry wall-clock dates, and this stand-in shares no clock with the proxy"
        )]
        let wall = SystemTime::now();
        Self {
            wall,
            started: Instant::now(),
        }
    }

    pub(super) fn wall(&self) -> SystemTime {
        self.wall + self.started.elapsed()
    }

    /// RFC 3339 with milliseconds, for people.
    pub(super) fn timestamp(&self) -> String {
        humantime::format_rfc3339_millis(self.wall()).to_string()
    }

    /// RFC 3339 with seconds and an offset from now, as SP-API's models spell dates.
    pub(super) fn seconds_ago(&self, seconds: u64) -> String {
        humantime::format_rfc3339_seconds(self.wall() - Duration::from_secs(seconds)).to_string()
    }

    /// ISO 8601 basic format, as `X-Amz-Date` spells it.
    pub(super) fn basic(&self) -> String {
        humantime::format_rfc3339_seconds(self.wall())
            .to_string()
            .replace(['-', ':'], "")
    }

    /// An HTTP date (RFC 9110 section 5.6.7), so many seconds off.
    pub(super) fn http_date(&self, off: i64) -> String {
        let off_by = Duration::from_secs(off.unsigned_abs());
        let at = if off < 0 {
            self.wall() - off_by
        } else {
            self.wall() + off_by
        };
        let text = humantime::format_rfc3339_seconds(at).to_string();
        let since = at.duration_since(SystemTime::UNIX_EPOCH);
        let days = since.unwrap_or_default().as_secs() / 86_400;
        // the first of January 1970 was a Thursday
        let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
            .into_iter()
            .cycle()
            .nth(usize::try_from(days % 7).unwrap_or_default());
        let number = |from: usize| text.get(from..from + 2).unwrap_or_default();
        let month: usize = number(5).parse().unwrap_or(1);
        let month = MONTHS.get(month.saturating_sub(1)).unwrap_or(&"Jan");
        let (day, year) = (number(8), text.get(..4).unwrap_or_default());
        let time = text.get(11..19).unwrap_or_default();
        format!(
            "{}, {day} {month} {year} {time} GMT",
            weekday.unwrap_or("Thu")
        )
    }
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Reads what [`Clock::basic`] writes.
pub(super) fn parse_basic(text: &str) -> Option<SystemTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    if date.len() != 8 || time.len() != 6 {
        return None;
    }
    let full = format!(
        "{}-{}-{}T{}:{}:{}Z",
        date.get(..4)?,
        date.get(4..6)?,
        date.get(6..)?,
        time.get(..2)?,
        time.get(2..4)?,
        time.get(4..)?
    );
    humantime::parse_rfc3339(&full).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_basic_date_reads_back_and_follows_tokio_time() {
        let clock = Clock::start();
        let before = parse_basic(&clock.basic()).unwrap();
        tokio::time::advance(Duration::from_secs(300)).await;
        let after = parse_basic(&clock.basic()).unwrap();
        assert_eq!(
            after.duration_since(before).unwrap(),
            Duration::from_secs(300)
        );
        assert_eq!(parse_basic("20260101T0000Z"), None);
    }
}
