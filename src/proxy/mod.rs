//! The walk: from an accepted connection to the last byte of an answer.
//!
//! Job: CONNECT or SNI names a host, policy decides, TLS ends here, and each request goes through admit, authorize,
//! pace, credential, inject, send, return, in that order ([`request`]).
//! Invariants: each step takes what only the step before can make; a refusal for an intercepted host is given inside TLS;
//! one [`crate::telemetry::record::Record`] is written for each request, whatever path it takes.
//! Failure mode: [`crate::outcome::Failure`], turned into an answer in [`respond`] alone.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, watch};

use crate::alert::Alerts;
use crate::audit::Audit;
use crate::config::{Config, EgressMode};
use crate::document::Documents;
use crate::fleet::Fleet;
use crate::name::Authority;
use crate::outcome::{Failure, Reason};
use crate::pace::Pace;
use crate::phantom::PhantomKey;
use crate::policy::Policy;
use crate::roster::{Passes, Profiles, Roster};
use crate::task::Tasks;
use crate::telemetry::event::Event;
use crate::telemetry::record::{Recorder, RequestId};
use crate::tenant::TenantId;
use crate::tls::leaf::LeafCache;
use crate::token::TokenSource;
use crate::token::incident::Incidents;
use crate::token::report::Reports;
use crate::upstream::client::Client;

pub mod answer;
mod audited;
mod body;
mod break_glass;
pub mod connect;
pub mod credential;
pub mod crowd;
pub mod document;
pub mod field;
pub mod head;
pub mod heard;
pub mod hello;
pub mod intercept;
mod learn;
pub mod listen;
pub mod load;
pub mod login;
pub mod phantom;
pub mod pulse;
pub mod replay;
pub mod request;
pub mod respond;
pub mod send;
pub mod socket;
mod standing;
pub mod tunnel;
mod turn;
pub mod unreadable;
pub mod upload;

/// What a reload swaps: the file and all that was compiled from it.
#[derive(Debug)]
pub struct World {
    /// Grows with every reload: tells a connection that policy may have changed since it was opened.
    pub generation: u64,
    /// The file.
    pub config: Config,
    /// Its compiled policy.
    pub policy: Policy,
    /// Its tenants, or the store's.
    pub tenants: Roster,
}

impl World {
    /// Compiles a configuration; `profiles` are its tenants where it says so.
    #[must_use]
    pub fn new(config: Config, generation: u64, profiles: &Arc<Profiles>) -> Self {
        Self {
            generation,
            policy: Policy::compile(&config),
            tenants: Roster::of(&config, profiles),
            config,
        }
    }
}

/// What every core shares.
#[derive(Debug)]
pub struct Shared {
    /// The configuration in force.
    pub world: ArcSwap<World>,
    /// The generation in force, for tunnels to wait on.
    pub generation: watch::Sender<u64>,
    /// Tokens.
    pub tokens: Arc<TokenSource>,
    /// Tenants' states and break-glass.
    pub fleet: Arc<Fleet>,
    /// The profiles that the store holds.
    pub profiles: Arc<Profiles>,
    /// Whose preflight has passed, of those who need one.
    pub passes: Passes,
    /// The quotas that requests are held to.
    pub pace: Arc<Pace>,
    /// Whose fresh tokens Amazon refuses.
    pub incidents: Incidents,
    /// Leaves and their TLS configurations.
    pub leaves: LeafCache,
    /// The key of phantom tokens, once the store has given it.
    pub phantoms: OnceLock<PhantomKey>,
    /// Proxy logins.
    pub logins: login::Logins,
    /// Presigned URLs that SP-API handed out.
    pub documents: Documents,
    /// Who read what for whom.
    pub audit: Audit,
    /// Which reports are restricted, as far as answers said.
    pub reports: Reports,
    /// What a person is told of.
    pub alerts: Arc<Alerts>,
    /// Access records.
    pub recorder: Arc<Recorder>,
    /// Permits for connections.
    pub permits: Arc<Semaphore>,
    /// Who holds them.
    pub crowd: crowd::Crowd,
    /// Places for requests.
    pub load: load::Load,
    /// Memory for bodies that may have to be sent again.
    pub room: Arc<replay::Room>,
    /// Task tracker.
    pub tasks: Tasks,
    /// Our Via pseudonym (RFC 9110 section 7.6.3), new for each process.
    pub via: http::HeaderValue,
    /// Where request ids start.
    pub first_id: u64,
    /// How many there were.
    pub ids: AtomicU64,
}

impl Shared {
    /// Says that a program sent a token that Amazon issued; it is warned of once an episode.
    pub fn real_token_was_seen(&self, tenant: Option<&TenantId>) {
        self.recorder.events.note(&Event::RealTokenSeen { tenant });
    }

    /// A request id that this process has not used.
    pub fn next_id(&self) -> RequestId {
        let n = self.ids.fetch_add(1, Ordering::Relaxed);
        // an odd factor permutes the 64-bit numbers: ids look unrelated and never repeat
        RequestId(
            self.first_id
                .wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        )
    }
}

/// One core: its own runtime, its own pool of upstream connections.
#[derive(Debug)]
pub struct Worker {
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// Its pool.
    pub client: Client<replay::Replay>,
}

/// What is known of an intercepted connection.
#[derive(Debug)]
pub struct Connection {
    /// The core it lives on.
    pub worker: Arc<Worker>,
    /// The CONNECT host and port, or the SNI and 443.
    pub target: Authority,
    /// The target's host as text.
    pub host: Arc<str>,
    /// What policy said of it.
    pub mode: EgressMode,
    /// In which generation.
    pub generation: u64,
    /// Where it comes from, where that is known.
    pub client: Option<IpAddr>,
    /// What the proxy login came to.
    pub login: login::Login,
    /// Its idle clock.
    pub pulse: Arc<pulse::Pulse>,
}

impl Connection {
    /// Whether policy still says of this connection's host what it said when the connection was opened.
    ///
    /// # Errors
    /// When a reload took the rule away or changed what it does.
    pub fn still_allowed(&self, world: &World) -> Result<(), Failure> {
        if world.generation == self.generation {
            return Ok(());
        }
        let mode = world.policy.egress(&self.target).map_err(Failure::from)?;
        if mode == self.mode {
            return Ok(());
        }
        Err(Failure::new(
            Reason::EgressDenied,
            format!(
                "The rule for {} has changed since this connection was opened.",
                self.host
            ),
            "Open a new connection.",
        ))
    }

    /// What every core shares.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.worker.shared
    }
}
