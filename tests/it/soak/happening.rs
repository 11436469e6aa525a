//! What happens beside the calls, one thing after the other, and which answers it explains.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::World;
use super::caller::{Called, Outcome};
use crate::support::draw::Draw;
use crate::support::sidecar::{NA, fault};

/// Everything that happens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Kind {
    /// The file changes: a route more, or fewer by one that nobody calls.
    Reload,
    /// The file has a mistake for a while.
    BadReload,
    /// A tenant is killed, and resumed at the end.
    Kill,
    /// The store cannot be read or written.
    StoreAway,
    LwaRefuses,
    LwaHangs,
    LwaResets,
    LwaIsSlow,
    SpApiFails,
    SpApiThrottles,
    SpApiIsSlow,
    SpApiIsTooSlow,
    SpApiResets,
    SpApiDrips,
    SpApiClosesIdle,
}

/// Each of them once.
pub(super) const ALL: [Kind; 15] = [
    Kind::Reload,
    Kind::BadReload,
    Kind::Kill,
    Kind::StoreAway,
    Kind::LwaRefuses,
    Kind::LwaHangs,
    Kind::LwaResets,
    Kind::LwaIsSlow,
    Kind::SpApiFails,
    Kind::SpApiThrottles,
    Kind::SpApiIsSlow,
    Kind::SpApiIsTooSlow,
    Kind::SpApiResets,
    Kind::SpApiDrips,
    Kind::SpApiClosesIdle,
];

/// Something that happened, or goes on.
#[derive(Clone, Debug)]
pub(super) struct Happening {
    pub(super) kind: Kind,
    /// Whom it concerns, where not everybody.
    tenant: Option<usize>,
    from: Instant,
    /// From when on it is in force for certain, and until when.
    in_force: Option<Instant>,
    ending: Option<Instant>,
    to: Option<Instant>,
}

impl Kind {
    /// The fault of the sandbox that it is.
    fn fault(self) -> Option<Value> {
        let sp_api = |mut fault: Value, rate: f64| {
            fault["host"] = json!(NA);
            fault["rate"] = json!(rate);
            Some(fault)
        };
        match self {
            Self::Reload | Self::BadReload | Self::Kill | Self::StoreAway => None,
            Self::LwaRefuses => Some(json!({"lwa_down": "refuse"})),
            Self::LwaHangs => Some(json!({"lwa_down": "hang"})),
            Self::LwaResets => Some(json!({"lwa_down": "reset"})),
            Self::LwaIsSlow => Some(json!({"latency_ms": 800, "host": "api.amazon.com"})),
            Self::SpApiFails => sp_api(json!({"status": 503}), 0.3),
            Self::SpApiThrottles => sp_api(json!({"status": 429}), 0.3),
            Self::SpApiIsSlow => sp_api(json!({"latency_ms": 700}), 0.2),
            Self::SpApiIsTooSlow => sp_api(json!({"latency_ms": 4000}), 0.05),
            Self::SpApiResets => sp_api(json!({"reset_connections": true}), 0.1),
            Self::SpApiDrips => sp_api(json!({"slow_body": 4000}), 0.2),
            Self::SpApiClosesIdle => Some(json!({"close_idle": 20})),
        }
    }

    /// How long it lasts: an outage of LWA or of the store outlives some tokens, or it would be no outage.
    fn lasts(self, pace: Pace, draw: &mut Draw) -> Duration {
        let outage = matches!(self, Self::LwaRefuses | Self::LwaHangs | Self::StoreAway);
        let (shortest, longest) = match (pace, outage) {
            (Pace::Brisk, true) => (2_500, 3_000),
            (Pace::Brisk, false) => (600, 700),
            (Pace::Lasting, true) => (5_000, 10_000),
            (Pace::Lasting, false) => (1_000, 4_000),
        };
        Duration::from_millis(shortest + draw.number() % (longest - shortest))
    }

    /// Whether an answer that is no success is what this leads to.
    fn leads_to(self, outcome: &Outcome) -> bool {
        let code = match outcome {
            Outcome::Served => return true,
            // a shared connection to Amazon that is reset takes answers along that had begun
            Outcome::CutOff => return self == Self::SpApiResets || self == Self::SpApiClosesIdle,
            Outcome::Passed(status) => {
                return matches!(
                    (self, status),
                    (Self::SpApiFails, 503) | (Self::SpApiThrottles, 429)
                );
            }
            Outcome::Refused(code) => &**code,
        };
        match self {
            Self::Reload
            | Self::BadReload
            | Self::LwaIsSlow
            | Self::SpApiIsSlow
            | Self::SpApiDrips => false,
            // a call under way whose exchange the kill ends is given up
            Self::Kill => matches!(
                code,
                "tenant_killed" | "token_unavailable" | "rdt_unavailable"
            ),
            Self::StoreAway | Self::LwaRefuses | Self::LwaHangs | Self::LwaResets => {
                matches!(code, "token_unavailable" | "rdt_unavailable")
            }
            Self::SpApiFails | Self::SpApiThrottles => code == "rdt_unavailable",
            Self::SpApiIsTooSlow => matches!(code, "upstream_timeout" | "rdt_unavailable"),
            Self::SpApiResets | Self::SpApiClosesIdle => {
                matches!(code, "upstream_unreachable" | "rdt_unavailable")
            }
        }
    }
}

/// How things follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// Each once, and at once.
    Brisk,
    /// Every few seconds, until the time is over.
    Lasting,
}

impl Happening {
    /// Whether it can have led to this answer, had it come at its time.
    fn may_explain(&self, called: &Called) -> bool {
        let concerned = self.tenant.is_none_or(|tenant| tenant == called.tenant);
        concerned && self.kind.leads_to(&called.outcome)
    }

    /// Whether a call began and ended while its tenant was killed.
    fn forbids(&self, called: &Called) -> bool {
        self.kind == Kind::Kill
            && self.tenant == Some(called.tenant)
            && self.in_force.is_some_and(|at| called.from > at)
            && self.ending.is_none_or(|at| called.to < at)
    }
}

/// After an exchange that failed the next one waits, at first a second and then twice as long each time, at most this long.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What a call that met the end of something may still take.
const SLACK: Duration = Duration::from_secs(3);

/// Whether an answer is what something of its time leads to.
///
/// What is out of reach is not asked again at once: such a failure outlives its cause, by no more than the cause has lasted. One
/// cause follows another before that is over, and then they count as one.
fn is_explained(happenings: &[Happening], called: &Called) -> bool {
    let pauses =
        matches!(&called.outcome, Outcome::Refused(code) if code.ends_with("_unavailable"));
    let mut episode: Option<(Instant, Instant)> = None;
    for one in happenings.iter().filter(|one| one.may_explain(called)) {
        let since = match episode {
            Some((since, until)) if until >= one.from => since,
            Some(_) | None => one.from,
        };
        let Some(to) = one.to else {
            return called.to >= one.from || episode.is_some_and(|(_, until)| called.from <= until);
        };
        let pause = if pauses {
            LONGEST_PAUSE.min(to - since)
        } else {
            Duration::ZERO
        };
        let until = to + pause + SLACK;
        if called.to >= one.from && called.from <= until {
            return true;
        }
        episode = Some((since, until));
    }
    false
}

/// Why an answer is wrong, if it is, by what happened around its time.
pub(super) fn wrong(happenings: &[Happening], called: &Called) -> Option<String> {
    if called.outcome == Outcome::Served {
        let forbidden = happenings.iter().any(|one| one.forbids(called));
        return forbidden.then(|| format!("a killed tenant was served: {called}"));
    }
    if is_explained(happenings, called) {
        return None;
    }
    let near = happenings.iter().rev().take(5).map(|one| {
        let [from, to] = [Some(one.from), one.to].map(|at| at.map(|at| at.elapsed()));
        format!("{:?} from {from:?} to {to:?} ago", one.kind)
    });
    let near: Vec<String> = near.collect();
    Some(format!(
        "nothing explains {called}; there were {}",
        near.join(", ")
    ))
}

/// Lets things happen until the time is over.
pub(super) async fn carry_on(world: &World, mut draw: Draw, pace: Pace, until: Instant) {
    let mut deck: Vec<Kind> = Vec::new();
    let mut round = 0;
    while Instant::now() < until {
        if deck.is_empty() {
            if pace == Pace::Brisk && round > 0 {
                return;
            }
            deck = ALL.to_vec();
            round += 1;
        }
        let kind = deck.swap_remove(draw.below(deck.len()));
        let lasts = kind.lasts(pace, &mut draw);
        let tenant = (kind == Kind::Kill).then(|| draw.below(super::TENANTS));
        let at = world.note(Happening {
            kind,
            tenant,
            from: Instant::now(),
            in_force: None,
            ending: None,
            to: None,
        });
        begin(world, kind, tenant, round).await;
        world.amend(at, |one| one.in_force = Some(Instant::now()));
        tokio::time::sleep(lasts).await;
        world.amend(at, |one| one.ending = Some(Instant::now()));
        end(world, kind, tenant).await;
        world.amend(at, |one| one.to = Some(Instant::now()));
        let calm = match pace {
            Pace::Brisk => 200,
            Pace::Lasting => 500 + draw.number() % 2_500,
        };
        tokio::time::sleep(Duration::from_millis(calm)).await;
    }
}

async fn begin(world: &World, kind: Kind, tenant: Option<usize>, round: usize) {
    let stage = &world.sidecar.stage;
    if let Some(trouble) = kind.fault() {
        stage.sandbox.fault(fault(&trouble.to_string()));
    } else if let Some(tenant) = tenant {
        act(world, &super::id(tenant), "kill").await;
    } else if kind == Kind::Reload {
        let route = format!(
            "routes: \n  - {{ allow: \"GET /sellers/v1/account\", scope: inventory-and-order-tracking }} # {round}"
        );
        let text = if round % 2 == 1 {
            stage.yaml.replace("routes:", &route)
        } else {
            format!("{}# {round}\n", stage.yaml)
        };
        configure(world, &text);
    } else if kind == Kind::BadReload {
        configure(world, "version: 1\nlisten: { proxy: nonsense }\n");
    } else {
        let sealed = stage.folder.path().join("store.sealed");
        std::fs::rename(&sealed, sealed.with_extension("away")).unwrap();
        // a folder of that name can be neither read nor replaced
        std::fs::create_dir(&sealed).unwrap();
    }
}

async fn end(world: &World, kind: Kind, tenant: Option<usize>) {
    let stage = &world.sidecar.stage;
    if kind.fault().is_some() {
        stage.sandbox.clear_faults();
    } else if let Some(tenant) = tenant {
        act(world, &super::id(tenant), "resume").await;
    } else if kind == Kind::BadReload {
        configure(world, &stage.yaml);
    } else if kind == Kind::StoreAway {
        let sealed = stage.folder.path().join("store.sealed");
        std::fs::remove_dir(&sealed).unwrap();
        std::fs::rename(sealed.with_extension("away"), &sealed).unwrap();
    }
}

/// Replaces the file at once, and says so.
fn configure(world: &World, text: &str) {
    let path = world.sidecar.stage.folder.path().join("proxy.yaml");
    replace(&path, text);
    world.sidecar.hang_up();
}

fn replace(path: &Path, text: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, path).unwrap();
}

async fn act(world: &World, id: &str, action: &str) {
    let path = format!("/api/v1/tenants/{id}/{action}");
    let why = json!({"reason": "INC-1", "by": "ada"});
    let (status, body) = world.operator().post(&path, why).await;
    assert_eq!(status, 200, "{action} {id}: {body}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::caller::What;

    fn called(tenant: usize, [from, to]: [Instant; 2], outcome: Outcome) -> Called {
        Called {
            n: 1,
            tenant,
            what: What::Orders,
            from,
            to,
            outcome,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_wrong_unless_something_of_its_time_and_tenant_leads_to_it() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let happening = |kind, tenant| Happening {
            kind,
            tenant,
            from: at(10),
            in_force: Some(at(11)),
            ending: Some(at(13)),
            to: Some(at(14)),
        };
        let later = Happening {
            from: at(20),
            in_force: None,
            ending: None,
            to: Some(at(22)),
            ..happening(Kind::LwaHangs, None)
        };
        let all = [
            happening(Kind::SpApiFails, None),
            happening(Kind::LwaRefuses, None),
            happening(Kind::Kill, Some(2)),
            later,
        ];
        let killed = || Outcome::Refused("tenant_killed".to_owned());
        let tokenless = || Outcome::Refused("token_unavailable".to_owned());
        for (tenant, seconds, outcome, is_wrong) in [
            (1, [10, 12], Outcome::Passed(503), false),
            (1, [8, 9], Outcome::Passed(503), true),
            (1, [18, 19], Outcome::Passed(503), true),
            (1, [10, 12], Outcome::Passed(500), true),
            (1, [10, 12], Outcome::Passed(403), true),
            (1, [10, 12], Outcome::CutOff, true),
            (1, [9, 9], tokenless(), true),
            (1, [17, 18], tokenless(), false),
            // the two outages are one of twelve seconds
            (1, [36, 37], tokenless(), false),
            (1, [38, 39], tokenless(), true),
            (2, [11, 12], killed(), false),
            (1, [11, 12], killed(), true),
            (2, [12, 12], Outcome::Served, true),
            (2, [10, 12], Outcome::Served, false),
            (2, [12, 14], Outcome::Served, false),
            (1, [12, 12], Outcome::Served, false),
        ] {
            let one = called(tenant, seconds.map(at), outcome);
            assert_eq!(wrong(&all, &one).is_some(), is_wrong, "{one}");
        }
    }
}
