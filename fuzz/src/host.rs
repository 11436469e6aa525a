//! One canonical host: what is accepted has one spelling, and no spelling of an address is taken for a name.

use std::net::Ipv4Addr;

use spapi_sidecar::name::{Authority, Host, HostPattern};

/// The first line is a host or an authority, the second a pattern.
///
/// # Panics
/// When a host has two spellings, or an address passes for a name.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (host, pattern) = text.split_once('\n').unwrap_or((text, ""));
    let parsed = Host::parse(host);
    if let Ok(found) = &parsed {
        is_canonical(host, found);
    }
    if let Some(address) = as_inet_aton_reads(host.trim_end_matches('.')) {
        match &parsed {
            Ok(Host::Ip(ip)) => assert_eq!((*ip, host), (address.into(), &*address.to_string())),
            Ok(Host::Name(name)) => panic!("{name} is {address} to a resolver"),
            Err(_) => {}
        }
    }
    if let Ok(found) = Authority::parse(host) {
        assert_eq!(Authority::parse(&found.to_string()), Ok(found.clone()));
        assert_eq!(Authority::parse_with_default(host, 1), Ok(found));
    }
    if let (Ok(pattern), Ok(host)) = (HostPattern::parse(pattern), &parsed) {
        assert_eq!(
            HostPattern::parse(&pattern.to_string()),
            Ok(pattern.clone())
        );
        assert_eq!(
            pattern.matches(host),
            as_text_matches(&pattern.to_string(), &host.to_string())
        );
    }
}

fn is_canonical(spelt: &str, found: &Host) {
    let canonical = found.to_string();
    assert_eq!(Host::parse(&canonical).as_ref(), Ok(found), "{spelt:?}");
    match found {
        Host::Name(name) => {
            let lower = spelt.to_ascii_lowercase();
            let bare = lower.strip_suffix('.').unwrap_or(&lower);
            assert_eq!(
                bare,
                name.as_str(),
                "more than case and a final dot was taken"
            );
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
            assert!(
                canonical.bytes().all(plain) && canonical.len() <= 253,
                "{canonical:?}"
            );
            // a browser's parser has to see the same name, and no address
            let browser = url::Host::parse(&canonical);
            assert_eq!(
                browser,
                Ok(url::Host::Domain(canonical.clone())),
                "{canonical:?}"
            );
        }
        Host::Ip(ip) => {
            let inner = spelt.trim_start_matches('[').trim_end_matches(']');
            assert_eq!(inner.parse(), Ok(*ip), "{spelt:?}");
            assert_eq!(ip.to_canonical(), *ip, "an IPv4 address in IPv6: {spelt:?}");
        }
    }
}

/// `inet_aton` as the C library has it: one to four parts in decimal, octal or hexadecimal, the last one filling the rest.
fn as_inet_aton_reads(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u64> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|part| *part > 255) {
        return None;
    }
    let left = 4 - first.len();
    if *last >= 1 << (8 * left) {
        return None;
    }
    let mut value = *last;
    for (place, part) in first.iter().enumerate() {
        value |= part << (8 * (3 - place));
    }
    u32::try_from(value).ok().map(Ipv4Addr::from)
}

fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', rest @ ..] if !rest.is_empty() => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        [_, ..] => (text, 10),
        [] => return None,
    };
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// What a pattern has to agree with: plain text.
fn as_text_matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => {
            !host.starts_with('[')
                && host.parse::<Ipv4Addr>().is_err()
                && host.len() > suffix.len()
                && host.ends_with(suffix)
        }
        None => pattern == host,
    }
}
