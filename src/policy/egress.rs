//! Where connections may go.
//!
//! Job: the egress rules, compiled so that a look-up costs a hash for each label of the host.
//! Invariants: the first rule that names the host decides, ports included: a later rule for the same host never widens
//! an earlier one. An IP literal is named by a rule for exactly that address and by no wildcard. Default deny.
//! Failure mode: a [`Refusal`] with the line to add.

use std::collections::HashMap;

use super::Refusal;
use super::refusal;
use crate::config::{EgressMode, EgressRule};
use crate::name::{Authority, Host, HostName, HostPattern};

/// Compiled egress rules.
#[derive(Debug)]
pub(super) struct Egress {
    rules: Vec<EgressRule>,
    /// Place of the first rule for exactly this host.
    exact: HashMap<Host, usize>,
    /// Place of the first rule for what is under this suffix.
    under: HashMap<Box<str>, usize>,
}

impl Egress {
    pub(super) fn compile(rules: &[EgressRule]) -> Self {
        let mut exact = HashMap::new();
        let mut under = HashMap::new();
        for (place, rule) in rules.iter().enumerate() {
            match &rule.host {
                HostPattern::Exact(host) => {
                    exact.entry(host.clone()).or_insert(place);
                }
                HostPattern::Under(suffix) => {
                    under.entry(suffix.as_str().into()).or_insert(place);
                }
            }
        }
        Self {
            rules: rules.to_vec(),
            exact,
            under,
        }
    }

    pub(super) fn decide(&self, authority: &Authority) -> Result<EgressMode, Refusal> {
        let Some(rule) = self.first_for(&authority.host) else {
            return Err(refusal::egress_denied(authority));
        };
        if !rule.ports.contains(&authority.port) {
            return Err(refusal::port_denied(authority, rule));
        }
        Ok(rule.mode)
    }

    fn first_for(&self, host: &Host) -> Option<&EgressRule> {
        let exact = self.exact.get(host).copied();
        let under = host.name().and_then(|name| self.first_suffix_of(name));
        let place = exact.into_iter().chain(under).min()?;
        self.rules.get(place)
    }

    fn first_suffix_of(&self, name: &HostName) -> Option<usize> {
        let mut parents = Vec::new();
        let mut rest = name.as_str();
        while let Some((_, parent)) = rest.split_once('.') {
            parents.extend(self.under.get(parent).copied());
            rest = parent;
        }
        parents.into_iter().min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::outcome::Reason;

    fn rule(host: &str, mode: EgressMode, ports: &[u16]) -> EgressRule {
        EgressRule {
            host: HostPattern::parse(host).unwrap(),
            mode,
            ports: ports.to_vec(),
        }
    }

    fn decide(rules: &[EgressRule], authority: &str) -> Result<EgressMode, Reason> {
        let authority = Authority::parse(authority).unwrap();
        let decision = Egress::compile(rules).decide(&authority);
        decision.map_err(|refusal| refusal.reason)
    }

    #[test]
    fn the_first_rule_that_names_the_host_decides() {
        let rules = [
            rule("api.amazon.com", EgressMode::Lwa, &[443]),
            rule("logs.s3.amazonaws.com", EgressMode::Tunnel, &[443]),
            rule("*.s3.amazonaws.com", EgressMode::Document, &[443]),
            rule("*.amazonaws.com", EgressMode::Tunnel, &[443, 8443]),
            rule("late.s3.amazonaws.com", EgressMode::Inject, &[443]),
            rule("*.amazon.com", EgressMode::Inject, &[443]),
            rule("192.0.2.7", EgressMode::Tunnel, &[22]),
            rule("api.amazon.com", EgressMode::Tunnel, &[8443]),
        ];
        for (authority, want) in [
            ("api.amazon.com:443", Ok(EgressMode::Lwa)),
            // a later rule for the same host does not widen the first
            ("api.amazon.com:8443", Err(Reason::PortDenied)),
            ("API.amazon.com.:443", Ok(EgressMode::Lwa)),
            ("xapi.amazon.com:443", Ok(EgressMode::Inject)),
            ("amazon.com:443", Err(Reason::EgressDenied)),
            ("logs.s3.amazonaws.com:443", Ok(EgressMode::Tunnel)),
            ("b.s3.amazonaws.com:443", Ok(EgressMode::Document)),
            ("late.s3.amazonaws.com:443", Ok(EgressMode::Document)),
            ("b.s3.amazonaws.com:8443", Err(Reason::PortDenied)),
            ("s3.amazonaws.com:8443", Ok(EgressMode::Tunnel)),
            ("amazonaws.com.evil.example:443", Err(Reason::EgressDenied)),
            ("192.0.2.7:22", Ok(EgressMode::Tunnel)),
            ("192.0.2.7:443", Err(Reason::PortDenied)),
            ("192.0.2.8:22", Err(Reason::EgressDenied)),
            ("[2001:db8::1]:443", Err(Reason::EgressDenied)),
        ] {
            assert_eq!(decide(&rules, authority), want, "{authority}");
        }
    }

    #[test]
    fn without_rules_nothing_leaves() {
        assert_eq!(
            decide(&[], "sellingpartnerapi-na.amazon.com:443"),
            Err(Reason::EgressDenied)
        );
    }

    fn host() -> impl Strategy<Value = String> {
        prop::collection::vec("[ab]", 1..4).prop_map(|labels| labels.join("."))
    }

    fn pattern() -> impl Strategy<Value = String> {
        (any::<bool>(), host()).prop_map(|(wild, host)| match wild {
            true => format!("*.{host}"),
            false => host,
        })
    }

    proptest! {
        #[test]
        fn the_compiled_rules_agree_with_trying_each_in_turn(patterns in prop::collection::vec(pattern(), 0..8), host in host()) {
            let rules: Vec<_> = patterns
                .iter()
                .zip(1_u16..)
                .map(|(pattern, port)| rule(pattern, EgressMode::Tunnel, &[port]))
                .collect();
            let host = Host::parse(&host).unwrap();
            let slow = rules.iter().find(|rule| rule.host.matches(&host));
            let compiled = Egress::compile(&rules);
            prop_assert_eq!(compiled.first_for(&host), slow);
        }
    }
}
