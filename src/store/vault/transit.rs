//! Sealing a tenant's values with Vault's transit engine.
//!
//! Job: fields ↔ ciphertext, one call for a record.
//! Invariants: with `transit` set, every value of a tenant's record is sealed before it is written; a value that begins
//! `vault:v` is ciphertext and is opened or refused, never used as it stands. Keys are not made here: the policy grants
//! `update` on encrypt alone, so that a typo in a name is a refusal and not a new key.
//! Failure mode: [`StoreError::Denied`] for another tenant's key, [`StoreError::Local`] where no key is named.
//! Source: Vault's transit API, `batch_input`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustify_derive::Endpoint;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::senseless;
use super::session::Sessions;
use super::wire::{self, Bound};
use crate::config::Transit;
use crate::secret::Opaque;
use crate::store::{Fields, RecordKey, StoreError};

const CIPHERTEXT_PREFIX: &str = "vault:v";

#[derive(Endpoint)]
#[endpoint(path = "{self.mount}/encrypt/{self.name}", method = "POST")]
struct EncryptBatch {
    #[endpoint(skip)]
    mount: String,
    #[endpoint(skip)]
    name: String,
    batch_input: Vec<Plaintext>,
}

#[derive(Endpoint)]
#[endpoint(path = "{self.mount}/decrypt/{self.name}", method = "POST")]
struct DecryptBatch {
    #[endpoint(skip)]
    mount: String,
    #[endpoint(skip)]
    name: String,
    batch_input: Vec<Ciphertext>,
}

#[derive(Serialize, Deserialize)]
struct Plaintext {
    plaintext: String,
}

#[derive(Serialize, Deserialize)]
struct Ciphertext {
    ciphertext: String,
}

#[derive(Deserialize)]
struct Batch<T> {
    batch_results: Vec<T>,
}

/// Seals the values of a tenant's record; a record of no tenant stays as it is.
pub(super) async fn seal(
    sessions: &Arc<Sessions>,
    transit: &Transit,
    key: &RecordKey,
    fields: Fields,
) -> Result<Fields, StoreError> {
    let Some(tenant) = key.tenant() else {
        return Ok(fields);
    };
    if fields.is_empty() {
        return Ok(fields);
    }
    let endpoint = EncryptBatch {
        mount: transit.mount.clone(),
        name: transit.key.replace("{tenant}", tenant.as_str()),
        batch_input: fields
            .values()
            .map(|value| Plaintext {
                plaintext: STANDARD.encode(value.expose()),
            })
            .collect(),
    };
    let place = format!("{}/encrypt/{}", transit.mount, endpoint.name);
    let body = sessions.call(&endpoint, Bound::Write).await?;
    let sealed: Vec<Ciphertext> = results(&place, &body)?;
    if sealed.len() != fields.len() {
        return Err(senseless(&place, "not one result for each value").into());
    }
    Ok(fields
        .into_keys()
        .zip(sealed)
        .map(|(name, sealed)| (name, Opaque::new(sealed.ciphertext)))
        .collect())
}

/// Opens the values that are ciphertext; plain ones, written by hand, stay as they are.
pub(super) async fn open(
    sessions: &Arc<Sessions>,
    transit: Option<&Transit>,
    key: &RecordKey,
    mut fields: Fields,
) -> Result<Fields, StoreError> {
    let sealed: Vec<(String, String)> = fields
        .iter()
        .filter(|(_, value)| value.expose().starts_with(CIPHERTEXT_PREFIX))
        .map(|(name, value)| (name.clone(), value.expose().to_owned()))
        .collect();
    if sealed.is_empty() {
        return Ok(fields);
    }
    let (mount, name) = opening_key(transit, key)?;
    let place = format!("{mount}/decrypt/{name}");
    let (names, batch_input): (Vec<String>, Vec<Ciphertext>) = sealed
        .into_iter()
        .map(|(name, ciphertext)| (name, Ciphertext { ciphertext }))
        .unzip();
    let endpoint = DecryptBatch {
        mount,
        name,
        batch_input,
    };
    let body = sessions.call(&endpoint, Bound::Read).await?;
    let opened: Vec<Plaintext> = results(&place, &body)?;
    if opened.len() != names.len() {
        return Err(senseless(&place, "not one result for each value").into());
    }
    for (field, opened) in names.into_iter().zip(opened) {
        let encoded = Zeroizing::new(opened.plaintext);
        let text = STANDARD
            .decode(encoded.as_bytes())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| senseless(&place, "what was sealed is not text"))?;
        fields.insert(field, Opaque::new(text));
    }
    Ok(fields)
}

fn opening_key(transit: Option<&Transit>, key: &RecordKey) -> Result<(String, String), StoreError> {
    let Some(transit) = transit else {
        return Err(StoreError::Local(format!(
            "{key} in the store is sealed with transit, but store.vault.transit is not set"
        )));
    };
    let name = match key.tenant() {
        Some(tenant) => transit.key.replace("{tenant}", tenant.as_str()),
        None if !transit.key.contains("{tenant}") => transit.key.clone(),
        None => {
            return Err(StoreError::Local(format!(
                "{key} in the store is sealed with transit, but it belongs to no tenant whose key could open it; write it plain"
            )));
        }
    };
    Ok((transit.mount.clone(), name))
}

fn results<T: for<'de> Deserialize<'de>>(place: &str, body: &[u8]) -> Result<Vec<T>, StoreError> {
    let batch = wire::parse::<Batch<T>>(place, body)?.data;
    Ok(batch
        .ok_or_else(|| senseless(place, "no results inside"))?
        .batch_results)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::{AppId, TenantId};

    #[test]
    fn what_is_sealed_is_opened_by_the_key_of_its_tenant_or_by_one_for_all() {
        let transit = |key: &str| Transit {
            mount: "transit".to_owned(),
            key: key.to_owned(),
        };
        let grant = RecordKey::Grant(TenantId::parse("acme").unwrap());
        let app = RecordKey::App(AppId::parse("erp").unwrap());
        let key = |key: &str, record: &RecordKey| {
            opening_key(Some(&transit(key)), record).map(|(mount, name)| format!("{mount}/{name}"))
        };
        let acme = || TenantId::parse("acme").unwrap();
        for record in [
            RecordKey::Grant(acme()),
            RecordKey::Profile(acme()),
            RecordKey::Preflight(acme()),
            RecordKey::ProxyKey(acme()),
        ] {
            let opened = key("spapi-{tenant}", &record);
            assert_eq!(opened.unwrap(), "transit/spapi-acme", "{record}");
        }
        assert_eq!(key("spapi", &grant).unwrap(), "transit/spapi");
        assert_eq!(key("spapi", &app).unwrap(), "transit/spapi");
        let refused = key("spapi-{tenant}", &app).unwrap_err().to_string();
        assert!(refused.contains("it belongs to no tenant"), "{refused}");
        let refused = opening_key(None, &grant).unwrap_err().to_string();
        assert!(refused.contains("transit is not set"), "{refused}");
    }
}
