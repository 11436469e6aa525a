//! The page: what was counted and what was read, as OpenMetrics text.
//!
//! Job: add up the shards, name every metric and label of the contract, write them in a stable order.
//! Invariants: every metric is announced by its type even when nothing was counted yet; no label holds anything that a program
//! or an origin made up.
//! Failure mode: writing to memory does not fail.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeMetric as _,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Metrics;
use super::histogram::Histogram;
use super::reading::Readings;
use super::tally::{Needed, TenantTally};
use crate::tenant::TenantState;

/// What every name begins with.
const PREFIX: &str = "spapi_sidecar";

/// How often requests of a kind ended how, by status and outcome.
type Endings = BTreeMap<(u16, &'static str), u64>;

/// Everything that the page shows.
#[derive(Debug, Default)]
struct Shown {
    requests: BTreeMap<[Arc<str>; 2], Endings>,
    needed: BTreeMap<(Arc<str>, &'static str), u64>,
    refused: BTreeMap<(Arc<str>, &'static str), u64>,
    auth_errors: BTreeMap<(Arc<str>, u16), u64>,
    exchanges: BTreeMap<(Arc<str>, &'static str, &'static str), u64>,
    throttled: BTreeMap<[Arc<str>; 2], u64>,
    reloads: [(&'static str, u64); 2],
    store_up: u64,
    release: Arc<str>,
    readings: Readings,
}

/// Writes the page.
pub(super) fn write(metrics: &Metrics, readings: Readings) -> String {
    let (mut request, mut overhead) = (Histogram::default(), Histogram::default());
    let mut shown = Shown {
        reloads: [
            ("taken", metrics.reloads_taken.load(Ordering::Relaxed)),
            ("refused", metrics.reloads_refused.load(Ordering::Relaxed)),
        ],
        store_up: metrics.store_up.load(Ordering::Relaxed),
        release: Arc::clone(&metrics.release),
        ..Shown::default()
    };
    for shard in &metrics.shards {
        let mut tally = shard
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(tenants) = &readings.tenants {
            tally.retain(|name| tenants.contains(name), &metrics.pairs);
        }
        request.add(&tally.request);
        overhead.add(&tally.overhead);
        for (tenant, counted) in &tally.tenants {
            shown.add(tenant, counted);
        }
    }
    shown.begin(&readings);
    shown.readings = readings;
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(shown));
    let mut text = String::with_capacity(8 << 10);
    let written = encode_registry(&mut text, &registry)
        .and_then(|()| {
            request.write(
                &mut text,
                &format!("{PREFIX}_request_seconds"),
                "Time from a request's head to the last byte of its answer",
            )
        })
        .and_then(|()| {
            overhead.write(
                &mut text,
                &format!("{PREFIX}_overhead_seconds"),
                "Time until an answer's head was ready, without waits for upstream and pacing",
            )
        })
        .and_then(|()| encode_eof(&mut text));
    debug_assert!(written.is_ok(), "writing to memory does not fail");
    text
}

impl Shown {
    /// Begins at nothing what is alerted on: the first of a kind is seen as a rise only where a zero came before.
    fn begin(&mut self, readings: &Readings) {
        for tenant in readings.tenants.iter().flatten() {
            let tenant: Arc<str> = tenant.as_str().into();
            for status in [401, 403] {
                let name = (Arc::clone(&tenant), status);
                self.auth_errors.entry(name).or_default();
            }
            for waiting in ["false", "true"] {
                let name = (Arc::clone(&tenant), waiting);
                self.needed.entry(name).or_default();
            }
            self.exchanges.entry((tenant, "access", "ok")).or_default();
        }
    }

    fn add(&mut self, tenant: &Arc<str>, counted: &TenantTally) {
        for (operation, endings) in &counted.requests {
            let name = [Arc::clone(tenant), Arc::clone(operation)];
            let sums = self.requests.entry(name).or_default();
            for ((status, outcome), count) in endings {
                *sums.entry((*status, outcome.as_str())).or_default() += count;
            }
        }
        let Needed { waiting, missing } = counted.needed;
        for (was, count) in [("true", waiting), ("false", missing)] {
            if count > 0 {
                let name = (Arc::clone(tenant), was);
                *self.needed.entry(name).or_default() += count;
            }
        }
        for (reason, count) in &counted.refused {
            let name = (Arc::clone(tenant), reason.code());
            *self.refused.entry(name).or_default() += count;
        }
        for (status, count) in &counted.auth_errors {
            let name = (Arc::clone(tenant), *status);
            *self.auth_errors.entry(name).or_default() += count;
        }
        for ((kind, result), count) in &counted.exchanges {
            let name = (Arc::clone(tenant), *kind, *result);
            *self.exchanges.entry(name).or_default() += count;
        }
        for (operation, count) in &counted.throttled {
            let name = [Arc::clone(tenant), Arc::clone(operation)];
            *self.throttled.entry(name).or_default() += count;
        }
    }

    fn counters(&self, page: &mut Page<'_>) -> fmt::Result {
        let requests = self
            .requests
            .iter()
            .flat_map(|([tenant, operation], endings)| {
                endings.iter().map(move |((status, outcome), count)| {
                    let labels = [
                        ("tenant", tenant.to_string()),
                        ("operation", operation.to_string()),
                        ("status", status.to_string()),
                        ("outcome", (*outcome).to_owned()),
                    ];
                    (labels, *count)
                })
            });
        page.counter("requests", "Requests, by how they ended.", requests)?;
        page.counter(
            "token_needed",
            "Requests that needed a token, by whether a usable one was in memory.",
            self.needed.iter().map(|((tenant, waiting), count)| {
                ([("tenant", &**tenant), ("waiting", waiting)], *count)
            }),
        )?;
        page.counter(
            "refused",
            "Answers made here in place of the origin's, by their code.",
            self.refused
                .iter()
                .map(|((tenant, code), count)| ([("tenant", &**tenant), ("code", code)], *count)),
        )?;
        page.counter(
            "upstream_auth_errors",
            "401 and 403 answers of SP-API, replayed ones too.",
            self.auth_errors.iter().map(|((tenant, status), count)| {
                let labels = [
                    ("tenant", tenant.to_string()),
                    ("status", status.to_string()),
                ];
                (labels, *count)
            }),
        )?;
        page.counter(
            "exchanges",
            "Exchanges for tokens: ok, shared (taken from the fleet's record), or why there is none.",
            self.exchanges.iter().map(|((tenant, kind, result), count)| {
                let labels = [("tenant", &**tenant), ("kind", *kind), ("result", *result)];
                (labels, *count)
            }),
        )?;
        page.counter(
            "throttled",
            "429 answers of SP-API, and requests that could not be paced within the bound.",
            self.throttled.iter().map(|([tenant, operation], count)| {
                ([("tenant", &**tenant), ("operation", &**operation)], *count)
            }),
        )?;
        page.counter(
            "reloads",
            "Reloads of the configuration.",
            self.reloads
                .iter()
                .map(|(result, count)| ([("result", *result)], *count)),
        )?;
        page.one_counter(
            "log_lines_lost",
            "Log lines that a stalled output lost.",
            self.readings.log_lines_lost,
        )?;
        page.one_counter(
            "telemetry_dropped",
            "Spans that were not delivered: the collector did not take them, or too many waited.",
            self.readings.spans_dropped,
        )
    }

    fn gauges(&self, page: &mut Page<'_>) -> fmt::Result {
        let readings = &self.readings;
        page.gauge(
            "token_expires_in_seconds",
            "What is left of the life of the token in memory; 0 where a tenant has none.",
            readings.tokens.iter().map(|((tenant, kind), life)| {
                (
                    [("tenant", tenant.as_str()), ("kind", kind)],
                    life.as_secs_f64(),
                )
            }),
        )?;
        let states = readings.tenants.iter().flatten().flat_map(|tenant| {
            let now = readings.states.get(tenant).copied().unwrap_or_default();
            STATES.map(|state| {
                let labels = [("tenant", tenant.as_str()), ("state", state.as_str())];
                (labels, i64::from(state == now))
            })
        });
        page.gauge(
            "tenant_state",
            "1 for the state that a tenant is in.",
            states,
        )?;
        page.gauge(
            "alert_active",
            "1 while an alert fires.",
            readings.alerts.iter().map(|((alert, subject), active)| {
                (
                    [("alert", *alert), ("subject", &**subject)],
                    i64::from(*active),
                )
            }),
        )?;
        let of_apps = [
            (
                "charge_method_days_left",
                "Days until an app's charge method lapses.",
                &readings.charge_method_days,
            ),
            (
                "client_secret_days_left",
                "Days until an app's client secret lapses.",
                &readings.client_secret_days,
            ),
        ];
        for (name, help, days) in of_apps {
            let days = days
                .iter()
                .map(|(app, days)| ([("app", app.as_str())], *days));
            page.gauge(name, help, days)?;
        }
        page.gauge(
            "authorization_days_left",
            "Days until a selling partner's authorization ends.",
            readings
                .authorization_days
                .iter()
                .map(|(tenant, days)| ([("tenant", tenant.as_str())], *days)),
        )?;
        page.one_gauge("store_up", "1 while the store answers.", self.store_up)?;
        let connections = u64::try_from(readings.connections).unwrap_or(u64::MAX);
        page.one_gauge("connections", "Open client connections.", connections)
    }
}

/// Every state, so that a series is there before it is needed.
const STATES: [TenantState; 3] = [
    TenantState::Active,
    TenantState::Quarantined,
    TenantState::Killed,
];

impl Collector for Shown {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.counters(&mut page)?;
        self.gauges(&mut page)?;
        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("release", &*self.release),
        ];
        page.0
            .encode_descriptor("build", "What runs here.", None, MetricType::Info)?
            .encode_info(&labels)
    }
}

/// The page while it is written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counter<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in series {
            ConstCounter::new(count).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// A counter without labels.
    fn one_counter(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        let encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(count).encode(encoder)
    }

    /// A gauge without labels.
    fn one_gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    fn gauge<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in series {
            ConstGauge::new(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
