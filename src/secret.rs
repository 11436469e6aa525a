//! Secrets that cannot be shown by accident.
//!
//! Job: one type for each secret, zeroized on drop, whose `Debug` prints the type's name.
//! Invariants: no `Display`, no `Serialize`, no `PartialEq`; the text is reached through `expose` alone, so that
//! `grep expose` is the list of places an auditor reads.
//! Failure mode: none; these types only hold.

use std::fmt;

use bytes::Bytes;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(SecretString);

        impl $name {
            /// Takes the secret over; the given string's buffer is the one that will be zeroized.
            #[must_use]
            pub fn new(text: String) -> Self {
                Self(SecretString::from(text))
            }

            /// The only way to the secret itself.
            #[must_use]
            pub fn expose(&self) -> &str {
                self.0.expose_secret()
            }

            /// Whether two secrets are the same, in time that does not depend on where they differ.
            #[must_use]
            pub fn same_as(&self, other: &Self) -> bool {
                self.expose().as_bytes().ct_eq(other.expose().as_bytes()).into()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

/// A bearer value for the origin: an LWA access token or a restricted data token.
///
/// Held as one zeroized `Bearer T` buffer, so that a request copies no secret: header values share the buffer, and are made,
/// and looked through for what no field may carry, once for a token and not for every request.
#[derive(Clone)]
pub struct AccessToken {
    bearer: HeaderValue,
    plain: HeaderValue,
}

const BEARER: &[u8] = b"Bearer ";

/// A value that no header field may carry. Says nothing of the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the token holds a byte that a header field cannot carry")]
pub struct NotAHeader;

impl AccessToken {
    /// Takes the token over.
    ///
    /// # Errors
    /// When it is empty or holds anything but visible ASCII (RFC 6750 section 2.1).
    pub fn new(text: &Zeroizing<String>) -> Result<Self, NotAHeader> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NotAHeader);
        }
        let mut buffer = Zeroizing::new(Vec::with_capacity(BEARER.len() + text.len()));
        buffer.extend_from_slice(BEARER);
        buffer.extend_from_slice(text.as_bytes());
        let bearer = Bytes::from_owner(Buffer(buffer));
        Ok(Self {
            plain: sensitive(bearer.slice(BEARER.len()..))?,
            bearer: sensitive(bearer)?,
        })
    }

    /// The token itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.plain.to_str().unwrap_or_default()
    }

    /// `T`, as a header value marked sensitive.
    #[must_use]
    pub fn expose_plain(&self) -> HeaderValue {
        self.plain.clone()
    }

    /// `Bearer T`, as a header value marked sensitive (RFC 6750 section 2.1).
    #[must_use]
    pub fn expose_bearer(&self) -> HeaderValue {
        self.bearer.clone()
    }
}

/// The one buffer of a token, zeroized when nobody shares it any more.
struct Buffer(Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn sensitive(bytes: Bytes) -> Result<HeaderValue, NotAHeader> {
    let mut value = HeaderValue::from_maybe_shared(bytes).map_err(|_invalid| NotAHeader)?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(…)")
    }
}

secret! {
    /// The long-lived right to get access tokens (RFC 6749 section 1.5).
    RefreshToken
}
secret! {
    /// What authenticates an app at LWA (RFC 6749 section 2.3.1).
    ClientSecret
}
secret! {
    /// An app's public identifier at LWA. Not a credential by itself, but treated as one: it has no business in a log.
    ClientId
}
secret! {
    /// What a caller proves its tenant with in `Proxy-Authorization`.
    ProxyKey
}
secret! {
    /// Any other value that must not be shown: a store record's field before it is given its type, an admin token, a key.
    Opaque
}

/// The last four hexadecimal digits of a value's SHA-256: enough to compare two sightings, useless to an attacker.
#[must_use]
pub fn fingerprint(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest
        .as_ref()
        .iter()
        .rev()
        .take(2)
        .rev()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The kind of token that a value looks like, by the prefixes that LWA and the Tokens API use
/// (FACTS: `Atza|` access, `Atc|` grantless, `Atz.sprdt|` restricted, `Atzr|` refresh).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Looks {
    /// An LWA access token.
    Access,
    /// A client-credentials access token.
    Grantless,
    /// A restricted data token.
    Restricted,
    /// A refresh token.
    Refresh,
    /// One of our phantom tokens.
    Phantom,
    /// Nothing that is known.
    Other,
}

impl Looks {
    /// Judges a value by its prefix.
    #[must_use]
    pub fn of(text: &str) -> Self {
        if text.starts_with("Atza|") {
            Self::Access
        } else if text.starts_with("Atc|") {
            Self::Grantless
        } else if text.starts_with("Atz.sprdt|") {
            Self::Restricted
        } else if text.starts_with("Atzr|") {
            Self::Refresh
        } else if text.starts_with("spx-") {
            Self::Phantom
        } else {
            Self::Other
        }
    }

    /// Whether this is a credential that Amazon issued, which no program behind the sidecar should hold.
    #[must_use]
    pub const fn is_real(self) -> bool {
        matches!(
            self,
            Self::Access | Self::Grantless | Self::Restricted | Self::Refresh
        )
    }

    /// The kind as it stands in tables and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Grantless => "grantless",
            Self::Restricted => "rdt",
            Self::Refresh => "refresh",
            Self::Phantom => "phantom",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
pub(crate) mod graveyard {
    use std::cell::RefCell;

    use super::Buffer;

    thread_local! {
        static DESTROYED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    impl Drop for Buffer {
        fn drop(&mut self) {
            let text = String::from_utf8_lossy(&self.0).into_owned();
            // a thread that ends may have lost its list already
            let _late = DESTROYED.try_with(|all| all.borrow_mut().push(text));
        }
    }

    /// Whether the buffer of a token was given up on this thread.
    pub(crate) fn holds(token: &str) -> bool {
        let bearer = format!("Bearer {token}");
        DESTROYED.with(|all| all.borrow().contains(&bearer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_the_type_and_never_the_secret() {
        let token = AccessToken::new(&Zeroizing::new("Atza|canary".to_owned())).unwrap();
        assert_eq!(format!("{token:?}"), "AccessToken(…)");
        assert_eq!(
            format!("{:?} {:?}", token.expose_plain(), token.expose_bearer()),
            "Sensitive Sensitive"
        );
        assert_eq!(token.expose_bearer().as_bytes(), b"Bearer Atza|canary");
        assert_eq!(token.expose_plain().as_bytes(), b"Atza|canary");
        assert_eq!(
            format!("{:?}", Opaque::new("canary".to_owned())),
            "Opaque(…)"
        );
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_refused() {
        for bad in ["", "a b", "a\r\nx: y", "ä"] {
            assert!(
                AccessToken::new(&Zeroizing::new(bad.to_owned())).is_err(),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_fingerprint_is_four_digits_and_stable() {
        assert_eq!(fingerprint("a"), fingerprint("a"));
        assert_eq!(fingerprint("a").len(), 4);
        assert_ne!(fingerprint("a"), fingerprint("b"));
    }
}
