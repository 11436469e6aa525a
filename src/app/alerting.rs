//! What makes the alerts go: the clock, the dates, the webhook.
//!
//! Job: build the alert room; turn its clock, show it what comes due, carry its notices.
//! Invariants: everything ends with the drain; what the webhook never took is a line of the audit by then.
//! Failure mode: a secret that cannot be used is an error of the start.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::StartError;
use super::hook::Hook;
use super::verdicts::Verdicts;
use crate::alert::due::Due;
use crate::alert::webhook::{self, Carrier, Courier, Patience};
use crate::alert::{AlertKind, Call, Order};
use crate::audit::Text;
use crate::proxy::{Shared, World};
use crate::tenant::{AppId, TenantId};
use crate::verdict::due::{self, DueKind};

/// Between two looks at the clock: what a window turns is said that much late at most.
const TICK: Duration = Duration::from_secs(1);

/// Between two looks at the dates, unless a reload or the store's word comes first: they turn at midnight.
const DATES: Duration = Duration::from_mins(10);

/// What comes due, as of now.
pub(super) type Dues = Arc<dyn Fn() -> Vec<due::Due> + Send + Sync>;

/// Which app each tenant has.
fn apps(world: &World) -> impl Iterator<Item = (TenantId, AppId)> {
    let known = world.tenants.known().into_iter();
    known.map(|tenant| (tenant.id.clone(), tenant.app.clone()))
}

/// Puts the thresholds of the start or of a reload in force.
pub(super) fn configure(shared: &Shared, world: &World) {
    shared.alerts.configure(&world.config, apps(world));
}

/// Starts the way to the webhook, where there is one. `own` are the addresses that we listen on.
pub(super) fn tell(shared: &Shared, world: &World, own: Vec<SocketAddr>) -> Result<(), StartError> {
    let (config, tasks) = (&world.config, &shared.tasks);
    let Some(webhook) = &config.alerts.webhook else {
        return Ok(());
    };
    // read here to be refused here; it is read again for each notice
    drop(webhook::secret(&webhook.secret_file)?);
    let audit = shared.audit.clone();
    let courier = Courier {
        carrier: Hook::new(webhook, &config.upstream, own, tasks)? as Arc<dyn Carrier>,
        secret_file: webhook.secret_file.clone(),
        patience: Patience::default(),
        dead_letters: Box::new(move |notice, attempts, error| {
            let (kind, subject) = (notice.alert.kind.as_str(), &notice.alert.subject);
            let state = notice.turn.as_str();
            tracing::error!(notice = kind, %subject, state, attempts, error, "an alert could not be delivered; the audit has a line of it");
            audit.note(Text::undelivered(kind, subject, state, attempts, error));
        }),
    };
    let (outlet, letters) = mpsc::channel(webhook::MOST_WAITING);
    shared.alerts.tell(outlet);
    let _courier = tasks.control("webhook", courier.run(letters, tasks.stopping()));
    Ok(())
}

/// What credentials meet with is explained as everywhere else.
pub(super) fn explain(shared: &Shared, verdicts: &Arc<Verdicts>) {
    // a strong one would keep both alive for ever
    let verdicts = Arc::downgrade(verdicts);
    let explain = move |tenant: &TenantId| verdicts.upgrade()?.explanation(tenant);
    shared.alerts.explain(Box::new(explain));
}

/// Turns the clock, and looks at the dates. What traffic has seen before is nothing new.
pub(super) fn start(shared: &Arc<Shared>, world: &World, verdicts: &Arc<Verdicts>) {
    configure(shared, world);
    let fleet = Arc::clone(&shared.fleet);
    shared
        .alerts
        .act(Box::new(move |tenant, cause, order| match order {
            Order::SetAside => fleet.quarantine_automatically(tenant, cause),
            Order::Release => fleet.release_automatically(tenant, cause),
        }));
    let seen = shared.recorder.traffic.seen();
    let known: Vec<Call<'_>> = seen
        .iter()
        .map(|(kind, seen)| Call {
            tenant: &kind.tenant,
            method: &kind.method,
            template: &kind.template,
            allowed: seen.requests > seen.refused,
            refused: seen.refused > 0,
        })
        .collect();
    shared.alerts.know_endpoints(&known);
    let (theirs, stop) = (Arc::clone(shared), shared.tasks.stopping());
    let _clock = shared.tasks.control("alerts", async move {
        tokio::select! { () = turn(&theirs) => {}, () = stop => {} }
    });
    let (theirs, stop) = (Arc::clone(shared), shared.tasks.stopping());
    let verdicts = Arc::clone(verdicts);
    let _dates = shared.tasks.control("dates", async move {
        tokio::select! { () = look_at_dates(&theirs, &verdicts) => {}, () = stop => {} }
    });
}

async fn turn(shared: &Shared) {
    loop {
        // its own events may have come before anybody listened
        shared.alerts.audit(shared.audit.state().unavailable);
        shared.alerts.tick();
        tokio::time::sleep(TICK).await;
    }
}

async fn look_at_dates(shared: &Shared, verdicts: &Verdicts) {
    let mut generation = shared.generation.subscribe();
    loop {
        let dues: Vec<Due> = verdicts.dues().into_iter().map(as_alerts_see_it).collect();
        shared.alerts.dues(&dues);
        // whichever comes first, it is time to look again
        tokio::select! {
            _reloaded = generation.changed() => {}
            () = verdicts.ages_were_read() => {}
            () = tokio::time::sleep(DATES) => {}
        }
    }
}

fn as_alerts_see_it(due: due::Due) -> Due {
    let due::Due {
        what,
        subject,
        date,
        days_left,
        owner,
    } = due;
    Due {
        kind: match what {
            DueKind::ChargeMethod => AlertKind::ChargeMethodDue,
            DueKind::ClientSecret => AlertKind::ClientSecretDue,
            DueKind::Authorization => AlertKind::AuthorizationDue,
            DueKind::ProfileReview => AlertKind::ProfileReviewDue,
            DueKind::Ca => AlertKind::CaDue,
        },
        subject,
        date: date.to_string(),
        days_left,
        longest_notice: what.longest_notice(),
        owner,
        remedy: what.remedy(),
    }
}
