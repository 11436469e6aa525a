//! A new configuration under open connections.
//!
//! Job: read the file that the sidecar was started with, check it whole, swap what may be swapped, or say what takes a
//! restart. Asked for by SIGHUP, by the admin listener, and by the file itself ([`super::watch`]).
//! Invariants: a request reads one [`World`], once; listeners, stores, trust and the CA stay as they were started; a host that
//! the running CA may not sign for is never half-configured; one reload at a time.
//! Failure mode: [`ReloadError`]; then nothing has changed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aws_lc_rs::digest;

use super::{alerting, background};
use crate::config::Config;
use crate::config::error::Faults;
use crate::proxy::{Shared, World};
use crate::telemetry::event::Event;

/// Looks up a variable of the environment.
pub type Lookup = fn(&str) -> Option<String>;

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
    /// The file holds mistakes: what `check` says of it.
    #[error("{0}")]
    Invalid(Faults),
    /// The file cannot be read.
    #[error("{} cannot be read: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// The sidecar was started without a file.
    #[error("this sidecar was started without a configuration file, and has none to read again")]
    NoFile,
}

/// A reload that was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reloaded {
    /// The generation in force now.
    pub generation: u64,
    /// Its routes.
    pub routes: usize,
    /// Its tenants, as far as they are known.
    pub tenants: usize,
}

/// What a file holds, as far as it matters to know it again.
type Content = [u8; 32];

/// Reloads, one at a time.
#[derive(Debug)]
pub(super) struct Reload {
    shared: Arc<Shared>,
    file: OnceLock<File>,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    env: Lookup,
}

/// What was found in the file so far.
#[derive(Debug, Default)]
struct Seen {
    in_force: Option<Content>,
    refused: Option<Content>,
}

impl Reload {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            file: OnceLock::new(),
            seen: Mutex::default(),
        }
    }

    /// Says which file the configuration in force was read from, and what it held. The first call counts.
    pub(super) fn follow(&self, path: &Path, text: &str, env: Lookup) {
        let path = path.to_owned();
        let _first_counts = self.file.set(File { path, env });
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.in_force = Some(content(text));
    }

    /// Puts a configuration in force that was read elsewhere.
    pub(super) fn take(&self, config: Config) -> Result<Reloaded, ReloadError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.say(swap(&self.shared, config));
        if taken.is_ok() {
            seen.in_force = None;
        }
        taken
    }

    /// Reads the file again, because somebody asks for it.
    pub(super) fn again(&self, asked_by: &str) -> Result<Reloaded, ReloadError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self
            .read(&mut seen, false)
            .unwrap_or(Err(ReloadError::NoFile));
        let taken = self.say(taken);
        if let Err(error) = &taken {
            tracing::error!(%error, asked_by, "the new configuration was not taken; the old one stays in force");
        }
        taken
    }

    /// Looks whether the file has changed, and reads it if so. What is refused is said once, not at every look.
    pub(super) fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(taken) = self.read(&mut seen, true) else {
            return;
        };
        if let Err(error) = self.say(taken) {
            tracing::error!(%error, "the configuration file has changed and was not taken; the old one stays in force");
        }
    }

    /// `None` where `only_news` was asked for and there is none.
    fn read(&self, seen: &mut Seen, only_news: bool) -> Option<Result<Reloaded, ReloadError>> {
        let Some(File { path, env }) = self.file.get() else {
            return (!only_news).then_some(Err(ReloadError::NoFile));
        };
        let text = std::fs::read_to_string(path);
        let content = match &text {
            Ok(text) => content(text),
            Err(error) => content(&error.to_string()),
        };
        let is_known = [seen.in_force, seen.refused].contains(&Some(content));
        if only_news && is_known {
            return None;
        }
        let parsed = match text {
            Ok(text) => {
                Config::parse(&path.display().to_string(), &text, env).map_err(ReloadError::Invalid)
            }
            Err(error) => Err(ReloadError::Unreadable {
                path: path.clone(),
                why: error.to_string(),
            }),
        };
        let taken = parsed.and_then(|config| swap(&self.shared, config));
        if taken.is_ok() {
            *seen = Seen {
                in_force: Some(content),
                refused: None,
            };
        } else {
            seen.refused = Some(content);
        }
        Some(taken)
    }

    fn say(&self, taken: Result<Reloaded, ReloadError>) -> Result<Reloaded, ReloadError> {
        let world = self.shared.world.load();
        self.shared.recorder.events.note(&Event::Reload {
            taken: taken.is_ok(),
            routes: world.config.routes.len(),
            tenants: world.tenants.len(),
        });
        taken
    }
}

fn content(text: &str) -> Content {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let mut content = [0; 32];
    for (to, from) in content.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    content
}

fn swap(shared: &Arc<Shared>, config: Config) -> Result<Reloaded, ReloadError> {
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
    let world = Arc::new(World::new(config, generation, &shared.profiles));
    shared.world.store(Arc::clone(&world));
    background::keep_newcomers_warm(shared, &before, &world);
    alerting::configure(shared, &world);
    forget_leavers(shared, &before, &world);
    // who waits for it looks again at once, and has to find all of it
    shared.generation.send_replace(generation);
    let reloaded = Reloaded {
        generation,
        routes: world.config.routes.len(),
        tenants: world.tenants.len(),
    };
    tracing::info!(
        generation,
        tenants = reloaded.tenants,
        routes = reloaded.routes,
        "the configuration was reloaded"
    );
    Ok(reloaded)
}

/// Drops the tokens of tenants that a reload took away.
fn forget_leavers(shared: &Shared, before: &World, after: &World) {
    let gone = before.tenants.standing().into_iter();
    for tenant in gone.filter(|tenant| after.tenants.get(&tenant.id).is_none()) {
        shared.tokens.forget_tenant(&tenant.id);
    }
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
            "listen.admin_token_file",
            before.listen.admin_token_file == after.listen.admin_token_file,
        ),
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
            "alerts.webhook",
            before.alerts.webhook == after.alerts.webhook,
        ),
        same(
            "audit.path",
            before.audit.path == after.audit.path
                && before.audit.path_is_named == after.audit.path_is_named,
        ),
        same(
            "telemetry.release",
            before.telemetry.release == after.telemetry.release,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}
