//! What reached Amazon: whose token every call carried, and whether it was still good.

use std::collections::HashSet;
use std::time::Duration;

use spapi_sidecar::sandbox::Received;
use tokio::time::Instant;

use super::World;
use super::caller::marks;

/// Between two looks at the sandbox's list.
const EVERY: Duration = Duration::from_secs(1);

/// After so many looks a request has its answer, or will have none: the slowest answer takes four seconds.
const LOOKS: usize = 6;

/// What was seen so far.
#[derive(Default)]
pub(super) struct Arrivals {
    /// Up to here every request has been judged.
    until: u64,
    /// The last request of each of the last looks.
    highest: Vec<u64>,
    /// The fingerprints of access tokens and whose each is, as Amazon said when it took them.
    known: HashSet<(String, String)>,
    /// Those on calls of which Amazon said nothing, and whose call it was.
    unsaid: HashSet<(String, String)>,
    pub(super) calls: u64,
    pub(super) exchanges: u64,
}

/// Looks until the time is over, and judges what came.
pub(super) async fn watch(world: &World, until: Instant) -> Arrivals {
    let mut arrivals = Arrivals::default();
    while Instant::now() < until {
        tokio::time::sleep(EVERY).await;
        arrivals.look(world, LOOKS);
    }
    arrivals
}

impl Arrivals {
    /// Judges what is older than so many looks.
    fn look(&mut self, world: &World, looks: usize) {
        let received = world.sidecar.stage.sandbox.received_since(self.until);
        if let Some(first) = received.first()
            && first.n != self.until + 1
        {
            world.found("the sandbox forgot what was never read".to_owned());
        }
        self.highest
            .push(received.last().map_or(self.until, |last| last.n));
        let Some(place) = self.highest.len().checked_sub(looks + 1) else {
            return;
        };
        let ripe = self.highest[place];
        for one in received.iter().filter(|one| one.n <= ripe) {
            self.judge(world, one);
        }
        self.until = self.until.max(ripe);
        self.highest.drain(..place);
    }

    /// Judges what is left, at the end. A fingerprint has 16 bits, so that two tenants' tokens may share one: a token is another's
    /// where it is known as another's and never as its own.
    pub(super) fn end(&mut self, world: &World) {
        self.look(world, 0);
        for (fingerprint, own) in self.unsaid.difference(&self.known) {
            let others = self.known.iter().find(|(known, _)| known == fingerprint);
            if let Some((_, other)) = others {
                world.found(format!("{other}'s token {fingerprint} on a call of {own}"));
            }
        }
    }

    fn judge(&mut self, world: &World, one: &Received) {
        if one.exchange.is_some() {
            self.exchanges += 1;
        }
        let Some((_, tenant)) = marks(&one.target) else {
            return;
        };
        self.calls += 1;
        let Some(token) = &one.token else {
            return world.found(format!("a call without a token: {one:?}"));
        };
        if !one.authorization.as_ref().is_some_and(|it| it.same_token) {
            world.found(format!("two tokens on one call: {one:?}"));
        }
        let own = super::id(tenant);
        let seen = (token.fingerprint.clone(), own.clone());
        let is_access = token.kind == "access";
        match &one.selling_partner {
            Some(partner) if *partner != own => {
                world.found(format!("a token of another than {own}: {one:?}"));
            }
            Some(_) if is_access => {
                self.known.insert(seen);
            }
            // where no token is looked at, as for an echo, it is one that is looked at elsewhere
            None if is_access => {
                self.unsaid.insert(seen);
            }
            Some(_) | None => {}
        }
        // nothing revokes a token here: what Amazon refuses without being told to has expired
        if matches!(one.status, Some(401 | 403)) && one.fault.is_none() {
            world.found(format!("an expired token was sent: {one:?}"));
        }
    }
}
