//! What Vault's policies let this login do.
//!
//! Job: ask `sys/capabilities-self` about the places that a sidecar uses, and about those that it has no business with.
//! Failure mode: the store's; where the login may not even ask, [`StoreError::Denied`].

use std::collections::BTreeMap;

use rustify_derive::Endpoint;
use serde_json::Value;

use super::VaultStore;
use super::error::senseless;
use super::wire::{self, Bound};
use crate::config::{Preflight, Tenant};
use crate::store::rights::Right;
use crate::store::{RecordKey, StoreError};
use crate::tenant::GrantKind;

const READ: &[&str] = &["read"];
const READ_UPDATE: &[&str] = &["read", "update"];
const KEEP: &[&str] = &["create", "read", "update"];
const UPDATE: &[&str] = &["update"];
const NONE: &[&str] = &[];

#[derive(Endpoint)]
#[endpoint(path = "sys/capabilities-self", method = "POST")]
struct CapabilitiesSelf {
    paths: Vec<String>,
}

impl VaultStore {
    pub(super) async fn rights_of(&self, tenant: &Tenant) -> Result<Vec<Right>, StoreError> {
        let mut rights = self.used(tenant);
        let endpoint = CapabilitiesSelf {
            paths: rights.iter().map(|right| right.path.clone()).collect(),
        };
        let body = self.sessions.call(&endpoint, Bound::Read).await?;
        let place = "sys/capabilities-self";
        let told = wire::parse::<BTreeMap<String, Value>>(place, &body)?
            .data
            .ok_or_else(|| senseless(place, "no data inside"))?;
        for right in &mut rights {
            let words = told.get(&right.path).and_then(Value::as_array);
            let words = words.into_iter().flatten().filter_map(Value::as_str);
            right.has = words.map(str::to_owned).collect();
        }
        Ok(rights)
    }

    /// The places, and what is needed there: what `deploy/vault/policy.hcl` says, for one tenant.
    fn used(&self, tenant: &Tenant) -> Vec<Right> {
        let id = || tenant.id.clone();
        let shared = if self.config.share_tokens { KEEP } else { NONE };
        let passed = match tenant.preflight {
            Preflight::Required => READ,
            Preflight::Optional => NONE,
        };
        let mut rights = vec![
            self.data(&RecordKey::App(tenant.app.clone()), READ, READ_UPDATE),
            self.data(&RecordKey::Grant(id()), READ, READ_UPDATE),
            self.data(&RecordKey::Profile(id()), NONE, READ),
            self.data(&RecordKey::Preflight(id()), passed, KEEP),
            self.data(&RecordKey::ProxyKey(id()), NONE, READ),
            self.data(&RecordKey::Token(id(), GrantKind::Refresh), shared, KEEP),
            self.data(&RecordKey::Phantom, READ, KEEP),
            self.data(&RecordKey::Fleet, READ, KEEP),
            self.data(&RecordKey::Members, NONE, KEEP),
        ];
        let (mount, grant) = (&self.config.kv_mount, RecordKey::Grant(id()).path());
        let metadata = format!("{mount}/metadata/{}", self.path(&grant));
        rights.push(right(metadata, NONE, NONE, &["read", "list"]));
        rights.push(right(
            "sys/policies/acl/spapi-sidecar".to_owned(),
            NONE,
            NONE,
            NONE,
        ));
        if let Some(transit) = &self.config.transit {
            let key = transit.key.replace("{tenant}", tenant.id.as_str());
            let at = |what: &str| format!("{}/{what}/{key}", transit.mount);
            rights.push(right(at("encrypt"), UPDATE, UPDATE, NONE));
            rights.push(right(at("decrypt"), UPDATE, UPDATE, NONE));
            rights.push(right(at("keys"), NONE, NONE, NONE));
            rights.push(right(at("export/encryption-key"), NONE, NONE, NONE));
        }
        rights
    }

    fn data(
        &self,
        key: &RecordKey,
        needs: &'static [&'static str],
        uses: &'static [&'static str],
    ) -> Right {
        let path = format!("{}/data/{}", self.config.kv_mount, self.path(&key.path()));
        // KV has no lists below data/
        right(path, needs, uses, &["list"])
    }
}

const fn right(
    path: String,
    needs: &'static [&'static str],
    uses: &'static [&'static str],
    harmless: &'static [&'static str],
) -> Right {
    Right {
        path,
        has: Vec::new(),
        needs,
        uses,
        harmless,
    }
}
