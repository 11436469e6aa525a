//! Names, addresses and certificates on the way out, and the CA that programs are to trust.
//!
//! Invariants: the dialler is the sidecar's own: what it refuses here it refuses there.
//! Sources: CONTRACT section 2.2.

use std::error::Error as _;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::config::{Tenant, Trust};
use crate::name::Authority;
use crate::tls::client::roots;
use crate::upstream::SendError;
use crate::upstream::dial::Dialer;

use super::{Check, Outcome, Tools};

const TRUST: (&str, &str) = ("network", "trust");
const CA: (&str, &str) = ("network", "ca");
const DNS: (&str, &str) = ("network", "dns");
const TLS: (&str, &str) = ("network", "tls");

/// What was found.
pub(super) struct Reached {
    pub(super) checks: Vec<Check>,
}

impl Reached {
    /// Whether TLS to a host was refused or not even tried.
    pub(super) fn lacks(&self, to: &Authority) -> bool {
        let subject = to.to_string();
        let bad = |check: &Check| {
            check.name == TLS.1 && check.subject == subject && check.outcome != Outcome::Pass
        };
        self.checks.iter().any(bad)
    }
}

pub(super) async fn ask(tools: &Tools, tenant: &Tenant) -> Reached {
    let mut checks = vec![trust(tools), ca(tools)];
    let hosts = [tools.lwa(), Tools::host(tenant)];
    for host in hosts.into_iter().flatten() {
        match &tools.way {
            Ok(way) => checks.extend(host_rows(&way.dialer, &host).await),
            Err(_said_by_trust) => checks.extend(
                [DNS, TLS].map(|at| Check::skip(at, "rests on `trust`").about(host.to_string())),
            ),
        }
    }
    Reached { checks }
}

/// What is believed upstream.
fn trust(tools: &Tools) -> Check {
    let upstream = &tools.config.upstream;
    let place = match &upstream.trust {
        Trust::System => "the system's".to_owned(),
        Trust::File(path) => format!("of {}", path.display()),
    };
    let remedy = "correct `upstream` of the configuration; `trust: system` needs the package ca-certificates";
    match (roots(&upstream.trust), &tools.way) {
        (Err(error), _) => Check::fail(TRUST, error.to_string(), remedy),
        (Ok(_), Err(error)) => Check::fail(TRUST, error.clone(), remedy),
        (Ok(roots), Ok(_)) => {
            Check::pass(TRUST, format!("{} trust anchor(s), {place}", roots.len()))
        }
    }
}

/// What programs are to trust.
fn ca(tools: &Tools) -> Check {
    let path = &tools.config.interception.cert_path;
    let found = CertificateDer::pem_file_iter(path)
        .ok()
        .and_then(|mut all| all.next())
        .and_then(Result::ok);
    match found {
        Some(_) => Check::pass(
            CA,
            format!("{} is there for programs to trust", path.display()),
        ),
        None => Check::warn(
            CA,
            format!("{} holds no certificate yet", path.display()),
            "`spapi-sidecar run` writes it at its start; programs then have to trust it (`spapi-sidecar doctor`)",
        ),
    }
}

async fn host_rows(dialer: &Dialer, host: &Authority) -> [Check; 2] {
    let subject = host.to_string();
    let dns = match dialer.look_up(host).await {
        Ok(None) => Check::skip(DNS, "the next hop of `upstream.proxy` looks the name up"),
        Ok(Some(found)) if dialer.is_redirected(host) => Check::pass(
            DNS,
            format!("`upstream.connect_to` leads to {}", list(&found)),
        ),
        Ok(Some(found)) => Check::pass(DNS, list(&found)),
        Err(error) => unreachable(DNS, &error),
    };
    let tls = if dns.outcome == Outcome::Fail {
        Check::skip(TLS, format!("rests on `dns` {subject}"))
    } else {
        match dialer.tls(host, false).await {
            Ok(stream) => {
                let version = stream.get_ref().1.protocol_version();
                let version = version
                    .and_then(|version| version.as_str())
                    .unwrap_or("TLS");
                Check::pass(TLS, format!("{version}, and the certificate is trusted"))
            }
            Err(error) => unreachable(TLS, &error),
        }
    };
    [dns.about(subject.clone()), tls.about(subject)]
}

fn list(addresses: &[std::net::SocketAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

fn unreachable(at: (&'static str, &'static str), error: &SendError) -> Check {
    let mut found = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        found = format!("{found}: {inner}");
        cause = inner.source();
    }
    let remedy = match error {
        SendError::Resolve(_) => {
            "check the name, and what this machine resolves by (`getent hosts`, /etc/resolv.conf, `upstream.resolver`)"
        }
        SendError::AddressDenied(_) => {
            "the name leads inside: a private link belongs into `upstream.connect_to`"
        }
        SendError::OwnListener => {
            "the name leads back to the sidecar itself: take the entry out of the hosts file, or set `upstream.resolver: dns`"
        }
        SendError::Tls(_) => {
            "see who answers there: a proxy that opens TLS has to be named in `upstream.trust`, and `upstream.pins` have to be those of the host"
        }
        SendError::Exhausted(_) => {
            "raise the limit on file descriptors where the sidecar runs (`LimitNOFILE=`, `ulimit -n`)"
        }
        SendError::Connect(_)
        | SendError::ResponseTimeout
        | SendError::Broken(_)
        | SendError::TurnedAway(_)
        | SendError::Body(_) => {
            "open the way from this machine to port 443 of the host, or name the next hop in `upstream.proxy`"
        }
    };
    Check::fail(at, found, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_not_being_reached_has_a_remedy_of_its_own() {
        use crate::address::AddressClass;
        let io = || std::io::Error::other("why");
        for (error, word) in [
            (SendError::Resolve(io()), "upstream.resolver"),
            (
                SendError::AddressDenied(AddressClass::Private),
                "upstream.connect_to",
            ),
            (SendError::OwnListener, "hosts file"),
            (SendError::Tls(io()), "upstream.trust"),
            (SendError::Connect(io()), "upstream.proxy"),
            (SendError::Exhausted(io()), "LimitNOFILE"),
        ] {
            let row = unreachable(DNS, &error);
            assert_eq!(row.outcome, Outcome::Fail);
            assert!(row.remedy.contains(word), "{row:?}");
        }
    }
}
