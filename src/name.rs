//! Host names, addresses and authorities, parsed once at the door.
//!
//! Job: turn what a client, a file or a certificate calls a host into one canonical form, so that policy,
//! minting, dialling and cache keys compare with `==`.
//! Invariants: a [`HostName`] is lower case, made of A-labels, has no trailing dot and is not an IP address in
//! any spelling; what does not round-trip through the WHATWG host parser is refused, never repaired.
//! Failure mode: a closed [`NameError`]; nothing is guessed.
//! Sources: RFC 1123 section 2.1, RFC 5890 (A-labels), RFC 9110 section 4.2 and 9112 section 3.2.3 (authority-form).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// A DNS name in canonical form.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Arc<str>);

/// What an authority may name: a DNS name or an IP literal.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Host {
    /// A DNS name.
    Name(HostName),
    /// An IP literal, without brackets. IPv4-mapped IPv6 literals are refused by the parser.
    Ip(IpAddr),
}

/// A host and a port (RFC 9112 section 3.2.3).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Authority {
    /// Whom.
    pub host: Host,
    /// Which port.
    pub port: u16,
}

/// What an egress rule names.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum HostPattern {
    /// Exactly this host.
    Exact(Host),
    /// `*.suffix`: every name with at least one label before the suffix, never the suffix itself.
    Under(HostName),
}

/// Why a spelling of a host was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("the host is empty")]
    Empty,
    /// A byte that no host name holds: space, control, percent, NUL, `@`, `/`, …
    #[error("the host holds a character that no host name may hold")]
    Character,
    /// Not ASCII: an internationalised name has to be written as A-labels.
    #[error("write an internationalised name as A-labels (xn--…)")]
    NotAscii,
    /// A label is empty, longer than 63 bytes, or starts or ends with a hyphen; or the name is longer than 253.
    #[error("the host has an empty, overlong or badly hyphenated label")]
    Label,
    /// A spelling of an IPv4 address other than four decimal numbers, or a mapped or scoped IPv6 address.
    #[error("write the address as four decimal numbers, or as plain IPv6 in brackets")]
    AddressSpelling,
    /// An A-label that does not decode to what encodes to it.
    #[error("the host holds an xn-- label that does not round-trip")]
    Punycode,
    /// A port that is missing, zero, signed or over 65535.
    #[error("the port has to be a number from 1 to 65535")]
    Port,
    /// `*` anywhere but as the whole first label.
    #[error("a wildcard has to be the whole first label, as in *.example.com")]
    Wildcard,
}

impl HostName {
    /// Parses a DNS name; letter case and one trailing dot are the only liberties taken.
    ///
    /// # Errors
    /// Every other difference from the canonical form.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match Host::parse(text)? {
            Host::Name(name) => Ok(name),
            Host::Ip(_) => Err(NameError::AddressSpelling),
        }
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this name has at least one label in front of `suffix`.
    #[must_use]
    pub fn is_under(&self, suffix: &Self) -> bool {
        self.0
            .strip_suffix(suffix.as_str())
            .is_some_and(|head| head.len() > 1 && head.ends_with('.'))
    }
}

impl Host {
    /// Parses a host without port; an IPv6 literal may stand in brackets.
    ///
    /// # Errors
    /// When the text is not the canonical spelling of one host (letter case and one trailing dot apart).
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if !text.is_ascii() {
            return Err(NameError::NotAscii);
        }
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(NameError::Character)?;
            return Self::parse_v6(inner);
        }
        if text.contains(':') {
            return Self::parse_v6(text);
        }
        let bare = text.strip_suffix('.').unwrap_or(text);
        if bare.is_empty() {
            return Err(NameError::Empty);
        }
        if !bare
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        {
            return Err(NameError::Character);
        }
        if let Ok(v4) = bare.parse::<std::net::Ipv4Addr>() {
            // std takes four decimal numbers without leading zeros and nothing else; a trailing dot is not an address
            return if bare.len() == text.len() {
                Ok(Self::Ip(IpAddr::V4(v4)))
            } else {
                Err(NameError::AddressSpelling)
            };
        }
        let lower = bare.to_ascii_lowercase();
        check_labels(&lower)?;
        match url::Host::parse(&lower) {
            Ok(url::Host::Domain(round)) if round == lower => {
                Ok(Self::Name(HostName(lower.into())))
            }
            Ok(url::Host::Domain(_)) => Err(NameError::Punycode),
            Ok(url::Host::Ipv4(_) | url::Host::Ipv6(_)) => Err(NameError::AddressSpelling),
            // the parser takes a last label of digits or 0x… for an address, so a failure there is a spelling of one
            Err(url::ParseError::InvalidIpv4Address) => Err(NameError::AddressSpelling),
            Err(_) => Err(NameError::Punycode),
        }
    }

    fn parse_v6(text: &str) -> Result<Self, NameError> {
        let v6: std::net::Ipv6Addr = text
            .parse()
            .map_err(|_unreadable| NameError::AddressSpelling)?;
        if v6.to_ipv4_mapped().is_some() {
            return Err(NameError::AddressSpelling);
        }
        Ok(Self::Ip(IpAddr::V6(v6)))
    }

    /// The name, unless this is an IP literal.
    #[must_use]
    pub const fn name(&self) -> Option<&HostName> {
        match self {
            Self::Name(name) => Some(name),
            Self::Ip(_) => None,
        }
    }
}

fn check_labels(name: &str) -> Result<(), NameError> {
    let label_is_good = |label: &str| {
        !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
    };
    if name.len() <= 253 && name.split('.').all(label_is_good) {
        Ok(())
    } else {
        Err(NameError::Label)
    }
}

impl Authority {
    /// Joins a host and a port.
    #[must_use]
    pub const fn new(host: Host, port: u16) -> Self {
        Self { host, port }
    }

    /// Parses authority-form, `host:port`; the port is required.
    ///
    /// # Errors
    /// When either part is missing or not canonical.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (host, port) = split_port(text)?;
        Ok(Self {
            host: Host::parse(host)?,
            port: parse_port(port.ok_or(NameError::Port)?)?,
        })
    }

    /// Parses `host` or `host:port`, as a Host field or an :authority carries it (RFC 9110 section 7.2).
    ///
    /// # Errors
    /// When either part is not canonical.
    pub fn parse_with_default(text: &str, default_port: u16) -> Result<Self, NameError> {
        let (host, port) = split_port(text)?;
        let port = port.map_or(Ok(default_port), parse_port)?;
        Ok(Self {
            host: Host::parse(host)?,
            port,
        })
    }
}

fn split_port(text: &str) -> Result<(&str, Option<&str>), NameError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (_, after) = rest.split_once(']').ok_or(NameError::Character)?;
        let host = text.strip_suffix(after).ok_or(NameError::Character)?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(NameError::Character),
        };
    }
    match text.rsplit_once(':') {
        // an IPv6 literal without brackets would be ambiguous here
        Some((host, _)) if host.contains(':') => Err(NameError::AddressSpelling),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, NameError> {
    if text.is_empty()
        || text.len() > 5
        || !text.bytes().all(|b| b.is_ascii_digit())
        || text.starts_with('0')
    {
        return Err(NameError::Port);
    }
    text.parse().map_err(|_overflow| NameError::Port)
}

impl HostPattern {
    /// Parses `host` or `*.suffix`.
    ///
    /// # Errors
    /// When the host is not canonical or a `*` stands anywhere else.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix("*.") {
            Some(suffix) if suffix.contains('*') => Err(NameError::Wildcard),
            Some(suffix) => Ok(Self::Under(HostName::parse(suffix)?)),
            None if text.contains('*') => Err(NameError::Wildcard),
            None => Ok(Self::Exact(Host::parse(text)?)),
        }
    }

    /// Whether the host is one that this pattern names.
    #[must_use]
    pub fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Exact(exact), host) => exact == host,
            (Self::Under(suffix), Host::Name(name)) => name.is_under(suffix),
            (Self::Under(_), Host::Ip(_)) => false,
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => fmt::Display::fmt(name, f),
            Self::Ip(IpAddr::V4(ip)) => fmt::Display::fmt(ip, f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => fmt::Display::fmt(host, f),
            Self::Under(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_spelling_gives_one_canonical_host() {
        for (text, want) in [
            ("Api.Amazon.COM", "api.amazon.com"),
            ("api.amazon.com.", "api.amazon.com"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("192.0.2.7", "192.0.2.7"),
            ("[2001:db8::1]", "[2001:db8::1]"),
            ("2001:DB8::1", "[2001:db8::1]"),
            ("my_bucket.s3.amazonaws.com", "my_bucket.s3.amazonaws.com"),
        ] {
            assert_eq!(
                Host::parse(text).map(|h| h.to_string()),
                Ok(want.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_spelling_that_does_not_round_trip_is_refused() {
        for (text, want) in [
            ("", NameError::Empty),
            (".", NameError::Empty),
            ("a..b", NameError::Label),
            ("-a.example", NameError::Label),
            ("a%2eb.example", NameError::Character),
            ("a\0.example", NameError::Character),
            ("a b", NameError::Character),
            ("user@host", NameError::Character),
            ("bücher.example", NameError::NotAscii),
            ("xn--a.example", NameError::Punycode),
            ("127.1", NameError::AddressSpelling),
            ("2130706433", NameError::AddressSpelling),
            ("0x7f000001", NameError::AddressSpelling),
            ("0177.0.0.1", NameError::AddressSpelling),
            ("127.0.0.1.", NameError::AddressSpelling),
            ("[::ffff:127.0.0.1]", NameError::AddressSpelling),
            ("[fe80::1%25eth0]", NameError::AddressSpelling),
            ("[::1", NameError::Character),
        ] {
            assert_eq!(Host::parse(text), Err(want), "{text}");
        }
    }

    #[test]
    fn a_wildcard_names_what_is_below_the_suffix_and_never_the_suffix() {
        let pattern = HostPattern::parse("*.s3.amazonaws.com").unwrap();
        for (host, want) in [
            ("b.s3.amazonaws.com", true),
            ("a.b.s3.amazonaws.com", true),
            ("s3.amazonaws.com", false),
            ("xs3.amazonaws.com", false),
            ("b.s3.amazonaws.com.evil.example", false),
        ] {
            assert_eq!(pattern.matches(&Host::parse(host).unwrap()), want, "{host}");
        }
        assert_eq!(HostPattern::parse("a.*.com"), Err(NameError::Wildcard));
        assert_eq!(HostPattern::parse("*"), Err(NameError::Wildcard));
    }

    #[test]
    fn an_authority_needs_a_plain_port() {
        assert_eq!(
            Authority::parse("Host.Example:443").map(|a| a.to_string()),
            Ok("host.example:443".to_owned())
        );
        assert_eq!(
            Authority::parse("[::1]:443").map(|a| a.to_string()),
            Ok("[::1]:443".to_owned())
        );
        for text in [
            "host.example",
            "host.example:",
            "host.example:0",
            "host.example:+443",
            "host.example:65536",
            "host.example:0443",
            "::1:443",
        ] {
            assert!(Authority::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            Authority::parse_with_default("host.example", 443).map(|a| a.port),
            Ok(443)
        );
    }
}
