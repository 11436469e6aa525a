//! Looking at the fleet's record, again and again.
//!
//! Job: write what is left to be written, read the record, put it in force, take away what is left of the killed.
//! Invariants: a look never follows an older one; what holds here holds until the record says so itself.
//! Failure mode: without the store everything stays as it was, but for break-glasses, whose time passes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Fleet;
use super::change::Change;
use super::view::View;
use crate::store::StoreError;
use crate::store::fleet::FleetRecord;
use crate::tenant::{TenantId, TenantState};

/// Shortest time between two looks at the record; the longest is [`SPREAD`] more. With a read of at most 2 s that is below
/// the 10 s within which the fleet follows.
const LOOK: Duration = Duration::from_secs(3);

/// See [`LOOK`].
const SPREAD: Duration = Duration::from_secs(4);

/// Pause between two looks before the record has been read for the first time.
const FIRST_LOOKS: Duration = Duration::from_millis(500);

impl Fleet {
    /// Keeps the record in force for as long as it is polled. Never ends.
    pub async fn keep(&self) {
        loop {
            self.look().await;
            let pause = if self.is_known() {
                LOOK + SPREAD.mul_f64(rand::random())
            } else {
                FIRST_LOOKS
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Writes what is left to be written, then reads the record and puts it in force.
    pub(super) async fn look(&self) {
        let unwritten: Vec<Change> = self
            .desk()
            .unwritten
            .values()
            .map(|(change, _)| change.clone())
            .collect();
        for change in unwritten {
            let tenant = change.tenant().map(TenantId::as_str);
            match self.make(&change).await {
                Ok(_) => {
                    tracing::info!(
                        tenant,
                        "what could not be written before is in the fleet's record now"
                    );
                }
                Err(error) => {
                    tracing::warn!(tenant, %error, "what holds here is still not in the fleet's record");
                    // the others would wait for the same store
                    break;
                }
            }
        }
        let _turn = self.turn.lock().await;
        let read = FleetRecord::load(&*self.store).await;
        self.read_or_not(read.as_ref().err());
        let was_read = read.is_ok();
        let turn = {
            let mut desk = self.desk();
            if let Ok((record, _)) = read {
                desk.record = record;
            }
            // time passes for a break-glass, whatever the store does
            self.put_in_force(&desk)
        };
        self.say(&turn, None);
        self.take_away_again();
        if was_read {
            self.was_read();
        }
        self.looked.send_replace(true);
        if was_read && let Err(error) = self.empty_records().await {
            tracing::warn!(%error, "a killed tenant's token records are still not emptied");
        }
    }

    /// Logs it when the record can be read after it could not, or the other way round. The store itself is watched elsewhere.
    fn read_or_not(&self, error: Option<&StoreError>) {
        let up = error.is_none();
        let before = self.desk().up.replace(up);
        if before == Some(up) {
            return;
        }
        match error {
            Some(error) => {
                tracing::warn!(%error, cause = error.cause(), store = self.store.describe(), "the fleet's record cannot be read; tenants' states stay as they were");
            }
            None if before.is_some() => tracing::info!("the fleet's record can be read again"),
            None => {}
        }
    }

    fn was_read(&self) {
        if !self.is_known() {
            let _desk = self.desk();
            let known = View {
                known: true,
                ..View::clone(&self.view.load())
            };
            self.view.store(Arc::new(known));
            self.known.send_replace(true);
        }
    }

    /// Takes away what has landed since.
    fn take_away_again(&self) {
        let now = Instant::now();
        let mut desk = self.desk();
        let landed = desk.landing.extract_if(.., |_, when| *when <= now);
        let landed: Vec<TenantId> = landed.map(|(tenant, _)| tenant).collect();
        for tenant in landed {
            if let Some(holdings) = self.holdings.get()
                && self.state(&tenant) == TenantState::Killed
            {
                holdings.forget(&tenant);
                desk.unemptied.insert(tenant);
            }
        }
    }
}
