//! A store in HashiCorp Vault, or in a server that speaks its API (OpenBao).
//!
//! Job: the contract of [`GrantStore`] over KV version 2, with values sealed by transit where that is set.
//! Invariants: a version is KV's own; check-and-set is Vault's; a record that was deleted reads as absent, and can be
//! written again. A write that timed out is neither done nor lost: read afresh and look.
//! Failure mode: [`StoreError`], read in `error`; reads give up after 2 s, writes after 5 s.
//! Sources: Vault's KV version 2 API; CONTRACT section 4, store layout.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use vaultrs::api::kv2::requests::{
    ListSecretsRequest, ReadSecretRequest, SetSecretRequest, SetSecretRequestOptions,
};

mod error;
mod login;
mod rights;
mod session;
mod transit;
mod wire;

use self::error::{Fault, senseless};
use self::session::Sessions;
use self::wire::Bound;
use super::memory::{folder_name, readable_id};
use super::rights::Right;
use super::{BoxFuture, Expect, Fields, Folder, GrantStore, Record, RecordKey, StoreError};
use crate::config;
use crate::secret::Opaque;

/// How often a write without a condition is tried where the mount requires a version: others write as well.
const BLIND_TRIES: u32 = 8;

/// A KV version 2 folder in Vault.
pub struct VaultStore {
    config: config::VaultStore,
    sessions: Arc<Sessions>,
}

impl VaultStore {
    /// Reads the certificates that the configuration names. Nothing goes over the network: the first call logs in.
    ///
    /// # Errors
    /// [`StoreError::Local`] when a certificate or key file is not usable.
    pub fn new(config: &config::VaultStore) -> Result<Self, StoreError> {
        Ok(Self {
            config: config.clone(),
            sessions: Arc::new(Sessions::new(config)?),
        })
    }

    fn path(&self, below: &str) -> String {
        let prefix = self.config.prefix.trim_matches('/');
        if prefix.is_empty() {
            below.to_owned()
        } else {
            format!("{prefix}/{below}")
        }
    }

    /// The record as KV holds it: its fields, or the version that a deleted one had.
    async fn look(&self, key: &RecordKey) -> Result<Found, StoreError> {
        let endpoint = ReadSecretRequest {
            mount: self.config.kv_mount.clone(),
            path: self.path(&key.path()),
            version: None,
        };
        let body = match self.sessions.call(&endpoint, Bound::Read).await {
            Ok(body) => body,
            Err(Fault::Refused(refusal)) if refusal.is_absent() => {
                return Ok(Found::Absent(refusal.deleted_version.unwrap_or(0)));
            }
            Err(fault) => return Err(fault.into()),
        };
        let place = key.path();
        let Secret { data, metadata } = wire::parse::<Secret>(&place, &body)?
            .data
            .ok_or_else(|| senseless(&place, "no data inside"))?;
        let version = metadata.version;
        Ok(match data {
            None => Found::Absent(version),
            Some(values) => Found::Present(Record {
                fields: values
                    .into_iter()
                    .filter_map(|(name, value)| Some((name, text(value)?)))
                    .collect(),
                version,
            }),
        })
    }

    async fn read_opened(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        let record = match self.look(key).await? {
            Found::Absent(_) => return Ok(None),
            Found::Present(record) => record,
        };
        let transit = self.config.transit.as_ref();
        let fields = transit::open(&self.sessions, transit, key, record.fields).await?;
        Ok(Some(Record {
            fields,
            version: record.version,
        }))
    }

    async fn write_sealed(
        &self,
        key: &RecordKey,
        fields: Fields,
        expect: Expect,
    ) -> Result<u64, StoreError> {
        let fields = match &self.config.transit {
            Some(transit) => transit::seal(&self.sessions, transit, key, fields).await?,
            None => fields,
        };
        match expect {
            Expect::Any => self.write_blindly(key, &fields).await,
            Expect::Absent => self.write_absent(key, &fields).await,
            // 0 would mean "absent" to Vault
            Expect::Version(0) => Err(StoreError::Conflict(key.path())),
            Expect::Version(version) => Ok(self.put(key, &fields, Some(version)).await?),
        }
    }

    async fn write_absent(&self, key: &RecordKey, fields: &Fields) -> Result<u64, StoreError> {
        match self
            .put(key, fields, Some(0))
            .await
            .map_err(StoreError::from)
        {
            Err(lost @ StoreError::Conflict(_)) => match self.look(key).await? {
                // deleted softly: check-and-set has to name the version that was deleted
                Found::Absent(version) if version > 0 => {
                    Ok(self.put(key, fields, Some(version)).await?)
                }
                Found::Absent(_) | Found::Present(_) => Err(lost),
            },
            outcome => outcome,
        }
    }

    async fn write_blindly(&self, key: &RecordKey, fields: &Fields) -> Result<u64, StoreError> {
        match self.put(key, fields, None).await {
            Err(Fault::Refused(refusal)) if refusal.wants_version() => {}
            outcome => return Ok(outcome?),
        }
        for _try in 0..BLIND_TRIES {
            let version = match self.look(key).await? {
                Found::Absent(version) => version,
                Found::Present(record) => record.version,
            };
            match self
                .put(key, fields, Some(version))
                .await
                .map_err(StoreError::from)
            {
                Err(StoreError::Conflict(_)) => {}
                outcome => return outcome,
            }
        }
        Err(StoreError::Conflict(key.path()))
    }

    async fn put(
        &self,
        key: &RecordKey,
        fields: &Fields,
        version: Option<u64>,
    ) -> Result<u64, Fault> {
        let options = match version.map(u32::try_from) {
            None => None,
            Some(Ok(cas)) => Some(SetSecretRequestOptions { cas }),
            Some(Err(_too_large)) => {
                return Err(Fault::Lost(StoreError::Conflict(key.path())));
            }
        };
        let endpoint = SetSecretRequest {
            mount: self.config.kv_mount.clone(),
            path: self.path(&key.path()),
            data: Value::Object(
                fields
                    .iter()
                    .map(|(name, value)| (name.clone(), json(key, value)))
                    .collect(),
            ),
            options,
        };
        let body = self.sessions.call(&endpoint, Bound::Write).await?;
        let place = key.path();
        wire::parse::<Metadata>(&place, &body)?
            .data
            .map(|metadata| metadata.version)
            .ok_or_else(|| senseless(&place, "no version inside; is the mount KV version 2?"))
    }

    async fn names(&self, folder: Folder) -> Result<Vec<String>, StoreError> {
        let endpoint = ListSecretsRequest {
            mount: self.config.kv_mount.clone(),
            path: self.path(folder_name(folder)),
        };
        let body = match self.sessions.call(&endpoint, Bound::Read).await {
            Ok(body) => body,
            Err(Fault::Refused(refusal)) if refusal.is_absent() => return Ok(Vec::new()),
            Err(fault) => return Err(fault.into()),
        };
        let keys = wire::parse::<Keys>(folder_name(folder), &body)?
            .data
            .ok_or_else(|| senseless(folder_name(folder), "no keys inside"))?
            .keys;
        let mut ids: Vec<String> = keys
            .iter()
            .filter_map(|name| readable_id(folder, name.strip_suffix('/').unwrap_or(name)))
            .collect();
        ids.sort();
        ids.dedup();
        Ok(ids)
    }
}

impl GrantStore for VaultStore {
    fn read<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        Box::pin(self.read_opened(key))
    }

    fn write<'a>(
        &'a self,
        key: &'a RecordKey,
        fields: Fields,
        expect: Expect,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(self.write_sealed(key, fields, expect))
    }

    fn list(&self, folder: Folder) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        Box::pin(self.names(folder))
    }

    fn rights<'a>(
        &'a self,
        tenant: &'a config::Tenant,
    ) -> BoxFuture<'a, Result<Option<Vec<Right>>, StoreError>> {
        Box::pin(async move { Ok(Some(self.rights_of(tenant).await?)) })
    }

    fn describe(&self) -> String {
        format!(
            "vault {}",
            self.config.address.origin().ascii_serialization()
        )
    }

    fn keep_alive(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.sessions.keep_alive())
    }
}

impl std::fmt::Debug for VaultStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VaultStore({})", self.describe())
    }
}

enum Found {
    /// Never written (0), or deleted at this version.
    Absent(u64),
    Present(Record),
}

#[derive(Deserialize)]
struct Secret {
    data: Option<BTreeMap<String, Value>>,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    version: u64,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<String>,
}

/// A value that was written by hand may be any JSON; null is no value.
fn text(value: Value) -> Option<Opaque> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(Opaque::new(text)),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Some(Opaque::new(value.to_string()))
        }
    }
}

/// The fleet's records hold objects and lists, which operators read and write with Vault's own tools: they stay JSON.
fn json(key: &RecordKey, value: &Opaque) -> Value {
    let parsed = match key {
        RecordKey::Fleet | RecordKey::Members => serde_json::from_str(value.expose()).ok(),
        RecordKey::App(_)
        | RecordKey::Grant(_)
        | RecordKey::Profile(_)
        | RecordKey::Preflight(_)
        | RecordKey::ProxyKey(_)
        | RecordKey::Token(..)
        | RecordKey::Phantom => None,
    };
    match parsed {
        Some(structure @ (Value::Object(_) | Value::Array(_))) => structure,
        Some(Value::Number(number)) if number.is_u64() => Value::Number(number),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => {
            Value::String(value.expose().to_owned())
        }
    }
}
