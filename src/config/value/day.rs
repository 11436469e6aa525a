//! Days and months.

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
}
