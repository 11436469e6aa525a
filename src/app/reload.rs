//! A new configuration under open connections.
//!
//! Job: swap what may be swapped, whole, or say what takes a restart.
//! Invariants: a request reads one [`World`], once; listeners, stores, trust and the CA stay as they were started; a host that
//! the running CA may not sign for is never half-configured.
//! Failure mode: [`ReloadError`]; then nothing has changed.

use std::sync::Arc;

use super::background;
use crate::config::Config;
use crate::proxy::{Shared, World};
use crate::telemetry::event::Event;

/// Why a new configuration was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReloadError {
    /// Sections that are read once, at the start.
    #[error("{0} changed, and is read at the start only; restart the sidecar to put it in force")]
    NeedsRestart(String),
    /// The CA's name constraints do not cover a host that is to be intercepted.
    #[error(
        "egress: {0} is not among the hosts that the running CA may sign for; restart the sidecar to make a CA that is"
    )]
    NotCovered(String),
}

pub(super) fn reload(shared: &Arc<Shared>, config: Config) -> Result<(), ReloadError> {
    let result = swap(shared, config);
    let world = shared.world.load();
    shared.recorder.events.note(&Event::Reload {
        taken: result.is_ok(),
        routes: world.config.routes.len(),
        tenants: world.tenants.len(),
    });
    result
}

fn swap(shared: &Arc<Shared>, config: Config) -> Result<(), ReloadError> {
    let before = shared.world.load_full();
    let fixed = changed(&before.config, &config);
    if !fixed.is_empty() {
        return Err(ReloadError::NeedsRestart(fixed.join(", ")));
    }
    let authority = shared.leaves.authority();
    if let Some(host) = config
        .intercepted()
        .into_iter()
        .find(|host| !authority.covers(host))
    {
        return Err(ReloadError::NotCovered(host.to_string()));
    }
    let generation = before.generation + 1;
    let world = Arc::new(World::new(config, generation));
    shared.world.store(Arc::clone(&world));
    shared.generation.send_replace(generation);
    background::keep_newcomers_warm(shared, &before, &world);
    tracing::info!(
        generation,
        tenants = world.tenants.len(),
        routes = world.config.routes.len(),
        "the configuration was reloaded"
    );
    Ok(())
}

/// Sections that were handed to rooms at the start and are not read again.
fn changed(before: &Config, after: &Config) -> Vec<&'static str> {
    let same = |name, same: bool| (!same).then_some(name);
    let debug = |one: &dyn std::fmt::Debug| format!("{one:?}");
    [
        same("listen.proxy", before.listen.proxy == after.listen.proxy),
        same(
            "listen.transparent",
            before.listen.transparent == after.listen.transparent,
        ),
        same("listen.admin", before.listen.admin == after.listen.admin),
        same(
            "listen.limits.max_connections",
            before.listen.limits.max_connections == after.listen.limits.max_connections,
        ),
        same(
            "interception",
            debug(&before.interception) == debug(&after.interception),
        ),
        same(
            "upstream",
            debug(&before.upstream) == debug(&after.upstream),
        ),
        same("store", before.store == after.store),
        same("lwa", debug(&before.lwa) == debug(&after.lwa)),
        same("inject.headers", before.inject == after.inject),
        same(
            "telemetry.release",
            before.telemetry.release == after.telemetry.release,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}
