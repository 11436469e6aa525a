//! What commands need of the rooms without a running sidecar.
//!
//! Job: give a command the same way to LWA and the Tokens API that the sidecar would take: dialling, trust, `connect_to`, bounds.
//! Failure mode: that of the rooms.

use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use super::outside::{Outside, TokensQuota};
use crate::config::Config;
use crate::pace::Pace;
use crate::preflight::clock::Timekeeper;
use crate::preflight::{Tools, Way};
use crate::store::GrantStore;
use crate::task::Tasks;
use crate::telemetry::event::Events;
use crate::token;
use crate::upstream::dial::Dialer;

/// Longest wait for a place in the quota of the Tokens API.
const PLACE: Duration = Duration::from_secs(30);

/// What a preflight asks with.
#[must_use]
pub fn tools(config: Config, store: Arc<dyn GrantStore>, tasks: &Tasks) -> Tools {
    let way = way(&config, &store, tasks).map_err(|error| error.to_string());
    Tools { config, store, way }
}

fn way(config: &Config, store: &Arc<dyn GrantStore>, tasks: &Tasks) -> Result<Way, StartError> {
    let dialer = dialer(config)?;
    let transport = Timekeeper::over(transport(config, &dialer, tasks));
    let lwa = Arc::new(lwa(config, store, Arc::clone(&transport) as _, tasks)?);
    let restricted = token::restricted::Restricted::new(
        config.lwa.clone(),
        config.inject.clone(),
        Arc::clone(&transport) as _,
    );
    let quota = TokensQuota::new(Arc::new(Pace::new(Arc::new(|| 1))), PLACE);
    let restricted = Arc::new(restricted.within(quota));
    let events = Events::default();
    Ok(Way {
        dialer,
        transport,
        tokens: token::TokenSource::new(Arc::clone(&lwa), None, restricted, tasks, &events),
        lwa,
    })
}

/// The dialler of a configuration.
///
/// # Errors
/// When `upstream` names what is not usable here.
pub fn dialer(config: &Config) -> Result<Arc<Dialer>, StartError> {
    Ok(Arc::new(Dialer::new(&config.upstream, Vec::new())?))
}

/// The way of token requests.
#[must_use]
pub fn transport(
    config: &Config,
    dialer: &Arc<Dialer>,
    tasks: &Tasks,
) -> Arc<dyn token::exchange::Transport> {
    Outside::new(Arc::clone(dialer), tasks, config.lwa.timeout)
}

/// The token endpoint.
///
/// # Errors
/// When `lwa.token_url` has no host.
pub fn lwa(
    config: &Config,
    store: &Arc<dyn GrantStore>,
    transport: Arc<dyn token::exchange::Transport>,
    tasks: &Tasks,
) -> Result<token::exchange::Lwa, StartError> {
    token::exchange::Lwa::new(
        config.lwa.clone(),
        Arc::clone(store),
        transport,
        tasks.clone(),
        Events::default(),
    )
    .map_err(StartError::TokenUrl)
}
