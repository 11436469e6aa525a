//! Names to addresses that may be dialled.
//!
//! Job: resolve an authority once and keep only addresses of the one class that is public.
//! Invariants: what [`Resolver::resolve`] returns has been checked and is what gets dialled; `connect_to` entries are
//! exempt from the class check and never from the check for our own listeners.
//! Failure mode: [`SendError::AddressDenied`] names the class; a mixed answer yields its public part.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_resolver::TokioResolver;

use super::SendError;
use crate::address::AddressClass;
use crate::config;
use crate::name::{Authority, Host, HostName};

/// Any port will do to ask the kernel for a route (RFC 863's, as it happens).
const DISCARD: u16 = 9;

/// Resolves and checks.
#[derive(Debug)]
pub struct Resolver {
    connect_to: BTreeMap<Authority, SocketAddr>,
    own: Vec<SocketAddr>,
    dns: Option<TokioResolver>,
}

/// The resolver could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("upstream.resolver: dns: the system's resolver configuration is not usable: {0}")]
pub struct ResolverError(String);

impl Resolver {
    /// `own` are the addresses we listen on.
    ///
    /// # Errors
    /// When `resolver: dns` is asked for and `/etc/resolv.conf` is not usable.
    pub fn new(config: &config::Upstream, own: Vec<SocketAddr>) -> Result<Self, ResolverError> {
        let dns = match config.resolver {
            config::Resolver::System => None,
            config::Resolver::Dns => Some(dns_alone()?),
        };
        Ok(Self {
            connect_to: config.connect_to.clone(),
            own,
            dns,
        })
    }

    /// The addresses that may be dialled for an authority, in the order to try them.
    ///
    /// # Errors
    /// When the name does not resolve, or to nothing that may be dialled.
    pub async fn resolve(&self, authority: &Authority) -> Result<Vec<SocketAddr>, SendError> {
        if let Some(address) = self.connect_to.get(authority) {
            return if self.is_own(*address) {
                Err(SendError::OwnListener)
            } else {
                Ok(vec![*address])
            };
        }
        let found: Vec<IpAddr> = match &authority.host {
            Host::Ip(ip) => vec![*ip],
            Host::Name(name) => self.look_up(name).await?,
        };
        let mut denied = None;
        let mut allowed = Vec::with_capacity(found.len());
        for ip in found {
            let class = AddressClass::of(ip);
            let address = SocketAddr::new(ip, authority.port);
            if !class.may_be_dialled() {
                denied = Some(class);
            } else if self.is_own(address) {
                return Err(SendError::OwnListener);
            } else {
                allowed.push(address);
            }
        }
        match (allowed.is_empty(), denied) {
            (false, _) => Ok(allowed),
            (true, Some(class)) => Err(SendError::AddressDenied(class)),
            (true, None) => Err(SendError::Resolve(std::io::Error::new(
                std::io::ErrorKind::NotFound,
                "no address",
            ))),
        }
    }

    /// Whether `connect_to` sends this authority elsewhere: then no next-hop proxy is asked either.
    #[must_use]
    pub fn is_redirected(&self, authority: &Authority) -> bool {
        self.connect_to.contains_key(authority)
    }

    async fn look_up(&self, name: &HostName) -> Result<Vec<IpAddr>, SendError> {
        match &self.dns {
            None => {
                let found = tokio::net::lookup_host((name.as_str(), 0))
                    .await
                    .map_err(SendError::Resolve)?;
                Ok(found.map(|address| address.ip()).collect())
            }
            Some(dns) => {
                // the final dot keeps search domains out
                let found = dns
                    .lookup_ip(format!("{name}."))
                    .await
                    .map_err(|error| SendError::Resolve(std::io::Error::other(error)))?;
                Ok(found.iter().collect())
            }
        }
    }

    /// Whether a connection to this address would reach one of our own listeners. Where addresses are translated on the way
    /// that cannot be seen from here; the Via mark catches what remains.
    pub(super) fn is_own(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        self.own.iter().any(|own| {
            let bound = own.ip().to_canonical();
            own.port() == address.port()
                && (bound == ip || (bound.is_unspecified() && is_of_this_machine(ip)))
        })
    }
}

/// Whether an address is one of this machine's own. The kernel is asked which address it would speak to it from: for an
/// address of its own, that one. No packet leaves for that.
fn is_of_this_machine(ip: IpAddr) -> bool {
    if ip.is_loopback() || ip.is_unspecified() {
        return true;
    }
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let spoken_from = || {
        let socket = std::net::UdpSocket::bind((any, 0))?;
        socket.connect((ip, DISCARD))?;
        socket.local_addr()
    };
    // without a route there is no way to it, and so none to us
    spoken_from().is_ok_and(|local| local.ip() == ip)
}

fn dns_alone() -> Result<TokioResolver, ResolverError> {
    let mut builder =
        TokioResolver::builder_tokio().map_err(|error| ResolverError(error.to_string()))?;
    builder.options_mut().use_hosts_file = hickory_resolver::config::ResolveHosts::Never;
    builder
        .build()
        .map_err(|error| ResolverError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolver(own: &str, connect_to: &[(&str, &str)]) -> Resolver {
        Resolver {
            connect_to: connect_to
                .iter()
                .map(|(from, to)| (Authority::parse(from).unwrap(), to.parse().unwrap()))
                .collect(),
            own: vec![own.parse().unwrap()],
            dns: None,
        }
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_loopback_is_refused_and_its_class_is_named() {
        let refused = resolver("127.0.0.1:3128", &[])
            .resolve(&Authority::parse("localhost:443").unwrap())
            .await;
        assert!(
            matches!(
                refused,
                Err(SendError::AddressDenied(AddressClass::Loopback))
            ),
            "{refused:?}"
        );
    }

    #[tokio::test]
    async fn connect_to_is_exempt_from_the_class_but_never_reaches_our_own_listener() {
        let resolver = resolver(
            "127.0.0.1:3128",
            &[
                ("a.example:443", "127.0.0.1:9443"),
                ("b.example:443", "127.0.0.1:3128"),
            ],
        );
        assert_eq!(
            resolver
                .resolve(&Authority::parse("a.example:443").unwrap())
                .await
                .unwrap(),
            vec!["127.0.0.1:9443".parse().unwrap()]
        );
        assert!(matches!(
            resolver
                .resolve(&Authority::parse("b.example:443").unwrap())
                .await,
            Err(SendError::OwnListener)
        ));
    }

    #[test]
    fn every_address_of_this_machine_is_our_own_where_we_listen_on_all_of_them() {
        let everywhere = resolver("0.0.0.0:3128", &[]);
        let here = resolver("127.0.0.1:3128", &[]);
        for (address, of_all, of_loopback) in [
            ("127.0.0.1:3128", true, true),
            ("[::ffff:127.0.0.1]:3128", true, true),
            ("127.0.0.1:3129", false, false),
            ("127.8.9.10:3128", true, false),
            ("192.0.2.1:3128", false, false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(everywhere.is_own(address), of_all, "{address}");
            assert_eq!(here.is_own(address), of_loopback, "{address}");
        }
        // a machine with an interface besides loopback speaks from that one
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        if socket.connect("192.0.2.1:9").is_ok() {
            let mut outward = socket.local_addr().unwrap();
            outward.set_port(3128);
            assert!(everywhere.is_own(outward), "{outward}");
            assert!(!here.is_own(outward), "{outward}");
        }
    }
}
