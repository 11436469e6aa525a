//! Getting a Vault token.
//!
//! Job: the four ways to log in.
//! Invariants: credentials are read from their files at every login and leave this file only towards Vault; a wrapped
//! secret id is unwrapped once, and only when its wrapping token comes from where secret ids are made; what was
//! unwrapped is kept in memory, because a login may be needed again and the wrapping token is spent.
//! Failure mode: [`StoreError::Local`] for a file, [`StoreError::Denied`] for a refusal, which an operator has to mend.
//! Sources: Vault's documentation of the auth methods and of response wrapping ("how to use it safely").

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustify_derive::Endpoint;
use serde::Deserialize;
use vaultrs::api::auth::approle::requests::LoginWithApproleRequest;
use vaultrs::api::auth::kubernetes::requests::LoginWithKubernetesRequest;
use vaultrs::api::sys::requests::{UnwrapRequest, WrappingLookupRequest};

use super::error::{Fault, senseless};
use super::wire::{self, Auth, Bound, Wire};
use crate::config::VaultAuth;
use crate::secret::Opaque;
use crate::store::StoreError;

/// A token, and for how long it was granted.
pub(super) struct Granted {
    pub(super) token: Opaque,
    /// What is left of it; `None` for a token that never expires.
    pub(super) lease: Option<Duration>,
    /// What a renewal asks for.
    pub(super) period: Duration,
    pub(super) renewable: bool,
    /// What the token file looked like, where there is one.
    pub(super) stamp: Option<Stamp>,
}

/// Tells one state of a file from the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    modified: std::time::SystemTime,
    length: u64,
    inode: u64,
}

/// How to log in, and what has to be remembered between two logins.
pub(super) struct Login {
    auth: VaultAuth,
    unwrapped: Option<Unwrapped>,
}

struct Unwrapped {
    wrapping_token: Opaque,
    secret_id: Opaque,
}

impl Login {
    pub(super) const fn new(auth: VaultAuth) -> Self {
        Self {
            auth,
            unwrapped: None,
        }
    }

    /// Logs in.
    pub(super) async fn run(&mut self, wire: &Wire) -> Result<Granted, StoreError> {
        match self.auth.clone() {
            VaultAuth::AppRole {
                role_id_file,
                secret_id_file,
                wrapped,
                mount,
            } => {
                let role_id = credential(&role_id_file).await?;
                let secret_id = if wrapped {
                    self.unwrap_secret_id(wire, &mount, &secret_id_file).await?
                } else {
                    credential(&secret_id_file).await?
                };
                let endpoint = LoginWithApproleRequest {
                    mount: mount.clone(),
                    role_id: role_id.expose().to_owned(),
                    secret_id: secret_id.expose().to_owned(),
                };
                let remedy = approle_remedy(&secret_id_file, wrapped);
                authenticate(wire, &mount, &remedy, &endpoint).await
            }
            VaultAuth::Kubernetes {
                role,
                jwt_file,
                mount,
            } => {
                let endpoint = LoginWithKubernetesRequest {
                    mount: mount.clone(),
                    jwt: credential(&jwt_file).await?.expose().to_owned(),
                    role,
                };
                let remedy = "check the role's bound service account and namespace";
                authenticate(wire, &mount, remedy, &endpoint).await
            }
            VaultAuth::Cert { role, mount, .. } => {
                wire.reload_certificate()?;
                let endpoint = LoginWithCert {
                    mount: mount.clone(),
                    name: role,
                };
                let remedy = "check the role's certificate and the client certificate's dates";
                authenticate(wire, &mount, remedy, &endpoint).await
            }
            VaultAuth::TokenFile(file) => token_file(wire, &file).await,
        }
    }

    /// The secret id behind the wrapping token in a file.
    async fn unwrap_secret_id(
        &mut self,
        wire: &Wire,
        mount: &str,
        file: &Path,
    ) -> Result<Opaque, StoreError> {
        let wrapping_token = credential(file).await?;
        if let Some(known) = &self.unwrapped
            && known.wrapping_token.same_as(&wrapping_token)
        {
            return Ok(known.secret_id.clone());
        }
        check_origin(wire, mount, file, &wrapping_token).await?;
        let body = wire
            .send(
                Some(&wrapping_token),
                &UnwrapRequest { token: None },
                Bound::Write,
            )
            .await
            .map_err(|fault| spent(file, fault))?;
        #[derive(Deserialize)]
        struct Wrapped {
            secret_id: String,
        }
        let place = "sys/wrapping/unwrap";
        let secret_id = wire::parse::<Wrapped>(place, &body)?
            .data
            .map(|wrapped| Opaque::new(wrapped.secret_id))
            .ok_or_else(|| senseless(place, "no secret id inside"))?;
        self.unwrapped = Some(Unwrapped {
            wrapping_token,
            secret_id: secret_id.clone(),
        });
        Ok(secret_id)
    }
}

/// vaultrs' own request names the role in a field that Vault does not read, so that any role would do.
#[derive(Endpoint)]
#[endpoint(path = "auth/{self.mount}/login", method = "POST")]
struct LoginWithCert {
    #[endpoint(skip)]
    mount: String,
    name: String,
}

/// A wrapping token made elsewhere may hold anything: somebody may have put it in the place of ours.
async fn check_origin(
    wire: &Wire,
    mount: &str,
    file: &Path,
    wrapping_token: &Opaque,
) -> Result<(), StoreError> {
    let endpoint = WrappingLookupRequest {
        token: wrapping_token.expose().to_owned(),
    };
    let body = wire
        .send(None, &endpoint, Bound::Read)
        .await
        .map_err(|fault| spent(file, fault))?;
    #[derive(Deserialize)]
    struct Origin {
        creation_path: String,
    }
    let place = "sys/wrapping/lookup";
    let origin = wire::parse::<Origin>(place, &body)?
        .data
        .ok_or_else(|| senseless(place, "no creation path inside"))?;
    let role = origin
        .creation_path
        .strip_prefix(&format!("auth/{mount}/role/"))
        .and_then(|rest| rest.strip_suffix("/secret-id"));
    if role.is_some_and(|role| !role.is_empty() && !role.contains('/')) {
        return Ok(());
    }
    Err(StoreError::Denied(format!(
        "ALARM: the wrapping token in {} was not made by auth/{mount}/role/…/secret-id; somebody may have put it there. \
         It was not used; find out who wrote the file",
        file.display()
    )))
}

/// A wrapping token that Vault does not know (any more).
fn spent(file: &Path, fault: Fault) -> StoreError {
    match fault {
        Fault::Refused(refusal) if matches!(refusal.status, 400 | 403) => {
            StoreError::Denied(format!(
                "ALARM: the wrapping token in {} was used already, or is too old. If it was not this sidecar before a \
                 restart, somebody else has the secret id: destroy it in Vault, find out who, and issue a new one ({})",
                file.display(),
                refusal.text()
            ))
        }
        Fault::Refused(_) | Fault::Lost(_) => fault.into(),
    }
}

fn approle_remedy(secret_id_file: &Path, wrapped: bool) -> String {
    let file = secret_id_file.display();
    if wrapped {
        format!(
            "the secret id that was unwrapped is spent or too old; put a new wrapping token into {file}"
        )
    } else {
        format!("the role id is wrong, or the secret id in {file} is wrong, spent or too old")
    }
}

async fn authenticate<E: rustify::Endpoint>(
    wire: &Wire,
    mount: &str,
    remedy: &str,
    endpoint: &E,
) -> Result<Granted, StoreError> {
    let place = format!("auth/{mount}/login");
    let body = match wire.send(None, endpoint, Bound::Write).await {
        Ok(body) => body,
        Err(Fault::Refused(refusal)) if matches!(refusal.status, 400 | 401 | 403) => {
            return Err(StoreError::Denied(format!(
                "login refused: {}; {remedy}",
                refusal.text()
            )));
        }
        Err(fault) => return Err(fault.into()),
    };
    let Auth {
        client_token,
        lease_duration,
        renewable,
    } = wire::parse::<serde::de::IgnoredAny>(&place, &body)?
        .auth
        .ok_or_else(|| senseless(&place, "no token inside"))?;
    let period = Duration::from_secs(lease_duration);
    Ok(Granted {
        token: sendable(client_token, &place)?,
        lease: (lease_duration > 0).then_some(period),
        period,
        renewable,
        stamp: None,
    })
}

/// What a token says about itself. Everything else that Vault tells is of no use here.
#[derive(Endpoint)]
#[endpoint(path = "auth/token/lookup-self")]
pub(super) struct LookupSelf {}

#[derive(Deserialize)]
struct TokenSelf {
    /// Seconds left.
    #[serde(default)]
    ttl: u64,
    #[serde(default)]
    creation_ttl: u64,
    #[serde(default)]
    period: u64,
    #[serde(default)]
    renewable: Option<bool>,
    /// None for a token that never expires.
    expire_time: Option<String>,
}

async fn token_file(wire: &Wire, file: &Path) -> Result<Granted, StoreError> {
    // the stamp first: when the file changes in between, the next use sees another stamp and reads again
    let stamp = stamp(file).await;
    let token = credential(file).await?;
    let place = "auth/token/lookup-self";
    let told = match wire.send(Some(&token), &LookupSelf {}, Bound::Read).await {
        Ok(body) => wire::parse::<TokenSelf>(place, &body)?.data,
        // its policy may forbid it to look itself up; whether it is good, the next call will say
        Err(Fault::Refused(refusal)) if refusal.status == 403 => None,
        Err(fault) => return Err(fault.into()),
    };
    let (lease, period, renewable) = told.map_or((None, 0, false), |told| {
        let expires = told.expire_time.is_some();
        (
            expires.then(|| Duration::from_secs(told.ttl)),
            told.period.max(told.creation_ttl),
            told.renewable.unwrap_or(false),
        )
    });
    Ok(Granted {
        token,
        lease,
        period: Duration::from_secs(period),
        renewable,
        stamp,
    })
}

/// The state of a file now; `None` when it cannot be seen.
pub(super) async fn stamp(file: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let metadata = tokio::fs::metadata(file).await.ok()?;
    Some(Stamp {
        modified: metadata.modified().ok()?,
        length: metadata.len(),
        inode: metadata.ino(),
    })
}

/// Reads a file that holds one credential; white space around it does not count.
async fn credential(file: &Path) -> Result<Opaque, StoreError> {
    let file: PathBuf = file.to_owned();
    let text = tokio::fs::read_to_string(&file)
        .await
        .map(zeroize::Zeroizing::new)
        .map_err(|error| StoreError::Local(format!("{}: {error}", file.display())))?;
    sendable(text.trim().to_owned(), &file.display().to_string())
}

/// A credential is visible ASCII: anything else is the wrong file, and would not fit a header.
fn sendable(text: String, place: &str) -> Result<Opaque, StoreError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(StoreError::Local(format!(
            "{place} does not hold a credential: one line of visible characters"
        )));
    }
    Ok(Opaque::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_one_line_of_visible_characters_and_is_not_quoted_where_it_is_none() {
        let read = |text: &str| sendable(text.to_owned(), "/run/secret_id");
        assert_eq!(read("s.canary").unwrap().expose(), "s.canary");
        for text in [
            "",
            "canary two",
            "canary\ncanary",
            "can\u{e4}ry",
            "canary\0",
        ] {
            let refused = read(text).unwrap_err();
            assert!(matches!(refused, StoreError::Local(_)), "{refused}");
            let said = refused.to_string();
            assert!(said.contains("/run/secret_id does not hold"), "{said}");
            assert!(!said.contains("canary"), "{said}");
        }
    }
}
