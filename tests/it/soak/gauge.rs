//! What a process holds, second by second.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::kernel::{descriptors, kib};

/// One look at a process.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Minutes since the first look.
    minutes: f64,
    /// Resident memory.
    kib: f64,
    /// Open descriptors.
    descriptors: f64,
}

/// What was seen of a figure, and how it rises a minute by a line through it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trend {
    pub(super) least: f64,
    pub(super) most: f64,
    pub(super) a_minute: f64,
}

/// A process that is looked at.
pub(super) struct Gauge {
    id: u32,
    began: Instant,
    samples: Vec<Sample>,
}

impl Gauge {
    pub(super) fn of(id: u32) -> Self {
        Self {
            id,
            began: Instant::now(),
            samples: Vec::new(),
        }
    }

    /// Looks once.
    pub(super) fn look(&mut self) {
        self.samples.push(Sample {
            minutes: self.began.elapsed().as_secs_f64() / 60.0,
            kib: kib(self.id, "VmRSS") as f64,
            descriptors: descriptors(self.id) as f64,
        });
    }

    /// Looks every second until `until`.
    pub(super) async fn watch(mut self, until: Instant) -> Self {
        while Instant::now() < until {
            self.look();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self
    }

    /// Memory in KiB over the last three quarters: what a process fills at first (caches, pools, rings) is not growth.
    pub(super) fn memory(&self) -> Trend {
        self.trend(|sample| sample.kib)
    }

    /// Descriptors over the last three quarters.
    pub(super) fn descriptors(&self) -> Trend {
        self.trend(|sample| sample.descriptors)
    }

    fn trend(&self, of: impl Fn(&Sample) -> f64) -> Trend {
        let settled = &self.samples[self.samples.len() / 4..];
        let points: Vec<(f64, f64)> = settled
            .iter()
            .map(|sample| (sample.minutes, of(sample)))
            .collect();
        let values = points.iter().map(|(_, y)| *y);
        Trend {
            least: values.clone().fold(f64::INFINITY, f64::min),
            most: values.fold(0.0, f64::max),
            a_minute: slope(&points),
        }
    }
}

/// By least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let rises: f64 = points.iter().map(|(a, b)| (a - x) * (b - y)).sum();
    let runs: f64 = points.iter().map(|(a, _)| (a - x).powi(2)).sum();
    rises / runs
}

#[test]
fn a_leak_of_a_fixed_size_a_minute_is_the_slope_whatever_the_noise_that_comes_and_goes() {
    let points: Vec<(f64, f64)> = (0..1_200)
        .map(|n| {
            let minutes = f64::from(n) / 60.0;
            let noise = if n % 2 == 0 { 500.0 } else { -500.0 };
            (minutes, 30_000.0 + 64.0 * minutes + noise)
        })
        .collect();
    let found = slope(&points);
    assert!((found - 64.0).abs() < 1.0, "{found}");
}
