//! Whose credentials: tenant and app ids, and the keys under which grants and tokens are held.
//!
//! Job: names that are safe in a store path, a metric label and a log line by construction.
//! Invariants: an id matches `[a-z0-9][a-z0-9_-]{0,63}`; Vault drops `..` from paths, so nothing looser will do.
//! Failure mode: [`IdError`], which says what an id looks like.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// An id is not spelt `[a-z0-9][a-z0-9_-]{0,63}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an id is 1 to 64 characters of a-z, 0-9, _ and -, and starts with a letter or a digit")]
pub struct IdError;

fn checked(text: &str) -> Result<Arc<str>, IdError> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let head = text.bytes().next().is_some_and(good);
    if head && text.len() <= 64 && text.bytes().all(|b| good(b) || b == b'_' || b == b'-') {
        Ok(text.into())
    } else {
        Err(IdError)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses an id.
            ///
            /// # Errors
            /// When the text is not spelt as an id.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                checked(text).map(Self)
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

id! {
    /// One selling partner's grant, as the operator calls it.
    TenantId
}
id! {
    /// An LWA client registration, as the operator calls it.
    AppId
}

/// What a token is good for; the key of the token cache.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct GrantKey {
    /// Whose.
    pub tenant: TenantId,
    /// By which grant type (RFC 6749 sections 4.4 and 6).
    pub kind: GrantKind,
}

/// The grant type by which an access token is obtained.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum GrantKind {
    /// `refresh_token`: the selling partner's own authorization.
    Refresh,
    /// `client_credentials` with this scope: a grantless operation.
    Grantless(Arc<str>),
}

impl GrantKind {
    /// The kind as it stands in logs, metrics and store paths: `access` or `grantless`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Refresh => "access",
            Self::Grantless(_) => "grantless",
        }
    }
}

/// Whether a tenant is served.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TenantState {
    /// It is served.
    #[default]
    Active,
    /// Set aside until its cause is mended.
    Quarantined,
    /// Switched off by a person.
    Killed,
}

impl TenantState {
    /// The word in the store, the log, metrics and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Quarantined => "quarantined",
            Self::Killed => "killed",
        }
    }

    /// The state of a word, if it is one.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Active, Self::Quarantined, Self::Killed]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_safe_in_a_path_by_construction() {
        for good in ["acme", "a", "0-a_b"] {
            assert!(TenantId::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "_a",
            "A",
            "a/b",
            "..",
            "a.b",
            "a b",
            &"a".repeat(65),
        ] {
            assert!(TenantId::parse(bad).is_err(), "{bad}");
        }
    }
}
