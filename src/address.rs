//! Which addresses may be dialled.
//!
//! Job: put an address into one class of the special-purpose registries, so that a name that resolves inwards is
//! refused before a packet leaves.
//! Invariants: only [`AddressClass::Global`] may be dialled. IPv6 is an allow-list: what is outside `2000::/3` is never
//! global. Forms that carry an IPv4 address (mapped, compatible, NAT64, 6to4, Teredo) are refused whatever they carry.
//! Failure mode: none; every address has a class.
//! Sources: RFC 6890 and the IANA IPv4 and IPv6 special-purpose address registries; RFC 4291, 6052, 8215, 9637, 9602;
//! the metadata addresses that the cloud providers publish.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of address this is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AddressClass {
    /// Reachable on the public internet.
    Global,
    /// `0.0.0.0/8` and `::`.
    Unspecified,
    /// `127.0.0.0/8` and `::1`.
    Loopback,
    /// RFC 1918.
    Private,
    /// `100.64.0.0/10`, shared by carrier-grade NAT (RFC 6598).
    SharedCgnat,
    /// `169.254.0.0/16` and `fe80::/10`.
    LinkLocal,
    /// Where a cloud provider hands out instance credentials.
    Metadata,
    /// `224.0.0.0/4` and `ff00::/8`.
    Multicast,
    /// `255.255.255.255`.
    Broadcast,
    /// `198.18.0.0/15` and `2001:2::/48`.
    Benchmarking,
    /// Ranges for examples.
    Documentation,
    /// `fc00::/7`.
    UniqueLocal,
    /// `fec0::/10`, deprecated (RFC 3879).
    SiteLocal,
    /// `::ffff:0:0/96` and the deprecated compatible form `::/96`.
    Mapped,
    /// `64:ff9b::/96` and `64:ff9b:1::/48`.
    Nat64,
    /// `2002::/16`, and its relay `192.88.99.0/24`.
    SixToFour,
    /// `2001::/32`.
    Teredo,
    /// Set aside for protocols or for later.
    Reserved,
}

impl AddressClass {
    /// The class of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    /// Whether a connection to such an address may be made.
    #[must_use]
    pub const fn may_be_dialled(self) -> bool {
        matches!(self, Self::Global)
    }

    /// The class as it stands in logs and refusals.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::SharedCgnat => "shared_cgnat",
            Self::LinkLocal => "link_local",
            Self::Metadata => "metadata",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Benchmarking => "benchmarking",
            Self::Documentation => "documentation",
            Self::UniqueLocal => "unique_local",
            Self::SiteLocal => "site_local",
            Self::Mapped => "ipv4_mapped",
            Self::Nat64 => "nat64",
            Self::SixToFour => "6to4",
            Self::Teredo => "teredo",
            Self::Reserved => "reserved",
        }
    }

    fn of_v4(v4: Ipv4Addr) -> Self {
        if METADATA_V4.contains(&v4) {
            return Self::Metadata;
        }
        match v4.octets() {
            [0, ..] => Self::Unspecified,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Self::Private,
            [100, 64..=127, ..] => Self::SharedCgnat,
            [127, ..] => Self::Loopback,
            [169, 254, ..] => Self::LinkLocal,
            [192, 0, 0, _] => Self::Reserved,
            [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Self::Documentation,
            [192, 88, 99, _] => Self::SixToFour,
            [198, 18 | 19, ..] => Self::Benchmarking,
            [224..=239, ..] => Self::Multicast,
            [255, 255, 255, 255] => Self::Broadcast,
            [240..=255, ..] => Self::Reserved,
            _ => Self::Global,
        }
    }

    fn of_v6(v6: Ipv6Addr) -> Self {
        if METADATA_V6.contains(&v6) {
            return Self::Metadata;
        }
        match v6.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0] => Self::Unspecified,
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            [0, 0, 0, 0, 0, 0 | 0xffff, _, _] => Self::Mapped,
            [0x64, 0xff9b, 0, 0, 0, 0, _, _] | [0x64, 0xff9b, 1, ..] => Self::Nat64,
            [0x2001, 0, ..] => Self::Teredo,
            [0x2001, 2, 0, ..] => Self::Benchmarking,
            // 2001::/23: protocol assignments; a few are reachable, none serves an API
            [0x2001, 0..=0x1ff, ..] => Self::Reserved,
            [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Self::Documentation,
            [0x2002, ..] => Self::SixToFour,
            [0x2000..=0x3fff, ..] => Self::Global,
            [0xfc00..=0xfdff, ..] => Self::UniqueLocal,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            [0xfec0..=0xfeff, ..] => Self::SiteLocal,
            [0xff00..=0xffff, ..] => Self::Multicast,
            _ => Self::Reserved,
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const METADATA_V4: [Ipv4Addr; 7] = [
    // AWS, GCP, Azure and others
    Ipv4Addr::new(169, 254, 169, 254),
    // AWS: ECS task credentials, EKS pod identity
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    // Alibaba Cloud
    Ipv4Addr::new(100, 100, 100, 200),
    // Azure's wire server: inside the public range
    Ipv4Addr::new(168, 63, 129, 16),
    // Oracle Cloud
    Ipv4Addr::new(192, 0, 0, 192),
    // Scaleway
    Ipv4Addr::new(169, 254, 42, 42),
];

const METADATA_V6: [Ipv6Addr; 4] = [
    // AWS: instance metadata, EKS pod identity
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    // GCP
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    // Scaleway
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// First and last address of a range, the addresses just outside, and what each is.
    #[test]
    fn every_range_has_its_class_up_to_both_edges() {
        for (address, want) in V4.iter().chain(V6) {
            let ip: IpAddr = address.parse().unwrap();
            assert_eq!(AddressClass::of(ip).as_str(), *want, "{address}");
        }
    }

    #[test]
    fn nothing_but_a_global_address_may_be_dialled() {
        for (address, class) in V4.iter().chain(V6) {
            let ip: IpAddr = address.parse().unwrap();
            let may = AddressClass::of(ip).may_be_dialled();
            assert_eq!(may, *class == "global", "{address}");
        }
    }

    #[test]
    fn an_ipv4_address_wrapped_in_ipv6_is_never_dialled_even_if_it_is_public() {
        for inner in ["8.8.8.8", "127.0.0.1", "169.254.169.254", "10.0.0.1"] {
            for prefix in ["::ffff:", "::", "64:ff9b::", "64:ff9b:1::", "::ffff:0:"] {
                let ip: IpAddr = format!("{prefix}{inner}").parse().unwrap();
                assert!(!AddressClass::of(ip).may_be_dialled(), "{prefix}{inner}");
            }
        }
    }

    const V4: &[(&str, &str)] = &[
        ("0.0.0.0", "unspecified"),
        ("0.255.255.255", "unspecified"),
        ("1.0.0.0", "global"),
        ("9.255.255.255", "global"),
        ("10.0.0.0", "private"),
        ("10.255.255.255", "private"),
        ("11.0.0.0", "global"),
        ("100.63.255.255", "global"),
        ("100.64.0.0", "shared_cgnat"),
        ("100.100.100.199", "shared_cgnat"),
        ("100.100.100.200", "metadata"),
        ("100.127.255.255", "shared_cgnat"),
        ("100.128.0.0", "global"),
        ("126.255.255.255", "global"),
        ("127.0.0.0", "loopback"),
        ("127.255.255.255", "loopback"),
        ("128.0.0.0", "global"),
        ("168.63.129.15", "global"),
        ("168.63.129.16", "metadata"),
        ("169.253.255.255", "global"),
        ("169.254.0.0", "link_local"),
        ("169.254.42.42", "metadata"),
        ("169.254.169.253", "link_local"),
        ("169.254.169.254", "metadata"),
        ("169.254.170.2", "metadata"),
        ("169.254.170.23", "metadata"),
        ("169.254.255.255", "link_local"),
        ("169.255.0.0", "global"),
        ("172.15.255.255", "global"),
        ("172.16.0.0", "private"),
        ("172.31.255.255", "private"),
        ("172.32.0.0", "global"),
        ("191.255.255.255", "global"),
        ("192.0.0.0", "reserved"),
        ("192.0.0.192", "metadata"),
        ("192.0.0.255", "reserved"),
        ("192.0.1.0", "global"),
        ("192.0.2.0", "documentation"),
        ("192.0.2.255", "documentation"),
        ("192.0.3.0", "global"),
        ("192.88.98.255", "global"),
        ("192.88.99.0", "6to4"),
        ("192.88.99.255", "6to4"),
        ("192.88.100.0", "global"),
        ("192.167.255.255", "global"),
        ("192.168.0.0", "private"),
        ("192.168.255.255", "private"),
        ("192.169.0.0", "global"),
        ("198.17.255.255", "global"),
        ("198.18.0.0", "benchmarking"),
        ("198.19.255.255", "benchmarking"),
        ("198.20.0.0", "global"),
        ("198.51.99.255", "global"),
        ("198.51.100.0", "documentation"),
        ("198.51.100.255", "documentation"),
        ("198.51.101.0", "global"),
        ("203.0.112.255", "global"),
        ("203.0.113.0", "documentation"),
        ("203.0.113.255", "documentation"),
        ("203.0.114.0", "global"),
        ("223.255.255.255", "global"),
        ("224.0.0.0", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.0", "reserved"),
        ("255.255.255.254", "reserved"),
        ("255.255.255.255", "broadcast"),
    ];

    const V6: &[(&str, &str)] = &[
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::2", "ipv4_mapped"),
        ("::ffff:ffff", "ipv4_mapped"),
        ("::1:0:0", "reserved"),
        ("::fffe:ffff:ffff", "reserved"),
        ("::ffff:0:0", "ipv4_mapped"),
        ("::ffff:ffff:ffff", "ipv4_mapped"),
        ("::1:0:0:0", "reserved"),
        ("64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"),
        ("64:ff9b::", "nat64"),
        ("64:ff9b::ffff:ffff", "nat64"),
        ("64:ff9b::1:0:0", "reserved"),
        ("64:ff9b:1::", "nat64"),
        ("64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "nat64"),
        ("64:ff9b:2::", "reserved"),
        ("100::", "reserved"),
        ("1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"),
        ("2000::", "global"),
        ("2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "global"),
        ("2001::", "teredo"),
        ("2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "teredo"),
        ("2001:1::", "reserved"),
        ("2001:2::", "benchmarking"),
        ("2001:2:0:ffff:ffff:ffff:ffff:ffff", "benchmarking"),
        ("2001:2:1::", "reserved"),
        ("2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"),
        ("2001:200::", "global"),
        ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "global"),
        ("2001:db8::", "documentation"),
        ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"),
        ("2001:db9::", "global"),
        ("2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "global"),
        ("2002::", "6to4"),
        ("2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "6to4"),
        ("2003::", "global"),
        ("2600:1f18::1", "global"),
        ("3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "global"),
        ("3fff::", "documentation"),
        ("3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"),
        ("3fff:1000::", "global"),
        ("3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "global"),
        ("4000::", "reserved"),
        ("5f00::", "reserved"),
        ("fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"),
        ("fc00::", "unique_local"),
        ("fd00:42::42", "metadata"),
        ("fd00:ec2::23", "metadata"),
        ("fd00:ec2::253", "unique_local"),
        ("fd00:ec2::254", "metadata"),
        ("fd20:ce::254", "metadata"),
        ("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "unique_local"),
        ("fe00::", "reserved"),
        ("fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"),
        ("fe80::", "link_local"),
        ("febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link_local"),
        ("fec0::", "site_local"),
        ("feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site_local"),
        ("ff00::", "multicast"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast"),
    ];
}
