//! Days and months.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::config::Date;
use crate::config::error::Wrong;
use crate::config::read::Text;

/// A day, or a month, which lasts through its last day.
pub(in crate::config) const DAY: Text<Date> = Text {
    wanted: "a day as in 2027-01-15, or a month as in 2027-01",
    schema: || json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}(-[0-9]{2})?$" }),
    parse: |text| {
        date(text).ok_or_else(|| {
            Wrong::new(
                "~ is not a day of the calendar",
                "write a day as in 2027-01-15, or a month as in 2027-01",
            )
        })
    },
};

/// Seconds of a day; UTC as computers count it has no leap seconds.
const DAY_SECONDS: i64 = 86_400;

impl Date {
    /// The day that a moment falls on, UTC. A moment before 1970 falls on its first day.
    #[must_use]
    pub fn of(moment: SystemTime) -> Self {
        let since = moment.duration_since(SystemTime::UNIX_EPOCH);
        let seconds = since.unwrap_or(Duration::ZERO).as_secs();
        Self::from_number(i64::try_from(seconds / 86_400).unwrap_or(0))
    }

    /// The day at the head of an RFC 3339 text: `2026-09-01`, with or without a time of day.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        date(text.trim().get(..10)?)
    }

    /// This many days later.
    #[must_use]
    pub fn plus_days(self, days: i64) -> Self {
        Self::from_number(self.number().saturating_add(days))
    }

    /// Days from another day to this one; negative where this one is the earlier.
    #[must_use]
    pub fn days_after(self, other: Self) -> i64 {
        self.number() - other.number()
    }

    /// The moment at which the day begins.
    #[must_use]
    pub fn begins(self) -> SystemTime {
        let seconds = u64::try_from(self.number().saturating_mul(DAY_SECONDS)).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Days since 1970-01-01. The year is taken to begin in March, so that the leap day is its last.
    fn number(self) -> i64 {
        let (year, month) = (i64::from(self.year), i64::from(self.month));
        let (year, month) = if month > 2 {
            (year, month - 3)
        } else {
            (year - 1, month + 9)
        };
        let leap_days = year / 4 - year / 100 + year / 400;
        let day_of_year = (153 * month + 2) / 5 + i64::from(self.day) - 1;
        365 * year + leap_days + day_of_year - 719_468
    }

    /// The day of this number, at least 1970-01-01, at most the last of the year 9999.
    fn from_number(number: i64) -> Self {
        let days = number.clamp(0, 2_932_896) + 719_468;
        let (era, in_era) = (days / 146_097, days % 146_097);
        let year_of_era = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
        let in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * in_year + 2) / 153;
        let day = in_year - (153 * month + 2) / 5 + 1;
        let (year, month) = if month < 10 {
            (400 * era + year_of_era, month + 3)
        } else {
            (400 * era + year_of_era + 1, month - 9)
        };
        // the clamp above keeps each within its type
        Self {
            year: u16::try_from(year).unwrap_or(u16::MAX),
            month: u8::try_from(month).unwrap_or(1),
            day: u8::try_from(day).unwrap_or(1),
        }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

fn date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let number = |part: &str, digits: usize| {
        let plain = part.len() == digits && part.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| part.parse::<u16>().ok()).flatten()
    };
    let year = number(parts.next()?, 4).filter(|&year| year >= 1970)?;
    let month = u8::try_from(number(parts.next()?, 2)?).ok()?;
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => return None,
    };
    let day = match parts.next() {
        None => last,
        Some(day) => u8::try_from(number(day, 2)?).ok()?,
    };
    let good = parts.next().is_none() && (1..=last).contains(&day);
    good.then_some(Date { year, month, day })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_lasts_through_its_last_day() {
        for (text, want) in [
            ("2027-03", Some((2027, 3, 31))),
            ("2028-02", Some((2028, 2, 29))),
            ("2100-02", Some((2100, 2, 28))),
            ("2026-09-01", Some((2026, 9, 1))),
            ("2026-02-29", None),
            ("2026-13", None),
            ("2026-00", None),
            ("2026-1", None),
            ("2026-01-00", None),
            ("2026-01-15-1", None),
            ("26-01", None),
            ("2026", None),
            ("+026-01", None),
        ] {
            let want = want.map(|(year, month, day)| Date { year, month, day });
            assert_eq!(date(text), want, "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_is_one_after_the_day_before() {
        let first = Date::parse("1970-01-01").unwrap();
        let mut day = first;
        for number in 0..146_097 * 2 {
            assert_eq!(day.days_after(first), number);
            let next = day.plus_days(1);
            assert_eq!(date(&next.to_string()), Some(next), "after {day}");
            day = next;
        }
        assert_eq!(day.to_string(), "2770-01-01");
    }

    #[test]
    fn a_moment_falls_on_the_day_that_the_clock_of_logs_shows() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2026-11-23T23:59:59Z",
            "2028-02-29T12:00:00Z",
        ] {
            let day = Date::of(humantime::parse_rfc3339(text).unwrap());
            assert_eq!(Date::parse(text), Some(day), "{text}");
            assert_eq!(Date::of(day.begins()), day);
        }
        for bad in ["", "soon", "2026-13-01T00:00:00Z", "2026-1-1", "é2026-01-0"] {
            assert_eq!(Date::parse(bad), None, "{bad}");
        }
    }
}
