//! The sealed form of a file store's records.
//!
//! Job: records ↔ header and ciphertext.
//! Format: header = magic (15 bytes), format version (1), salt (32), nonce (12); then AES-256-GCM over the records as
//! JSON, the whole header being its associated data. The AES key is HKDF-SHA256 of the file's key with the salt, so that
//! every write has a key and a nonce of its own.
//! Invariants: a path, its version and its values are one sealed document: none can be moved, swapped or left out.
//! Failure mode: `None`, which does not say whether the key or the bytes are wrong, because nobody can know.
//! Sources: RFC 5869 (HKDF), NIST SP 800-38D (GCM; random nonces).

use std::collections::BTreeMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::secret::Opaque;
use crate::store::Record;
use crate::store::memory::Records;

const MAGIC: &[u8; 15] = b"spapi-sidecar\r\n";
const FORMAT: u8 = 1;
const SALT_BYTES: usize = 32;
const PREFIX_BYTES: usize = MAGIC.len() + 1;
/// Bytes in front of the ciphertext.
pub(super) const HEADER_BYTES: usize = PREFIX_BYTES + SALT_BYTES + NONCE_LEN;
/// Bytes in front of the ciphertext; no two writes have the same.
pub(super) type Header = [u8; HEADER_BYTES];

/// Seals every record under a new salt and nonce. `None` when the operating system has no randomness to give.
pub(super) fn seal(key: &[u8; 32], records: &Records) -> Option<(Header, Zeroizing<Vec<u8>>)> {
    let mut header = [0; HEADER_BYTES];
    let (prefix, random) = header.split_at_mut(PREFIX_BYTES);
    prefix.copy_from_slice(&prefix_bytes());
    rand::fill(random).ok()?;
    let (sealing, nonce) = keys(key, &header)?;
    let mut document = encode(records)?;
    sealing
        .seal_in_place_append_tag(nonce, Aad::from(&header), &mut *document)
        .ok()?;
    Some((header, document))
}

/// Opens what [`seal`] made. `None` for a wrong key, a changed byte or another format.
pub(super) fn open(key: &[u8; 32], header: &Header, sealed: &mut [u8]) -> Option<Records> {
    if !header.starts_with(&prefix_bytes()) {
        return None;
    }
    let (opening, nonce) = keys(key, header)?;
    let document = opening
        .open_in_place(nonce, Aad::from(header), sealed)
        .ok()?;
    decode(document)
}

fn prefix_bytes() -> [u8; PREFIX_BYTES] {
    let mut prefix = [FORMAT; PREFIX_BYTES];
    for (to, from) in prefix.iter_mut().zip(MAGIC) {
        *to = *from;
    }
    prefix
}

fn keys(key: &[u8; 32], header: &Header) -> Option<(LessSafeKey, Nonce)> {
    let (salt, nonce) = header.get(PREFIX_BYTES..)?.split_at_checked(SALT_BYTES)?;
    let extracted = Salt::new(HKDF_SHA256, salt).extract(key);
    let expanded = extracted
        .expand(&[b"spapi-sidecar file store aes-256-gcm"], &AES_256_GCM)
        .ok()?;
    let key = LessSafeKey::new(UnboundKey::from(expanded));
    Some((key, Nonce::try_assume_unique_for_key(nonce).ok()?))
}

#[derive(Serialize)]
struct LineOut<'a> {
    version: u64,
    fields: BTreeMap<&'a str, &'a str>,
}

#[derive(Deserialize)]
struct LineIn {
    version: u64,
    fields: BTreeMap<String, String>,
}

fn encode(records: &Records) -> Option<Zeroizing<Vec<u8>>> {
    let lines: BTreeMap<&str, LineOut<'_>> = records
        .0
        .iter()
        .map(|(path, record)| (path.as_str(), line(record)))
        .collect();
    // large enough from the start (an escape takes up to six bytes), so that no copy is left behind by growing
    let bound: usize = lines
        .iter()
        .map(|(path, line)| {
            let fields: usize = line.fields.iter().map(|(k, v)| k.len() + v.len() + 8).sum();
            path.len() + fields + 64
        })
        .sum();
    let mut document = Zeroizing::new(Vec::with_capacity(bound * 6 + 64));
    serde_json::to_writer(&mut *document, &lines).ok()?;
    Some(document)
}

fn line(record: &Record) -> LineOut<'_> {
    LineOut {
        version: record.version,
        fields: record
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose()))
            .collect(),
    }
}

fn decode(document: &[u8]) -> Option<Records> {
    let lines: BTreeMap<String, LineIn> = serde_json::from_slice(document).ok()?;
    let records = lines.into_iter().map(|(path, line)| {
        let fields = line
            .fields
            .into_iter()
            .map(|(name, value)| (name, Opaque::new(value)))
            .collect();
        let version = line.version;
        (path, Record { fields, version })
    });
    Some(Records(records.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Records {
        let fields = [("refresh_token".to_owned(), Opaque::new("Atzr|1".to_owned()))];
        let record = Record {
            fields: fields.into(),
            version: 7,
        };
        Records([("tenants/acme/grant".to_owned(), record)].into())
    }

    #[test]
    fn what_was_sealed_opens_with_the_same_key() {
        let (header, mut sealed) = seal(&[1; 32], &records()).unwrap();
        let opened = open(&[1; 32], &header, &mut sealed).unwrap();
        let record = &opened.0["tenants/acme/grant"];
        assert_eq!(record.version, 7);
        assert_eq!(record.fields["refresh_token"].expose(), "Atzr|1");
    }

    #[test]
    fn another_key_or_any_changed_byte_opens_nothing() {
        let (header, sealed) = seal(&[1; 32], &records()).unwrap();
        assert!(open(&[2; 32], &header, &mut sealed.clone()).is_none());
        for place in 0..header.len() {
            let mut changed = header;
            changed[place] ^= 1;
            assert!(
                open(&[1; 32], &changed, &mut sealed.clone()).is_none(),
                "{place}"
            );
        }
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(open(&[1; 32], &header, &mut changed).is_none(), "{place}");
        }
    }

    #[test]
    fn no_two_writes_look_alike() {
        let (one, first) = seal(&[1; 32], &records()).unwrap();
        let (two, second) = seal(&[1; 32], &records()).unwrap();
        assert_ne!(one, two);
        assert_ne!(*first, *second);
    }
}
