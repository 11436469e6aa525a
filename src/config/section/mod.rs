//! The keys of `proxy.yaml`, declared once: how each is read, what it defaults to, what it is about.
//!
//! Job: the declarations behind both the reader and the JSON Schema, a file for each group of sections.
//! Invariants: every field is read before the first `?`, so that one mistake hides no other.
//! Failure mode: `None`, with the faults noted in the [`Section`].
//! Source: `proxy.yaml`, the commented sample of every key.

mod listen;
mod operate;
mod party;
mod route;
mod store;
mod upstream;

pub(super) use party::tenant;

use super::read::{List, Section, Shape};
use super::value::{Count, OneOf, TENANT_ID};
use super::{Config, PolicyMode, Store, Upstream};

/// The whole document.
pub(super) fn document(s: &mut Section<'_>) -> Option<Config> {
    let version = s.required(
        "version",
        &Count { least: 1, most: 1 },
        "version of this format",
    );
    let listen = s.nested("listen", listen::listen, "where the sidecar listens");
    let interception = s.nested(
        "interception",
        listen::interception,
        "the certificate authority that apps trust",
    );
    let upstream = s.nested("upstream", upstream::upstream, "how origins are reached");
    let store = s.required("store", &Shape(store::store), "where credentials live");
    let lwa = s.nested("lwa", operate::lwa, "the token endpoint");
    let inject = s.nested(
        "inject",
        operate::inject,
        "which header fields carry the token",
    );
    let egress = s.or(
        "egress",
        "[]",
        &List::of(Shape(party::egress)),
        "which hosts may be reached: default deny, first match wins",
    );
    let apps = s.or(
        "apps",
        "[]",
        &List::of(Shape(party::app)),
        "LWA clients; their id and secret are in the store",
    );
    let tenants = s.or(
        "tenants",
        "[]",
        &party::TenantsKind,
        "selling partners' grants; their refresh tokens are in the store",
    );
    let default_tenant = s.optional(
        "default_tenant",
        &TENANT_ID,
        "whose request it is when nothing says so; null when every caller must say",
    );
    let policy = s.or(
        "policy",
        "enforce",
        &OneOf(&[
            ("enforce", PolicyMode::Enforce),
            ("report", PolicyMode::Report),
        ]),
        "report lets a refused route through and records it",
    );
    let routes = s.or(
        "routes",
        "[]",
        &List::of(Shape(route::route)),
        "what may be called: default deny",
    );
    let throttle = s.nested("throttle", operate::throttle, "pacing and back-off");
    let alerts = s.nested("alerts", operate::alerts, "thresholds and where alerts go");
    let telemetry = s.nested("telemetry", operate::telemetry, "logs, metrics and traces");
    let audit = s.nested("audit", operate::audit, "the hash-chained audit file");
    version?;
    Some(Config {
        listen: listen?,
        interception: interception?,
        store: reached_through(store?, upstream.as_ref()),
        upstream: upstream?,
        lwa: lwa?,
        inject: inject?,
        egress: egress?,
        apps: apps?,
        tenants: tenants?,
        default_tenant: default_tenant?,
        policy: policy?,
        routes: routes?,
        throttle: throttle?,
        alerts: alerts?,
        telemetry: telemetry?,
        audit: audit?,
    })
}

/// The store, with the next hop on the way to it.
fn reached_through(mut store: Store, upstream: Option<&Upstream>) -> Store {
    if let (Store::Vault(vault), Some(upstream)) = (&mut store, upstream) {
        vault.next_hop.clone_from(&upstream.proxy);
    }
    store
}
