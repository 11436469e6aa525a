//! Which routes a tenant has called, and which it was refused.
//!
//! Job: say whether a call is the first of its kind.
//! Invariants: keys are templates, never raw paths; memory is bounded by [`MOST`]; a look-up allocates nothing.
//! Failure mode: beyond the bound nothing is new any more; what an earlier process saw and nobody kept is new again.

use std::sync::Arc;

use http::Method;

use crate::map::Map;
use crate::tenant::TenantId;

/// Most endpoints that are remembered, as many as traffic tells apart.
const MOST: usize = 20_000;

/// What became of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Allowed,
    Refused,
}

/// A kind of call that is known.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Whose.
    pub tenant: &'a TenantId,
    /// Method.
    pub method: &'a Method,
    /// Template.
    pub template: &'a Arc<str>,
    /// Whether it was ever let go.
    pub allowed: bool,
    /// Whether it was ever refused.
    pub refused: bool,
}

/// What became of a tenant's calls, by template.
type ByTemplate = Map<Arc<str>, Vec<(Method, Fate)>>;

/// Everything that was called so far.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    known: Map<TenantId, ByTemplate>,
    count: usize,
}

impl Endpoints {
    /// Whether there was a call of this kind.
    pub(super) fn knows(
        &self,
        tenant: &TenantId,
        method: &Method,
        template: &Arc<str>,
        fate: Fate,
    ) -> bool {
        self.known
            .get(tenant)
            .and_then(|templates| templates.get(template))
            .is_some_and(|seen| seen.iter().any(|(m, f)| m == method && *f == fate))
    }

    /// Whether this is the first call of its kind.
    pub(super) fn is_new(
        &mut self,
        tenant: &TenantId,
        method: &Method,
        template: &Arc<str>,
        fate: Fate,
    ) -> bool {
        !self.knows(tenant, method, template, fate) && self.insert(tenant, method, template, fate)
    }

    fn insert(
        &mut self,
        tenant: &TenantId,
        method: &Method,
        template: &Arc<str>,
        fate: Fate,
    ) -> bool {
        if self.count >= MOST {
            return false;
        }
        let templates = self.known.entry(tenant.clone()).or_default();
        let seen = templates.entry(Arc::clone(template)).or_default();
        if seen.iter().any(|(m, f)| m == method && *f == fate) {
            return false;
        }
        seen.push((method.clone(), fate));
        self.count += 1;
        true
    }

    /// Remembers what was called before this process began.
    pub(super) fn know(&mut self, calls: &[Call<'_>]) {
        for call in calls {
            for (fate, was) in [(Fate::Allowed, call.allowed), (Fate::Refused, call.refused)] {
                if was {
                    self.insert(call.tenant, call.method, call.template, fate);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_call_of_a_kind_is_new_and_stays_known_over_a_restart() {
        let mut endpoints = Endpoints::default();
        let ids = ["acme", "beta"].map(|id| TenantId::parse(id).unwrap());
        let is_new =
            |endpoints: &mut Endpoints, tenant: &TenantId, method, template: &str, fate| {
                endpoints.is_new(tenant, &method, &template.into(), fate)
            };
        let calls = [
            (&ids[0], Method::GET, "/a", Fate::Allowed),
            (&ids[0], Method::GET, "/a", Fate::Refused),
            (&ids[0], Method::PUT, "/a", Fate::Allowed),
            (&ids[0], Method::GET, "/a/{b}", Fate::Allowed),
            (&ids[1], Method::GET, "/a", Fate::Allowed),
        ];
        for want in [true, false] {
            for (tenant, method, template, fate) in calls.clone() {
                assert_eq!(
                    is_new(&mut endpoints, tenant, method, template, fate),
                    want,
                    "{template}"
                );
            }
        }
        let mut later = Endpoints::default();
        let (method, template) = (Method::GET, Arc::from("/a"));
        later.know(&[Call {
            tenant: &ids[0],
            method: &method,
            template: &template,
            allowed: true,
            refused: false,
        }]);
        for (n, (tenant, method, template, fate)) in calls.into_iter().enumerate() {
            assert_eq!(
                is_new(&mut later, tenant, method, template, fate),
                n > 0,
                "{n}"
            );
        }
    }
}
