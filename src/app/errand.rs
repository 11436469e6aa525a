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
use crate::tls::client::UpstreamTls;
use crate::token;
use crate::upstream::dial::Dialer;
use crate::upstream::resolve::Resolver;

/// The dialler of a configuration.
///
/// # Errors
/// When `upstream` names what is not usable here.
pub fn dialer(config: &Config) -> Result<Arc<Dialer>, StartError> {
    Ok(Arc::new(Dialer {
        resolver: Resolver::new(&config.upstream, Vec::new())?,
        tls: UpstreamTls::new(&config.upstream)?,
        connect_timeout: config.upstream.connect_timeout,
        proxy: config.upstream.proxy.clone(),
    }))
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
) -> Result<token::exchange::Lwa, StartError> {
    token::exchange::Lwa::new(config.lwa.clone(), Arc::clone(store), transport)
        .map_err(StartError::TokenUrl)
}
