//! A rehearsal: the sandbox in Amazon's place, made-up credentials in the store's.
//!
//! Invariants: everything else is the configuration's: routes, profiles, dates, inject fields. The sandbox grants each tenant the
//! roles that its profile lists, where they are Amazon's, so that a route whose scope is not enough for it is found.
//! Failure mode: a [`Complaint`] where this machine cannot set the stage.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::app::errand;
use crate::catalog::Catalog;
use crate::cli::Complaint;
use crate::cli::init::write_new;
use crate::config::{Account, Config, Resolver, Tenant, Trust};
use crate::name::Authority;
use crate::preflight::Tools;
use crate::sandbox::{AppRegistration, GrantRegistration, Options, Sandbox};
use crate::secret::{ClientId, ClientSecret, RefreshToken};
use crate::store::memory::MemoryStore;
use crate::store::record::{AppCredentials, Grant};
use crate::store::{BoxFuture, Expect, Fields, Folder, GrantStore, Record, RecordKey, StoreError};
use crate::task::Tasks;
use crate::telemetry;
use crate::tenant::AppId;

/// Where the sandbox is LWA.
const TOKEN_URL: &str = "https://api.amazon.com/auth/o2/token";

/// The sandbox, its CA in a file, and the store.
pub(super) struct Stage {
    sandbox: Sandbox,
    ca_file: PathBuf,
    store: Arc<dyn GrantStore>,
}

impl Stage {
    /// Starts the sandbox and makes credentials up.
    pub(super) async fn set(tenants: &[Arc<Tenant>]) -> Result<Self, Complaint> {
        let failed = |error: &dyn std::fmt::Display| {
            Complaint::while_doing("cannot set the stage of a rehearsal", error)
        };
        let store: Arc<dyn GrantStore> = Arc::new(MemoryStore::default());
        let mut options = Options::default();
        let mut apps: BTreeMap<&AppId, ClientId> = BTreeMap::new();
        for tenant in tenants {
            let client_id = match apps.get(&tenant.app) {
                Some(known) => known.clone(),
                None => {
                    let app = made_up_app();
                    options.apps.push(AppRegistration {
                        client_id: app.client_id.clone(),
                        client_secret: app.client_secret.clone(),
                        old_secret: None,
                    });
                    let client_id = app.client_id.clone();
                    let key = RecordKey::App(tenant.app.clone());
                    store
                        .write(&key, app.into_fields(), Expect::Any)
                        .await
                        .map_err(|error| failed(&error))?;
                    apps.insert(&tenant.app, client_id.clone());
                    client_id
                }
            };
            let refresh_token = RefreshToken::new(made_up("Atzr|"));
            options.grants.push(GrantRegistration {
                roles: roles(tenant),
                vendor: tenant.account == Account::Vendor,
                client_id: Some(client_id),
                ..GrantRegistration::new(refresh_token.clone(), tenant.id.as_str())
            });
            let grant = Grant {
                refresh_token,
                selling_partner_id: None,
                authorized_at: Some(telemetry::clock(telemetry::now())),
            };
            let key = RecordKey::Grant(tenant.id.clone());
            store
                .write(&key, grant.into_fields(), Expect::Any)
                .await
                .map_err(|error| failed(&error))?;
        }
        let sandbox = Sandbox::start(options)
            .await
            .map_err(|error| failed(&error))?;
        let name = format!(
            "spapi-sidecar-rehearsal-{}-{:016x}.pem",
            std::process::id(),
            rand::random::<u64>()
        );
        let ca_file = std::env::temp_dir().join(name);
        write_new(&ca_file, 0o600, sandbox.ca_pem().as_bytes())?;
        Ok(Self {
            sandbox,
            ca_file,
            store,
        })
    }

    /// What to ask with: the configuration, with every way out leading to the sandbox.
    pub(super) fn tools(&self, mut config: Config, tasks: &Tasks) -> Result<Tools, Complaint> {
        let unreadable = |error| Complaint::while_doing("the rehearsal's hosts", error);
        let mut connect_to = BTreeMap::new();
        for host in self.sandbox.connect_to().keys() {
            let from = Authority::parse(host).map_err(unreadable)?;
            connect_to.insert(from, self.sandbox.address());
        }
        config.lwa.token_url = url::Url::parse(TOKEN_URL)
            .map_err(|error| Complaint::while_doing("the rehearsal's LWA", error))?;
        let upstream = &mut config.upstream;
        upstream.connect_to = connect_to;
        upstream.trust = Trust::File(self.ca_file.clone());
        upstream.pins = BTreeMap::new();
        upstream.client_cert = None;
        upstream.proxy = None;
        upstream.resolver = Resolver::System;
        Ok(errand::tools(config, Arc::clone(&self.store), tasks))
    }

    /// Ends it.
    pub(super) async fn end(self) {
        self.sandbox.stop().await;
        // what cannot be removed is a certificate that signs nothing any more
        let _stays = std::fs::remove_file(&self.ca_file);
    }
}

/// The roles of a profile, where all of them are Amazon's; every role otherwise.
fn roles(tenant: &Tenant) -> Option<Vec<String>> {
    let operations = Catalog::embedded().operations().iter();
    let known: BTreeSet<String> = operations
        .flat_map(crate::catalog::Operation::scopes)
        .collect();
    let all = !tenant.scopes.is_empty() && tenant.scopes.iter().all(|scope| known.contains(scope));
    all.then(|| tenant.scopes.clone())
}

fn made_up_app() -> AppCredentials {
    AppCredentials {
        client_id: ClientId::new(made_up("amzn1.application-oa2-client.")),
        client_secret: ClientSecret::new(made_up("amzn1.oa2-cs.v1.")),
        client_secret_next: None,
        rotated_at: Some(telemetry::clock(telemetry::now())),
    }
}

fn made_up(kind: &str) -> String {
    format!("{kind}{:032x}", rand::random::<u128>())
}

/// A store that could not be opened: every call says why.
#[derive(Debug)]
pub(super) struct Closed(pub(super) StoreError);

impl GrantStore for Closed {
    fn read<'a>(
        &'a self,
        _key: &'a RecordKey,
    ) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        Box::pin(std::future::ready(Err(self.0.clone())))
    }

    fn write<'a>(
        &'a self,
        _key: &'a RecordKey,
        _fields: Fields,
        _expect: Expect,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(std::future::ready(Err(self.0.clone())))
    }

    fn list(&self, _folder: Folder) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        Box::pin(std::future::ready(Err(self.0.clone())))
    }

    fn describe(&self) -> String {
        "a store that cannot be opened".to_owned()
    }
}
