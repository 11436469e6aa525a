//! Which causes set a tenant aside by themselves.
//!
//! Job: remember for each tenant and cause whether it holds, and order what follows when that changes.
//! Invariants: a cause that `alerts.quarantine_on` does not name orders nothing, and releases what it had set aside when it is
//! taken from the list; an order is given once for a change, and once after a start for what is well, since an earlier process
//! may have set it aside.
//! Failure mode: none; whoever acts bears with an order that changes nothing.

use crate::config::QuarantineCause;
use crate::map::Map;
use crate::tenant::TenantId;

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Set it aside.
    SetAside,
    /// Serve it again, if this cause alone had set it aside.
    Release,
}

/// What is known, and what is to be done.
#[derive(Debug, Default)]
pub(super) struct Quarantines {
    on: Vec<QuarantineCause>,
    found: Map<(TenantId, QuarantineCause), bool>,
    orders: Vec<(TenantId, QuarantineCause, Order)>,
}

impl Quarantines {
    /// Which causes count.
    pub(super) fn configure(&mut self, on: &[QuarantineCause]) {
        let before = std::mem::replace(&mut self.on, on.to_vec());
        for ((tenant, cause), holds) in &self.found {
            let (was, is) = (before.contains(cause), on.contains(cause));
            let order = match (*holds, was, is) {
                (true, true, false) => Order::Release,
                (true, false, true) => Order::SetAside,
                _ => continue,
            };
            self.orders.push((tenant.clone(), *cause, order));
        }
    }

    /// Whether a cause holds for a tenant, as was just seen.
    pub(super) fn found(&mut self, tenant: &TenantId, cause: QuarantineCause, holds: bool) {
        if self.found.get(&(tenant.clone(), cause)) == Some(&holds) {
            return;
        }
        self.found.insert((tenant.clone(), cause), holds);
        if self.on.contains(&cause) {
            let order = if holds {
                Order::SetAside
            } else {
                Order::Release
            };
            self.orders.push((tenant.clone(), cause, order));
        }
    }

    /// What is to be done since this was last asked.
    pub(super) fn take_orders(&mut self) -> Vec<(TenantId, QuarantineCause, Order)> {
        std::mem::take(&mut self.orders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use QuarantineCause::{ChargeMethodLapsed, GrantRevoked};

    #[test]
    fn a_cause_orders_once_for_each_change_and_only_while_the_list_names_it() {
        let mut quarantines = Quarantines::default();
        let acme = TenantId::parse("acme").unwrap();
        let seen = |quarantines: &mut Quarantines| -> Vec<_> {
            let orders = quarantines.take_orders().into_iter();
            orders.map(|(_, cause, order)| (cause, order)).collect()
        };
        quarantines.configure(&[GrantRevoked]);
        for (cause, holds, want) in [
            (GrantRevoked, false, vec![(GrantRevoked, Order::Release)]),
            (GrantRevoked, false, vec![]),
            (GrantRevoked, true, vec![(GrantRevoked, Order::SetAside)]),
            (GrantRevoked, true, vec![]),
            (ChargeMethodLapsed, true, vec![]),
            (GrantRevoked, false, vec![(GrantRevoked, Order::Release)]),
            (GrantRevoked, true, vec![(GrantRevoked, Order::SetAside)]),
        ] {
            quarantines.found(&acme, cause, holds);
            assert_eq!(seen(&mut quarantines), want, "{cause:?} {holds}");
        }
        quarantines.configure(&[ChargeMethodLapsed]);
        let mut orders = seen(&mut quarantines);
        orders.sort_by_key(|(cause, _)| format!("{cause:?}"));
        assert_eq!(
            orders,
            [
                (ChargeMethodLapsed, Order::SetAside),
                (GrantRevoked, Order::Release)
            ]
        );
    }
}
