//! What commands need of the rooms without a running sidecar.
//!
//! Job: give a command the same way to LWA and the Tokens API that the sidecar would take: dialling, trust, `connect_to`, bounds.
//! Failure mode: that of the rooms.

use std::sync::Arc;

use super::StartError;
use super::outside::Outside;
use crate::config::Config;
use crate::store::GrantStore;
use crate::task::Tasks;
use crate::token;
use crate::upstream::dial::Dialer;

/// The dialler of a configuration.
///
/// # Errors
/// When `upstream` names what is not usable here.
pub fn dialer(config: &Config) -> Result<Arc<Dialer>, StartError> {
    super::dialer(config, Vec::new())
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
    )
    .map_err(StartError::TokenUrl)
}
