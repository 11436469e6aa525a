//! What records mean: typed views over [`Record`], and back.
//!
//! Job: give the fields of `apps/ID`, `tenants/ID/grant`, `tenants/ID/proxy_key` and `phantom` their types.
//! Invariants: a view holds no empty secret; line ends that a hand-written value brought along are gone; a field that no
//! view knows is not kept by `into_fields`.
//! Failure mode: [`StoreError::Local`], which names the record, the field and the command that mends it, never a value.
//! Source: CONTRACT section 4, store layout.

use aws_lc_rs::digest;
use aws_lc_rs::rand;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{Expect, Fields, GrantStore, Record, RecordKey, StoreError};
use crate::phantom::{KEY_BYTES, PhantomKey};
use crate::secret::{ClientId, ClientSecret, Opaque, ProxyKey, RefreshToken};
use crate::tenant::{AppId, TenantId};

/// `apps/ID`: what authenticates an app at LWA.
#[derive(Clone, Debug)]
pub struct AppCredentials {
    /// The app's identifier at LWA.
    pub client_id: ClientId,
    /// Its secret.
    pub client_secret: ClientSecret,
    /// The secret that a rotation has already issued: tried on `invalid_client`, then promoted.
    pub client_secret_next: Option<ClientSecret>,
    /// The day on which `client_secret` was put here (RFC 3339).
    pub rotated_at: Option<String>,
}

impl AppCredentials {
    /// Gives the record of `apps/ID` its types.
    ///
    /// # Errors
    /// When `client_id` or `client_secret` is missing or empty.
    pub fn from_record(app: &AppId, record: &Record) -> Result<Self, StoreError> {
        let missing = |field: &str| {
            StoreError::Local(format!(
                "apps/{app} in the store has no {field}; run `spapi-sidecar app put {app}`"
            ))
        };
        let required = |field: &str| text(record, field).ok_or_else(|| missing(field));
        Ok(Self {
            client_id: ClientId::new(required("client_id")?),
            client_secret: ClientSecret::new(required("client_secret")?),
            client_secret_next: text(record, "client_secret_next").map(ClientSecret::new),
            rotated_at: text(record, "rotated_at"),
        })
    }

    /// Reads and types `apps/ID`, with its version; `None` where there is no such record.
    ///
    /// # Errors
    /// The store's, and those of [`Self::from_record`].
    pub async fn load(
        store: &dyn GrantStore,
        app: &AppId,
    ) -> Result<Option<(Self, u64)>, StoreError> {
        let record = store.read(&RecordKey::App(app.clone())).await?;
        record
            .map(|record| Ok((Self::from_record(app, &record)?, record.version)))
            .transpose()
    }

    /// The fields to write.
    #[must_use]
    pub fn into_fields(self) -> Fields {
        let mut fields = Fields::new();
        put(&mut fields, "client_id", Some(self.client_id.expose()));
        put(
            &mut fields,
            "client_secret",
            Some(self.client_secret.expose()),
        );
        let next = self.client_secret_next.as_ref().map(ClientSecret::expose);
        put(&mut fields, "client_secret_next", next);
        put(&mut fields, "rotated_at", self.rotated_at.as_deref());
        fields
    }
}

/// The application's id at Amazon, where `apps/ID` has the field `application_id`: no secret, part of a consent link.
#[must_use]
pub fn application_id(record: &Record) -> Option<String> {
    text(record, "application_id")
}

/// `tenants/ID/grant`: a selling partner's authorization.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The long-lived right to get access tokens.
    pub refresh_token: RefreshToken,
    /// The selling partner's id at Amazon.
    pub selling_partner_id: Option<String>,
    /// The day of the authorization (RFC 3339).
    pub authorized_at: Option<String>,
}

impl Grant {
    /// Gives the record of `tenants/ID/grant` its types.
    ///
    /// # Errors
    /// When `refresh_token` is missing or empty.
    pub fn from_record(tenant: &TenantId, record: &Record) -> Result<Self, StoreError> {
        let refresh_token = text(record, "refresh_token").ok_or_else(|| {
            StoreError::Local(format!(
                "tenants/{tenant}/grant in the store has no refresh_token; run `spapi-sidecar tenant put-token {tenant}`"
            ))
        })?;
        Ok(Self {
            refresh_token: RefreshToken::new(refresh_token),
            selling_partner_id: text(record, "selling_partner_id"),
            authorized_at: text(record, "authorized_at"),
        })
    }

    /// Reads and types `tenants/ID/grant`, with its version; `None` where there is no such record.
    ///
    /// # Errors
    /// The store's, and those of [`Self::from_record`].
    pub async fn load(
        store: &dyn GrantStore,
        tenant: &TenantId,
    ) -> Result<Option<(Self, u64)>, StoreError> {
        let record = store.read(&RecordKey::Grant(tenant.clone())).await?;
        record
            .map(|record| Ok((Self::from_record(tenant, &record)?, record.version)))
            .transpose()
    }

    /// The fields to write.
    #[must_use]
    pub fn into_fields(self) -> Fields {
        let mut fields = Fields::new();
        put(
            &mut fields,
            "refresh_token",
            Some(self.refresh_token.expose()),
        );
        put(
            &mut fields,
            "selling_partner_id",
            self.selling_partner_id.as_deref(),
        );
        put(&mut fields, "authorized_at", self.authorized_at.as_deref());
        fields
    }
}

/// `tenants/ID/proxy_key`: the SHA-256 of the key that proves a tenant in `Proxy-Authorization`.
///
/// A plain hash will do because the key is 190 random bits, not a word that a person chose.
#[derive(Clone, Debug)]
pub struct ProxyKeyHash([u8; 32]);

impl ProxyKeyHash {
    /// Hashes a key.
    #[must_use]
    pub fn of(key: &ProxyKey) -> Self {
        let digest = digest::digest(&digest::SHA256, key.expose().as_bytes());
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(hash)
    }

    /// Whether a key is the one that was hashed, in time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, key: &ProxyKey) -> bool {
        self.0.ct_eq(&Self::of(key).0).into()
    }

    /// Gives the record of `tenants/ID/proxy_key` its type.
    ///
    /// # Errors
    /// When `hash` is missing or is not `sha256:` and 64 hexadecimal digits.
    pub fn from_record(tenant: &TenantId, record: &Record) -> Result<Self, StoreError> {
        text(record, "hash")
            .and_then(|hash| unhex(hash.strip_prefix("sha256:")?))
            .map(|hash| Self(*hash))
            .ok_or_else(|| {
                StoreError::Local(format!(
                    "tenants/{tenant}/proxy_key in the store has no hash of the form sha256:HEX; run `spapi-sidecar tenant proxy-key {tenant}`"
                ))
            })
    }

    /// The fields to write.
    #[must_use]
    pub fn into_fields(self) -> Fields {
        let hash = format!("sha256:{}", hex(&self.0).as_str());
        Fields::from([("hash".to_owned(), Opaque::new(hash))])
    }
}

/// `phantom`: the key that signs phantom tokens, one for all sidecars that share the store.
#[derive(Clone)]
pub struct PhantomKeyMaterial(Zeroizing<[u8; KEY_BYTES]>);

impl PhantomKeyMaterial {
    /// Draws a key.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn generate() -> Result<Self, StoreError> {
        let mut material = Zeroizing::new([0; KEY_BYTES]);
        rand::fill(material.as_mut_slice()).map_err(|_unspecified| {
            StoreError::Local("the operating system gave no random bytes".to_owned())
        })?;
        Ok(Self(material))
    }

    /// Gives the record of `phantom` its type.
    ///
    /// # Errors
    /// When `key` is missing or is not 64 hexadecimal digits.
    pub fn from_record(record: &Record) -> Result<Self, StoreError> {
        text(record, "key")
            .and_then(|key| unhex(&key))
            .map(Self)
            .ok_or_else(|| {
                StoreError::Local(
                    "phantom in the store has no key of 64 hexadecimal digits; delete that record and it is made anew \
                     (phantom refresh tokens that were handed out become void)"
                        .to_owned(),
                )
            })
    }

    /// The fields to write.
    #[must_use]
    pub fn into_fields(self) -> Fields {
        let key = hex(self.0.as_slice()).as_str().to_owned();
        Fields::from([("key".to_owned(), Opaque::new(key))])
    }

    /// The key itself.
    #[must_use]
    pub fn key(&self) -> PhantomKey {
        PhantomKey::new(&self.0)
    }
}

impl std::fmt::Debug for PhantomKeyMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PhantomKeyMaterial(…)")
    }
}

/// The store's phantom key; made now where there is none yet. Of several sidecars that make one, the first wins.
///
/// # Errors
/// The store's, and those of [`PhantomKeyMaterial::from_record`].
pub async fn phantom_key(store: &dyn GrantStore) -> Result<PhantomKey, StoreError> {
    if let Some(record) = store.read(&RecordKey::Phantom).await? {
        return Ok(PhantomKeyMaterial::from_record(&record)?.key());
    }
    let made = PhantomKeyMaterial::generate()?;
    let written = store
        .write(
            &RecordKey::Phantom,
            made.clone().into_fields(),
            Expect::Absent,
        )
        .await;
    match written {
        Ok(_version) => Ok(made.key()),
        Err(lost @ StoreError::Conflict(_)) => match store.read(&RecordKey::Phantom).await? {
            Some(record) => Ok(PhantomKeyMaterial::from_record(&record)?.key()),
            None => Err(lost),
        },
        Err(other) => Err(other),
    }
}

/// A field's text without the line end that `vault kv put key=@file` brings along; `None` when nothing is left.
fn text(record: &Record, field: &str) -> Option<String> {
    let text = record
        .fields
        .get(field)?
        .expose()
        .trim_end_matches(['\r', '\n']);
    (!text.is_empty()).then(|| text.to_owned())
}

fn put(fields: &mut Fields, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        fields.insert(name.to_owned(), Opaque::new(value.to_owned()));
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2));
    for byte in bytes {
        for nibble in [byte >> 4, byte & 0x0f] {
            text.extend(char::from_digit(u32::from(nibble), 16));
        }
    }
    text
}

/// 32 bytes from exactly 64 hexadecimal digits.
pub(super) fn unhex(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let nibble = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|n| u8::try_from(n).ok())
    };
    if text.len() != 64 {
        return None;
    }
    let mut bytes = Zeroizing::new([0; 32]);
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *byte = (nibble(high)? << 4) | nibble(low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
