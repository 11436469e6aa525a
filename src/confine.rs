//! What the process gives up once it knows its configuration.
//!
//! Job: from then on it can read what it was configured with and what name resolution and TLS need, write where it was told to, run
//! no program, and gain no privilege: what takes it over finds no more than that.
//! Invariants: done before any thread is started, since a thread hands its confinement to those that it starts; what cannot be
//! given up on this kernel is said once and does not stop the sidecar.
//! Failure mode: a [`Report`] with what holds and what does not.
//! Sources: landlock(7); capabilities(7); prctl(2), `PR_SET_NO_NEW_PRIVS`. A seccomp filter is left to whoever starts the process
//! (deploy/systemd has one): a list of system calls of our own would break with every new libc.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus,
};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::config::{CaMode, Config, Store, Trust, VaultAuth};

mod memory;

pub use memory::{Memory, lock_memory};

/// What the C library and TLS read on any Linux: name resolution, roots, time zones, the libraries that a look-up loads.
const SYSTEM: [&str; 11] = [
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/zoneinfo",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/lib",
    "/lib64",
    "/usr/lib",
];

/// Single files of the same kind, and the two devices.
const FILES: [&str; 9] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/urandom",
    "/dev/null",
];

/// What was given up, for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Whether the file rules hold: wholly, in part (an old kernel), or not.
    pub files: &'static str,
    /// Whether the capabilities are gone.
    pub capabilities: Result<(), String>,
    /// Paths that could not be opened for a rule, and are out of reach now.
    pub missing: Vec<PathBuf>,
    /// Whether the process is root, for whom single files are named instead of `/etc`.
    pub root: bool,
}

/// Paths that a configuration names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Paths {
    read: BTreeSet<PathBuf>,
    write: BTreeSet<PathBuf>,
}

/// Gives up what is not needed. `file` is where the configuration was read; `roots` are `SSL_CERT_FILE` and `SSL_CERT_DIR`, where
/// they are set; `memory` is what [`lock_memory`] came to. Call it while the process has one thread.
#[must_use]
pub fn confine(file: &Path, config: &Config, roots: &[String], memory: Memory) -> Report {
    let root = rustix::process::geteuid().is_root();
    let mut paths = Paths::of(file, config);
    paths.read.extend(roots.iter().map(PathBuf::from));
    if !root {
        // resolv.conf may be replaced while we run; /etc/shadow is kept from us by its mode
        paths.read.insert(PathBuf::from("/etc"));
    }
    for folder in &paths.write {
        // it could not be made later; what fails here fails where it is used, with its own words
        let _tried = std::fs::create_dir_all(folder);
    }
    let mut missing = Vec::new();
    let files = restrict(&paths, &mut missing).unwrap_or("none: this kernel has no Landlock");
    let privileged = config
        .listen
        .proxy
        .iter()
        .chain(&config.listen.transparent)
        .chain([&config.listen.admin])
        .any(|address| (1..1024).contains(&address.port()));
    let mut kept = CapabilitySet::empty();
    kept.set(CapabilitySet::NET_BIND_SERVICE, privileged);
    kept.set(
        CapabilitySet::IPC_LOCK,
        memory == Memory::LockedByCapability,
    );
    Report {
        files,
        capabilities: drop_capabilities(kept).map_err(|error| error.to_string()),
        missing,
        root,
    }
}

impl Paths {
    /// Folders, not files: what is replaced by renaming (a token, a Kubernetes volume, a sealed store) is another file afterwards.
    fn of(file: &Path, config: &Config) -> Self {
        let mut paths = Self::default();
        paths.reads(file);
        for written in [
            &config.interception.cert_path,
            &config.interception.bundle_path,
            &config.listen.admin_token_file,
        ] {
            paths.writes(written);
        }
        for place in config.audit.places() {
            paths.writes(&place);
        }
        if let CaMode::File(key) = &config.interception.mode {
            paths.writes(key);
        }
        if let Trust::File(anchors) = &config.upstream.trust {
            paths.reads(anchors);
        }
        if let Some(pair) = &config.upstream.client_cert {
            paths.reads(&pair.cert);
            paths.reads(&pair.key);
        }
        if let Some(webhook) = &config.alerts.webhook {
            paths.reads(&webhook.secret_file);
        }
        match &config.store {
            Store::File(store) => {
                paths.writes(&store.path);
                paths.reads(&store.key_file);
            }
            Store::Vault(vault) => {
                if let Some(anchors) = &vault.ca_file {
                    paths.reads(anchors);
                }
                match &vault.auth {
                    VaultAuth::AppRole {
                        role_id_file,
                        secret_id_file,
                        ..
                    } => {
                        paths.reads(role_id_file);
                        paths.reads(secret_id_file);
                    }
                    VaultAuth::Kubernetes { jwt_file, .. } => paths.reads(jwt_file),
                    VaultAuth::TokenFile(token) => paths.reads(token),
                    VaultAuth::Cert { pair, .. } => {
                        paths.reads(&pair.cert);
                        paths.reads(&pair.key);
                    }
                }
            }
        }
        paths
    }

    fn reads(&mut self, file: &Path) {
        self.read.extend(folders(file));
    }

    fn writes(&mut self, file: &Path) {
        self.write.extend(folders(file));
    }
}

/// The folder that a file is in, and the one that it leads to where it is a link.
fn folders(file: &Path) -> impl Iterator<Item = PathBuf> {
    let absolute = std::path::absolute(file).unwrap_or_else(|_no_folder| file.to_owned());
    let behind = std::fs::canonicalize(&absolute).ok();
    let folder = |path: &Path| path.parent().map(Path::to_owned);
    [folder(&absolute), behind.as_deref().and_then(folder)]
        .into_iter()
        .flatten()
}

fn restrict(
    paths: &Paths,
    missing: &mut Vec<PathBuf>,
) -> Result<&'static str, landlock::RulesetError> {
    let abi = ABI::V5;
    let (read, everything) = (
        AccessFs::ReadFile | AccessFs::ReadDir,
        AccessFs::from_all(abi),
    );
    let file = AccessFs::ReadFile | AccessFs::WriteFile;
    // running a program is among what is handled and nowhere allowed
    let write = everything & !AccessFs::Execute;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(everything)?
        .create()?;
    let configured = paths.read.iter().map(|path| (path, read));
    let written = paths.write.iter().map(|path| (path, write));
    for (path, access) in configured.chain(written) {
        match PathFd::new(path) {
            Ok(opened) => rules = rules.add_rule(PathBeneath::new(opened, access))?,
            Err(_unopened) => missing.push(path.clone()),
        }
    }
    for (path, access) in SYSTEM
        .iter()
        .map(|path| (path, read))
        .chain(FILES.iter().map(|path| (path, file)))
    {
        // a machine has some of them
        if let Ok(opened) = PathFd::new(path) {
            let access = if Path::new(path).is_dir() {
                access
            } else {
                access & AccessFs::from_file(abi)
            };
            rules = rules.add_rule(PathBeneath::new(opened, access))?;
        }
    }
    if let Ok(own) = PathFd::new("/proc/self") {
        rules = rules.add_rule(PathBeneath::new(own, read))?;
    }
    Ok(match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => "whole",
        RulesetStatus::PartiallyEnforced => "in part: this kernel's Landlock is older",
        RulesetStatus::NotEnforced => "none: this kernel has no Landlock",
    })
}

/// Keeps these, where they are held, and nothing else.
fn drop_capabilities(wanted: CapabilitySet) -> rustix::io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    let held = rustix::thread::capabilities(None)?;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: held.effective & wanted,
            permitted: held.permitted & wanted,
            inheritable: CapabilitySet::empty(),
        },
    )
}
