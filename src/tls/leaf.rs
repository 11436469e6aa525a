//! One server configuration for each intercepted host, minted when first asked for.
//!
//! Job: [`LeafCache::server_config`], called for every downstream handshake: a look-up, and once in a while a mint.
//! Invariants: at most [`HOSTS`] configurations are kept; concurrent misses for a host mint once; a leaf is replaced
//! after two thirds of its life, long before a client could see it expire; no early data (RFC 8446 section 8: it can be
//! replayed, and requests here carry credentials).
//! Failure mode: [`AuthorityError`]; a host outside the authority's names gets no leaf.
//! Sources: RFC 7301 (ALPN), RFC 8446 section 4.6.1 (tickets).

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use moka::ops::compute::Op;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::NoServerSessionStorage;
use rustls::server::ProducesTickets;
use rustls::sign::CertifiedKey;
use rustls::sign::SingleCertAndKey;

use super::authority::AuthorityError;
use super::authority::CertificateAuthority;
use super::authority::Leaf;
use crate::name::HostName;

/// Most hosts whose configuration is kept. SP-API has three; presigned documents add a few dozen
/// buckets; the rest of the room is for an app that makes names up, which must not cost memory without end.
pub const HOSTS: u64 = 1024;

/// TLS 1.3 tickets sent after a handshake. One is enough: each connection that uses a ticket up gets the next one.
const TICKETS: usize = 1;

/// Server configurations by host.
pub struct LeafCache {
    authority: Arc<CertificateAuthority>,
    provider: Arc<CryptoProvider>,
    ticketer: Arc<dyn ProducesTickets>,
    configs: moka::sync::Cache<HostName, Cached>,
}

#[derive(Clone)]
struct Cached {
    config: Arc<ServerConfig>,
    not_before: SystemTime,
    renew_at: SystemTime,
}

impl Cached {
    /// Not before its time either: a clock that was set back would otherwise serve a leaf from the future.
    fn serves(&self, now: SystemTime) -> bool {
        (self.not_before..self.renew_at).contains(&now)
    }
}

impl LeafCache {
    /// An empty cache. A new authority takes a new cache: its tickets and leaves end with it.
    ///
    /// # Errors
    /// When no ticket keys can be made.
    pub fn new(authority: Arc<CertificateAuthority>) -> Result<Self, AuthorityError> {
        Ok(Self {
            authority,
            provider: super::downstream_provider(),
            ticketer: Ticketer::new()?,
            configs: moka::sync::Cache::new(HOSTS),
        })
    }

    /// The configuration to serve `host` with: a look-up, or at first a key and a signature (`benches/leaf.rs`). Neither
    /// waits for anything outside the process, so an async thread may call it.
    ///
    /// # Errors
    /// When the authority may not sign for the host, has expired, or fails.
    pub fn server_config(
        &self,
        host: &HostName,
        now: SystemTime,
    ) -> Result<Arc<ServerConfig>, AuthorityError> {
        if let Some(cached) = self.configs.get(host)
            && cached.serves(now)
        {
            return Ok(cached.config);
        }
        let mut minted = None;
        // runs one at a time for each host, so whoever waited finds the fresh entry
        let computed = self
            .configs
            .entry_by_ref(host)
            .and_try_compute_with(|entry| {
                if let Some(entry) = entry
                    && entry.value().serves(now)
                {
                    minted = Some(Arc::clone(&entry.value().config));
                    return Ok(Op::Nop);
                }
                let cached = self.build(host, now)?;
                minted = Some(Arc::clone(&cached.config));
                Ok(Op::Put(cached))
            });
        computed.and_then(|_entry| minted.ok_or(AuthorityError::Key))
    }

    /// The authority whose leaves these are.
    #[must_use]
    pub const fn authority(&self) -> &Arc<CertificateAuthority> {
        &self.authority
    }

    fn build(&self, host: &HostName, now: SystemTime) -> Result<Cached, AuthorityError> {
        let leaf = self.authority.mint(host, now)?;
        let left = leaf.not_after.duration_since(now).unwrap_or_default();
        Ok(Cached {
            not_before: leaf.not_before,
            renew_at: now + left * 2 / 3,
            config: Arc::new(self.configure(leaf)?),
        })
    }

    fn configure(&self, leaf: Leaf) -> Result<ServerConfig, AuthorityError> {
        let certified = CertifiedKey::new(leaf.chain, leaf.key);
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![super::ALPN_H2.to_vec(), super::ALPN_HTTP11.to_vec()];
        config.ignore_client_order = true;
        // one ticketer for all hosts: rustls itself refuses a ticket under another SNI
        config.ticketer = Arc::clone(&self.ticketer);
        config.send_tls13_tickets = TICKETS;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        Ok(config)
    }
}

impl fmt::Debug for LeafCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeafCache")
            .field("authority", &self.authority)
            .field("hosts", &self.configs.entry_count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
