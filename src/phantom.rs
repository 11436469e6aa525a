//! Phantom tokens: the harmless stand-ins that a program's SDK may hold.
//!
//! Job: mint and read `spx-r-…` (refresh), `spx-a-…` (access) and `spx-d-…` (restricted data) values.
//! Invariants: a phantom is `spx-KIND-TENANT-NONCE-MAC`, in letters, digits and `-` only (one SDK does not percent-encode);
//! TENANT is the id in hexadecimal, MAC the first 128 bits of HMAC-SHA256 over all before it, compared in constant time.
//! It is stateless, carries no secret, never expires by itself and is worth nothing to Amazon.
//! Failure mode: a value that only looks like a phantom is [`Reading::Forged`], never somebody else's tenant.

use std::fmt;

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::tenant::TenantId;

/// Which token a phantom stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `spx-r-`: what an SDK is configured with instead of a refresh token.
    Refresh,
    /// `spx-a-`: what it gets for it.
    Access,
    /// `spx-d-`: what it gets when it asks for a restricted data token.
    Restricted,
}

impl Kind {
    const fn letter(self) -> char {
        match self {
            Self::Refresh => 'r',
            Self::Access => 'a',
            Self::Restricted => 'd',
        }
    }
}

/// What a value turned out to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reading {
    /// Not shaped like a phantom: some placeholder, or somebody's real token.
    Foreign,
    /// Made with this key, for this tenant.
    Genuine(Kind, TenantId),
    /// Made with this key for a caller whom nothing named: it stands for nobody.
    Nobody(Kind),
    /// Shaped like a phantom, but not made with this key.
    Forged,
}

/// The key that signs phantoms; one for all sidecars that share a store.
pub struct PhantomKey(hmac::Key);

/// Bytes of the key.
pub const KEY_BYTES: usize = 32;
const MAC_DIGITS: usize = 32;

impl PhantomKey {
    /// Takes over key material of [`KEY_BYTES`] bytes.
    #[must_use]
    pub fn new(material: &Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, material.as_slice()))
    }

    /// Mints a phantom for a tenant, or for nobody; `nonce` only makes two of them differ.
    #[must_use]
    pub fn mint(&self, kind: Kind, tenant: Option<&TenantId>, nonce: u64) -> String {
        let tenant = tenant.map_or_else(|| "0".to_owned(), |id| hex(id.as_str().as_bytes()));
        let body = format!("spx-{}-{tenant}-{nonce:016x}", kind.letter());
        let mac = self.mac(&body);
        format!("{body}-{mac}")
    }

    /// Reads a value that a program sent.
    #[must_use]
    pub fn read(&self, text: &str) -> Reading {
        let Some(Parts {
            kind,
            tenant,
            body,
            mac,
        }) = Parts::of(text)
        else {
            return Reading::Foreign;
        };
        if !bool::from(subtle::ConstantTimeEq::ct_eq(
            self.mac(body).as_bytes(),
            mac.as_bytes(),
        )) {
            return Reading::Forged;
        }
        if tenant == "0" {
            return Reading::Nobody(kind);
        }
        match unhex(tenant)
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|id| TenantId::parse(&id).ok())
        {
            Some(id) => Reading::Genuine(kind, id),
            None => Reading::Forged,
        }
    }

    fn mac(&self, body: &str) -> String {
        let tag = hmac::sign(&self.0, body.as_bytes());
        hex(tag.as_ref().get(..MAC_DIGITS / 2).unwrap_or_default())
    }
}

/// Whether a value is shaped like a phantom, which only the key can tell from a forgery.
#[must_use]
pub fn is_shaped_like_one(text: &str) -> bool {
    Parts::of(text).is_some()
}

/// The parts of a value that is shaped like a phantom.
struct Parts<'a> {
    kind: Kind,
    tenant: &'a str,
    /// All that the MAC covers.
    body: &'a str,
    mac: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let (body, mac) = text.rsplit_once('-')?;
        let mut parts = body.split('-');
        let (Some("spx"), Some(letter), Some(tenant), Some(nonce), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return None;
        };
        let kind = match letter {
            "r" => Kind::Refresh,
            "a" => Kind::Access,
            "d" => Kind::Restricted,
            _ => return None,
        };
        (nonce.len() == 16 && mac.len() == MAC_DIGITS).then_some(Self {
            kind,
            tenant,
            body,
            mac,
        })
    }
}

impl fmt::Debug for PhantomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhantomKey(…)")
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // writing to a String cannot fail
            let _infallible = write!(text, "{byte:02x}");
            text
        })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> PhantomKey {
        PhantomKey::new(&Zeroizing::new([byte; KEY_BYTES]))
    }

    #[test]
    fn a_phantom_names_its_tenant_to_the_key_that_made_it_and_to_no_other() {
        let id = TenantId::parse("acme_eu-1").unwrap();
        let text = key(1).mint(Kind::Access, Some(&id), 7);
        assert!(
            text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
            "{text}"
        );
        assert_eq!(key(1).read(&text), Reading::Genuine(Kind::Access, id));
        assert_eq!(key(2).read(&text), Reading::Forged);
        assert_eq!(
            key(1).read(&text.replacen("spx-a", "spx-r", 1)),
            Reading::Forged
        );
    }

    #[test]
    fn a_phantom_for_nobody_is_genuine_and_names_nobody() {
        let text = key(1).mint(Kind::Access, None, 7);
        assert_eq!(key(1).read(&text), Reading::Nobody(Kind::Access));
    }

    #[test]
    fn any_other_placeholder_is_foreign() {
        for text in [
            "",
            "spx-placeholder",
            "Atza|x",
            "spx-a-b-c",
            "spx-a-00-0000000000000000-zz",
        ] {
            assert_eq!(key(1).read(text), Reading::Foreign, "{text}");
        }
    }
}
