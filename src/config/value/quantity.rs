//! Durations, sizes, counts, ports and percentages, each within bounds.

use std::time::Duration;

use serde_json::{Value, json};

use super::bare;
use crate::config::error::{Fault, Wrong};
use crate::config::read::{Kind, read_text, shown};
use crate::config::tree::Node;

/// A time span in humantime's spelling, both bounds included.
pub(in crate::config) struct Span {
    pub(in crate::config) least: Duration,
    pub(in crate::config) most: Duration,
}

impl Span {
    /// From a millisecond to `most`.
    pub(in crate::config) const fn up_to(most: Duration) -> Self {
        Self {
            least: Duration::from_millis(1),
            most,
        }
    }

    /// From none to `most`.
    pub(in crate::config) const fn none_to(most: Duration) -> Self {
        Self {
            least: Duration::ZERO,
            most,
        }
    }
}

/// A number of seconds, as a constant.
pub(in crate::config) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A number of days, as a constant.
pub(in crate::config) const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 60 * 60)
}

const SPAN_WANTED: &str = "a number and a unit, as in 30s, 5m, 24h, 60d or 1h 30m";

impl Kind for Span {
    type Value = Duration;

    fn read(&self, node: &Node, path: &str, faults: &mut Vec<Fault>) -> Option<Duration> {
        if let Some(scalar) = node.scalar().filter(|scalar| scalar.is_number()) {
            let wrong = Wrong::new("~ has no unit", format!("write {SPAN_WANTED}"));
            faults.push(shown(node, path, wrong, &scalar.shown()));
            return None;
        }
        read_text(node, path, faults, SPAN_WANTED, |text| {
            let span = humantime::parse_duration(text).map_err(|_quotes_the_value| {
                Wrong::new("~ is not a duration", format!("write {SPAN_WANTED}"))
            })?;
            if span < self.least || span > self.most {
                return Err(Wrong::new(
                    "~ is out of range",
                    format!(
                        "write a duration from {} to {}",
                        in_units(self.least),
                        in_units(self.most)
                    ),
                ));
            }
            Ok(span)
        })
    }

    fn schema(&self) -> Value {
        json!({ "type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*[a-zA-Zµ]+(\s*[0-9]+(\.[0-9]+)?\s*[a-zA-Zµ]+)*\s*$" })
    }

    fn wanted(&self) -> String {
        SPAN_WANTED.to_owned()
    }
}

/// A bound as it would be written; humantime's own spelling counts in months.
fn in_units(span: Duration) -> String {
    match (span.as_secs(), span.subsec_millis()) {
        (seconds, 0) if seconds > 0 && seconds.is_multiple_of(86_400) => {
            format!("{}d", seconds / 86_400)
        }
        (seconds, 0) => format!("{seconds}s"),
        (_, millis) => format!("{millis}ms"),
    }
}

/// A number of bytes, both bounds included.
pub(in crate::config) struct Size {
    pub(in crate::config) least: usize,
    pub(in crate::config) most: usize,
}

const SIZE_WANTED: &str = "a number of bytes, as in 512B, 64KiB, 1MiB or 65536";

impl Kind for Size {
    type Value = usize;

    fn read(&self, node: &Node, path: &str, faults: &mut Vec<Fault>) -> Option<usize> {
        let scalar = bare(node, path, faults, SIZE_WANTED)?;
        let wrong = match bytes(&scalar.text) {
            Some(size) if (self.least..=self.most).contains(&size) => return Some(size),
            Some(_) => Wrong::new(
                "~ is out of range",
                format!(
                    "write a size from {} to {}",
                    in_bytes(self.least),
                    in_bytes(self.most)
                ),
            ),
            None => Wrong::new("~ is not a size", format!("write {SIZE_WANTED}")),
        };
        faults.push(shown(node, path, wrong, &scalar.shown()));
        None
    }

    fn schema(&self) -> Value {
        json!({ "type": ["string", "integer"], "pattern": "^[0-9]+ ?(B|KiB|MiB|GiB)?$", "minimum": 0 })
    }

    fn wanted(&self) -> String {
        SIZE_WANTED.to_owned()
    }
}

fn bytes(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = match unit.strip_prefix(' ').unwrap_or(unit) {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(unit)
}

fn in_bytes(size: usize) -> String {
    match size {
        0 => "0B".to_owned(),
        size if size.is_multiple_of(1 << 30) => format!("{}GiB", size >> 30),
        size if size.is_multiple_of(1 << 20) => format!("{}MiB", size >> 20),
        size if size.is_multiple_of(1 << 10) => format!("{}KiB", size >> 10),
        size => format!("{size}B"),
    }
}

/// A whole number, both bounds included.
pub(in crate::config) struct Count {
    pub(in crate::config) least: u32,
    pub(in crate::config) most: u32,
}

impl Kind for Count {
    type Value = u32;

    fn read(&self, node: &Node, path: &str, faults: &mut Vec<Fault>) -> Option<u32> {
        let scalar = bare(node, path, faults, &self.wanted())?;
        let value = scalar
            .text
            .parse::<u32>()
            .ok()
            .filter(|_| scalar.is_number());
        if let Some(value) = value.filter(|value| (self.least..=self.most).contains(value)) {
            return Some(value);
        }
        let problem = match scalar.text.parse::<i128>() {
            Ok(_) if scalar.is_number() => "~ is out of range",
            Ok(_) => "~ in quotes is text",
            Err(_) => "~ is not a whole number",
        };
        let wrong = Wrong::new(problem, format!("write {}", self.wanted()));
        faults.push(shown(node, path, wrong, &scalar.shown()));
        None
    }

    fn schema(&self) -> Value {
        json!({ "type": "integer", "minimum": self.least, "maximum": self.most })
    }

    fn wanted(&self) -> String {
        if self.least == self.most {
            self.least.to_string()
        } else {
            format!("a whole number from {} to {}", self.least, self.most)
        }
    }
}

/// A TCP port.
#[derive(Clone, Copy)]
pub(in crate::config) struct Port;

const PORT: Count = Count {
    least: 1,
    most: 65535,
};

impl Kind for Port {
    type Value = u16;

    fn read(&self, node: &Node, path: &str, faults: &mut Vec<Fault>) -> Option<u16> {
        PORT.read(node, path, faults)
            .and_then(|port| u16::try_from(port).ok())
    }

    fn schema(&self) -> Value {
        PORT.schema()
    }

    fn wanted(&self) -> String {
        PORT.wanted()
    }
}

/// A share, from just above nothing; 0.0 to 1.0.
pub(in crate::config) struct Percent {
    /// Whether the whole may stand here.
    pub(in crate::config) whole: bool,
}

impl Kind for Percent {
    type Value = f64;

    fn read(&self, node: &Node, path: &str, faults: &mut Vec<Fault>) -> Option<f64> {
        if let Some(scalar) = node.scalar().filter(|scalar| scalar.is_number()) {
            let wrong = Wrong::new("~ has no percent sign", format!("write {}", self.wanted()));
            faults.push(shown(node, path, wrong, &scalar.shown()));
            return None;
        }
        read_text(node, path, faults, &self.wanted(), |text| {
            let number = text
                .strip_suffix('%')
                .filter(|number| number.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
                .and_then(|number| format!("{number}e-2").parse::<f64>().ok())
                .ok_or_else(|| {
                    Wrong::new("~ is not a percentage", format!("write {}", self.wanted()))
                })?;
            if number > 0.0 && (number < 1.0 || (self.whole && number <= 1.0)) {
                Ok(number)
            } else {
                Err(Wrong::new(
                    "~ is out of range",
                    format!("write {}", self.wanted()),
                ))
            }
        })
    }

    fn schema(&self) -> Value {
        json!({ "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?%$" })
    }

    fn wanted(&self) -> String {
        let upper = if self.whole { "up to" } else { "below" };
        format!("a percentage above 0% and {upper} 100%, as in 50% or 99.9%")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_bytes() {
        for (text, want) in [
            ("512B", Some(512)),
            ("64KiB", Some(65536)),
            ("1MiB", Some(1 << 20)),
            ("2 GiB", Some(2 << 30)),
            ("65536", Some(65536)),
            ("64KB", None),
            ("64kib", None),
            ("", None),
            ("KiB", None),
            ("-1", None),
            ("99999999999999999999", None),
            ("18446744073709551615KiB", None),
        ] {
            assert_eq!(bytes(text), want, "{text}");
        }
        assert_eq!(in_bytes(16 << 20), "16MiB");
        assert_eq!(in_bytes(1025), "1025B");
    }
}
