//! A PKCS #12 file that holds trusted certificates, as Java reads it.
//!
//! Job: the one shape that is needed, written directly: certificate bags in the clear, no key, no encryption and no
//! MAC, since public certificates need neither and Java asks for neither.
//! Invariants: each bag carries Oracle's trusted-key-usage attribute, without which Java sees a certificate and does
//! not trust it; friendly names, Java's aliases, are unique.
//! Failure mode: none; this only writes.
//! Sources: RFC 7292 sections 4 and 4.2 (PFX, `CertBag`); RFC 2985 section 5.5.1 (friendlyName); X.690 (DER);
//! JDK `sun.security.pkcs12.PKCS12KeyStore` for the attribute.

use rustls::pki_types::CertificateDer;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OCTET_STRING: u8 = 0x04;
const BMP_STRING: u8 = 0x1e;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// `[0] EXPLICIT`.
const CONTEXT_0: u8 = 0xa0;

/// `INTEGER 3`, the version of a PFX.
const VERSION_3: &[u8] = &[0x02, 0x01, 0x03];
/// 1.2.840.113549.1.7.1, `data`.
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
/// 1.2.840.113549.1.12.10.1.3, `certBag`.
const CERT_BAG: &[u8] = &[
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03,
];
/// 1.2.840.113549.1.9.22.1, `x509Certificate`.
const X509_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
/// 1.2.840.113549.1.9.20, `friendlyName`.
const FRIENDLY_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x14];
/// 2.16.840.1.113894.746875.1.1, Oracle's `trustedKeyUsage`.
const TRUSTED_KEY_USAGE: &[u8] = &[
    0x60, 0x86, 0x48, 0x01, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 0x01, 0x01,
];
/// 2.5.29.37.0, `anyExtendedKeyUsage`.
const ANY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];

/// A trust store of `ours`, under the alias `spapi-sidecar`, and all others, under `system-N`.
pub(super) fn trust_store(ours: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Vec<u8> {
    let mut bags = bag("spapi-sidecar", ours);
    for (n, other) in others.iter().enumerate() {
        bags.extend(bag(&format!("system-{n}"), other));
    }
    let safe = data(&element(SEQUENCE, &bags));
    let authenticated_safe = element(SEQUENCE, &safe);
    element(SEQUENCE, &[VERSION_3, &data(&authenticated_safe)].concat())
}

/// `ContentInfo` of type `data`.
fn data(content: &[u8]) -> Vec<u8> {
    let content = element(CONTEXT_0, &element(OCTET_STRING, content));
    element(
        SEQUENCE,
        &[element(OBJECT_IDENTIFIER, DATA), content].concat(),
    )
}

/// `SafeBag` with one certificate.
fn bag(alias: &str, certificate: &CertificateDer<'_>) -> Vec<u8> {
    let certificate = [
        element(OBJECT_IDENTIFIER, X509_CERTIFICATE),
        element(CONTEXT_0, &element(OCTET_STRING, certificate)),
    ]
    .concat();
    let alias: Vec<u8> = alias.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let mut attributes = [
        attribute(FRIENDLY_NAME, &element(BMP_STRING, &alias)),
        attribute(TRUSTED_KEY_USAGE, &element(OBJECT_IDENTIFIER, ANY_USAGE)),
    ];
    attributes.sort(); // DER orders the members of a SET OF by their bytes (X.690 section 11.6)
    let content = [
        element(OBJECT_IDENTIFIER, CERT_BAG),
        element(CONTEXT_0, &element(SEQUENCE, &certificate)),
        element(SET, &attributes.concat()),
    ]
    .concat();
    element(SEQUENCE, &content)
}

fn attribute(name: &[u8], value: &[u8]) -> Vec<u8> {
    let content = [element(OBJECT_IDENTIFIER, name), element(SET, value)].concat();
    element(SEQUENCE, &content)
}

/// One DER element: tag, definite length in its shortest form, content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    out.push(tag);
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        Ok(_) | Err(_) => {
            let length = content.len().to_be_bytes();
            let significant = length.iter().skip_while(|byte| **byte == 0);
            let count = significant.clone().count();
            out.push(0x80 | u8::try_from(count).expect("a length has at most eight bytes"));
            out.extend(significant);
        }
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_their_shortest_form() {
        for (length, head) in [
            (0, &[4, 0][..]),
            (127, &[4, 127]),
            (128, &[4, 0x81, 128]),
            (256, &[4, 0x82, 1, 0]),
            (65_536, &[4, 0x83, 1, 0, 0]),
        ] {
            let element = element(OCTET_STRING, &vec![0; length]);
            assert!(element.starts_with(head), "{length}");
            assert_eq!(element.len(), head.len() + length);
        }
    }
}
