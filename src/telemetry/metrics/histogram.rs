//! How long things took, in buckets.
//!
//! Job: count durations from 50 µs to 60 s, keep for each bucket the latest trace that fell into it, write OpenMetrics text.
//! Invariants: a fixed amount of memory; nothing is formatted before a scrape. The text is written here, since the crate that
//! writes the rest lets nobody make an exemplar.
//! Source: OpenMetrics 1.0, "Histogram" and "Exemplars".

use std::fmt::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::telemetry::w3c::TraceId;

/// Upper bounds of the buckets, in nanoseconds, and as OpenMetrics spells them, in seconds.
const BOUNDS: [(u64, &str); 19] = [
    (50_000, "0.00005"),
    (100_000, "0.0001"),
    (250_000, "0.00025"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1.0"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5.0"),
    (10_000_000_000, "10.0"),
    (30_000_000_000, "30.0"),
    (60_000_000_000, "60.0"),
];

/// The buckets, that of longer times included.
const BUCKETS: usize = BOUNDS.len() + 1;

/// Durations by bucket.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Histogram {
    buckets: [Bucket; BUCKETS],
    /// Nanoseconds in all.
    sum: u64,
}

#[derive(Clone, Copy, Default, Debug)]
struct Bucket {
    count: u64,
    example: Option<Example>,
}

/// One measurement of a bucket, and the trace that tells more of it.
#[derive(Clone, Copy, Debug)]
struct Example {
    trace: TraceId,
    nanos: u64,
    at: SystemTime,
}

impl Histogram {
    /// Counts a duration; the wall clock is read for one that belongs to a trace.
    pub(super) fn observe(&mut self, duration: Duration, trace: Option<TraceId>) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum = self.sum.saturating_add(nanos);
        let at = BOUNDS.partition_point(|(bound, _)| *bound < nanos);
        if let Some(bucket) = self.buckets.get_mut(at) {
            bucket.count += 1;
            if let Some(trace) = trace {
                let at = crate::telemetry::now();
                bucket.example = Some(Example { trace, nanos, at });
            }
        }
    }

    /// Adds what another thread counted.
    pub(super) fn add(&mut self, other: &Self) {
        self.sum = self.sum.saturating_add(other.sum);
        for (bucket, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            bucket.count += theirs.count;
            let newer = match (&bucket.example, &theirs.example) {
                (Some(ours), Some(other)) => other.at > ours.at,
                (None, Some(_)) => true,
                (_, None) => false,
            };
            if newer {
                bucket.example = theirs.example;
            }
        }
    }

    /// Writes the metric, `name` in full and with its unit.
    pub(super) fn write(&self, text: &mut String, name: &str, help: &str) -> fmt::Result {
        writeln!(
            text,
            "# HELP {name} {help}.\n# TYPE {name} histogram\n# UNIT {name} seconds"
        )?;
        let bounds = BOUNDS.iter().map(|(_, bound)| *bound).chain(["+Inf"]);
        let mut count = 0;
        for (bound, bucket) in bounds.zip(&self.buckets) {
            count += bucket.count;
            write!(text, "{name}_bucket{{le=\"{bound}\"}} {count}")?;
            if let Some(Example { trace, nanos, at }) = bucket.example {
                let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
                let (value, at) = (seconds(nanos), at.as_secs_f64());
                write!(text, " # {{trace_id=\"{trace}\"}} {value} {at:.3}")?;
            }
            text.push('\n');
        }
        writeln!(
            text,
            "{name}_sum {}\n{name}_count {count}",
            seconds(self.sum)
        )
    }
}

fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(histogram: &Histogram) -> String {
        let mut text = String::new();
        histogram.write(&mut text, "x_seconds", "X").unwrap();
        text
    }

    #[test]
    fn every_bound_is_spelt_as_it_is_measured() {
        for (nanos, bound) in BOUNDS {
            assert!(
                (seconds(nanos) - bound.parse::<f64>().unwrap()).abs() < 1e-12,
                "{bound}"
            );
        }
        assert!(BOUNDS.is_sorted());
    }

    #[test]
    fn a_duration_is_counted_in_its_bucket_and_in_all_that_are_larger() {
        let mut histogram = Histogram::default();
        for duration in [
            Duration::from_micros(50),
            Duration::from_micros(51),
            Duration::from_secs(61),
        ] {
            histogram.observe(duration, None);
        }
        let text = text(&histogram);
        for line in [
            "x_seconds_bucket{le=\"0.00005\"} 1\n",
            "x_seconds_bucket{le=\"0.0001\"} 2\n",
            "x_seconds_bucket{le=\"60.0\"} 2\n",
            "x_seconds_bucket{le=\"+Inf\"} 3\n",
            "x_seconds_sum 61.000101\n",
            "x_seconds_count 3\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn a_bucket_names_the_latest_trace_that_fell_into_it() {
        let trace = |byte| TraceId::new([byte; 16]);
        let (mut one, mut two) = (Histogram::default(), Histogram::default());
        one.observe(Duration::from_millis(3), trace(1));
        two.observe(Duration::from_millis(4), trace(2));
        two.observe(Duration::from_millis(4), None);
        one.add(&two);
        let text = text(&one);
        let want = format!(
            "x_seconds_bucket{{le=\"0.005\"}} 3 # {{trace_id=\"{}\"}} 0.004 ",
            "02".repeat(16)
        );
        assert!(text.contains(&want), "{text}");
    }
}
