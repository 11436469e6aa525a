use std::sync::Arc;
use std::time::SystemTime;

use super::*;
use crate::alert::due::Due;
use crate::alert::quarantine::Order;
use crate::config::{Config, Tenants};
use crate::telemetry::Sink;
use crate::telemetry::event::Events;
use crate::telemetry::record::{Recorder, RequestId};
use crate::tenant::AppId;

const YAML: &str = "
version: 1
store: { file: { path: /x/s, key_file: /x/k } }
apps:
  - id: erp
    charge_method: { status: valid, expires: 2027-03, owner: finance@example.com }
  - id: other
tenants:
  - { id: acme, app: erp, region: na }
  - { id: beta, app: erp, region: na }
  - { id: gamma, app: other, region: na }
alerts: { auth_errors: { count: 4, window: 5m }, refresh_failures: 2, freshness_slo: 99%, reminders: [60d, 7d] }
";

/// The rules with who looks at requests before them, as [`super::super::Alerts`] has them; the board, and a clock that the test
/// turns.
struct Scene {
    ordinary: Ordinary,
    rules: Rules,
    board: Board,
    seconds: u64,
}

fn settings(yaml: &str) -> Settings {
    let config = Config::parse("proxy.yaml", yaml, &|_| None);
    let config = config.unwrap_or_else(|faults| panic!("{faults}"));
    let Tenants::Listed(tenants) = &config.tenants else {
        panic!("they are listed")
    };
    let apps = tenants
        .iter()
        .map(|tenant| (tenant.id.clone(), tenant.app.clone()));
    Settings::new(&config, apps)
}

fn id(text: &str) -> TenantId {
    TenantId::parse(text).unwrap()
}

impl Scene {
    fn set() -> Self {
        let rules = Rules::new(settings(YAML));
        Self {
            ordinary: rules.ordinary(),
            rules,
            board: Board::default(),
            seconds: 1_000,
        }
    }

    fn now(&self) -> Moment {
        let at = Duration::from_secs(self.seconds);
        Moment {
            at,
            wall: SystemTime::UNIX_EPOCH + at,
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Rules, &mut Board, Moment)) {
        let now = self.now();
        self.rules.add_ordinary(self.ordinary.take(), now);
        change(&mut self.rules, &mut self.board, now);
        self.ordinary.awaits(self.rules.awaits_good_calls());
    }

    fn event(&mut self, event: &Event<'_>) {
        if let Event::Request(record) = event
            && self.ordinary.counts(record)
        {
            return;
        }
        self.change(|rules, board, now| rules.event(event, board, now));
    }

    /// A request that ended.
    fn request(&mut self, tenant: &str, change: impl FnOnce(&mut Record)) {
        let mut record = record(tenant);
        change(&mut record);
        self.event(&Event::Request(&record));
    }

    fn denied(&mut self, tenant: &str, status: u16, denial: Denial) {
        self.event(&Event::Denied {
            tenant: &id(tenant),
            operation: "getOrders",
            status,
            denial,
            token_kind: "access",
        });
    }

    fn exchange(
        &mut self,
        tenant: &str,
        kind: &'static str,
        result: Result<Duration, &'static str>,
    ) {
        self.event(&Event::Exchange(Exchange {
            tenant: &id(tenant),
            app: Some(&AppId::parse("erp").unwrap()),
            kind,
            forced: false,
            result,
            shared: false,
        }));
    }

    /// Lets this many seconds pass.
    fn later(&mut self, seconds: u64) {
        self.seconds += seconds;
        self.change(Rules::tick);
    }

    fn dues(&mut self, dues: &[Due]) {
        self.change(|rules, board, now| rules.dues(dues, board, now));
    }

    /// What turned since the last look: `+` for firing, `-` for cleared.
    fn said(&mut self) -> Vec<String> {
        let notices = self.board.take_notices().into_iter();
        notices
            .map(|notice| {
                let sign = if notice.turn.as_str() == "firing" {
                    '+'
                } else {
                    '-'
                };
                format!("{sign}{} {}", notice.alert.kind, notice.alert.subject)
            })
            .collect()
    }

    fn detail(&self) -> String {
        self.board.active().last().unwrap().detail.clone()
    }
}

fn record(tenant: &str) -> Box<Record> {
    let recorder = Recorder {
        sink: Sink::discard(),
        release: "dev".into(),
        traffic: Arc::default(),
        events: Events::default(),
        pretty: false,
    };
    let mut record = Record::open(
        Arc::new(recorder),
        RequestId(1),
        "sellingpartnerapi-na.amazon.com".into(),
        http::Method::GET,
    );
    record.tenant = Some(id(tenant));
    record.operation = "getOrders".into();
    record.outcome = Outcome::Forwarded;
    record.status = 200;
    record.attempts = 1;
    record
}

#[test]
fn auth_errors_fire_at_the_threshold_with_the_charge_method_beside_them_and_clear_below_half_of_it()
{
    let mut scene = Scene::set();
    for _ in 0..3 {
        scene.denied("acme", 401, Denial::Unauthenticated);
    }
    scene.denied("beta", 403, Denial::Role);
    scene.denied("acme", 429, Denial::Throttled);
    assert_eq!(scene.said(), [""; 0]);
    scene.later(60);
    scene.denied("acme", 403, Denial::Role);
    scene.denied("acme", 403, Denial::Role);
    assert_eq!(scene.said(), ["+auth_errors acme"]);
    let detail = scene.detail();
    assert!(
        detail.contains("5 answers of 401 or 403 within 5m"),
        "{detail}"
    );
    assert!(detail.contains("403 role_missing to getOrders"), "{detail}");
    assert!(
        detail.contains("charge method of app erp: valid through 2027-03-31"),
        "{detail}"
    );
    scene.later(239);
    assert_eq!(scene.said(), [""; 0], "two are left, which is half");
    scene.later(61);
    assert_eq!(scene.said(), ["-auth_errors acme"]);
}

#[test]
fn refreshes_that_fail_in_a_row_fire_and_one_that_succeeds_clears() {
    let mut scene = Scene::set();
    let ok = Ok(Duration::from_secs(3600));
    for (kind, result, want) in [
        ("access", Err("lwa_unreachable"), ""),
        ("access", ok, ""),
        ("access", Err("lwa_unreachable"), ""),
        ("grantless", Err("lwa_unreachable"), ""),
        ("rdt", Err("rdt_refused"), ""),
        ("access", Err("lwa_unreachable"), "+refresh_failing acme"),
        ("access", Err("lwa_unreachable"), ""),
        ("grantless", ok, ""),
        ("access", ok, "-refresh_failing acme"),
    ] {
        scene.exchange("acme", kind, result);
        assert_eq!(scene.said().join(" "), want, "{kind} {result:?}");
    }
}

#[test]
fn a_revoked_grant_sets_the_tenant_aside_and_a_good_exchange_releases_it() {
    let mut scene = Scene::set();
    scene.exchange("acme", "access", Err("grant_revoked"));
    scene.exchange("acme", "access", Err("lwa_unreachable"));
    scene.exchange("acme", "grantless", Ok(Duration::ZERO));
    let orders = scene.rules.quarantines.take_orders();
    let cause = QuarantineCause::GrantRevoked;
    assert_eq!(orders, [(id("acme"), cause, Order::SetAside)]);
    scene.exchange("acme", "access", Ok(Duration::ZERO));
    let orders = scene.rules.quarantines.take_orders();
    assert_eq!(orders, [(id("acme"), cause, Order::Release)]);
}

#[test]
fn freshness_fires_when_both_windows_burn_and_not_for_a_cold_start() {
    let mut scene = Scene::set();
    let ask = |scene: &mut Scene, was_waiting| {
        scene.request("acme", |record| {
            record.token_was_waiting = Some(was_waiting)
        });
    };
    for _ in 0..4 {
        ask(&mut scene, false);
    }
    scene.later(1);
    assert_eq!(scene.said(), [""; 0], "four misses are a cold start");
    for n in 0..200 {
        ask(&mut scene, n % 4 != 0);
    }
    scene.later(1);
    // of 1 % allowed, a quarter missed: both pairs of windows burn
    assert_eq!(
        scene.said(),
        ["+freshness_slo sidecar", "+freshness_slo sidecar"]
    );
    assert!(
        scene.detail().contains("times too fast"),
        "{}",
        scene.detail()
    );
    scene.later(400);
    assert_eq!(
        scene.said(),
        ["-freshness_slo sidecar"],
        "the five minutes are over"
    );
    scene.later(1_800);
    assert_eq!(scene.said(), ["-freshness_slo sidecar"]);
}

#[test]
fn the_first_call_and_the_first_refusal_of_a_route_fire_once_and_clear_after_an_hour() {
    let mut scene = Scene::set();
    let call = |scene: &mut Scene, template: &str, outcome, reason| {
        scene.request("acme", |record| {
            record.template = template.into();
            record.outcome = outcome;
            record.reason = reason;
        });
    };
    for _ in 0..2 {
        call(&mut scene, "/a", Outcome::Forwarded, None);
        call(
            &mut scene,
            "/b",
            Outcome::Refused,
            Some(Reason::RouteDenied),
        );
        call(&mut scene, "", Outcome::Refused, Some(Reason::EgressDenied));
    }
    assert_eq!(scene.said(), ["+new_endpoint acme", "+new_endpoint acme"]);
    assert!(
        scene.detail().contains("GET /b (route_denied)"),
        "{}",
        scene.detail()
    );
    scene.later(3_599);
    assert_eq!(scene.said(), [""; 0]);
    scene.later(1);
    assert_eq!(scene.said(), ["-new_endpoint acme", "-new_endpoint acme"]);
}

#[test]
fn a_phantom_that_nobody_uses_for_ten_minutes_is_a_bypass_until_a_call_comes() {
    let mut scene = Scene::set();
    let (acme, beta) = (id("acme"), id("beta"));
    for tenant in [&acme, &beta] {
        scene.event(&Event::PhantomVended {
            tenant: Some(tenant),
        });
    }
    scene.request("beta", |_| {});
    // the token request's own record is no call
    scene.request("acme", |record| record.operation = "token".into());
    scene.later(599);
    assert_eq!(scene.said(), [""; 0]);
    scene.event(&Event::PhantomVended {
        tenant: Some(&acme),
    });
    scene.later(1);
    assert_eq!(scene.said(), ["+bypass_suspected acme"]);
    scene.later(5);
    scene.request("acme", |record| record.outcome = Outcome::Refused);
    assert_eq!(scene.said(), ["-bypass_suspected acme"]);
    scene.later(10_000);
    assert_eq!(scene.said(), [""; 0]);
}

#[test]
fn amazon_failing_for_half_of_the_calls_is_an_incident_until_calls_succeed_again() {
    let mut scene = Scene::set();
    let answer = |scene: &mut Scene, status, reason: Option<Reason>| {
        scene.request("acme", |record| {
            (record.status, record.reason) = (status, reason);
        });
    };
    for n in 0..10 {
        answer(&mut scene, 200, None);
        let (status, reason) = if n % 2 == 0 {
            (503, None)
        } else {
            (504, Some(Reason::UpstreamTimeout))
        };
        // what was answered here is not Amazon's fault
        scene.request("acme", |record| {
            record.attempts = 0;
            record.status = 503;
        });
        answer(&mut scene, status, reason);
    }
    scene.later(1);
    assert_eq!(scene.said(), ["+upstream_incident amazon"]);
    for _ in 0..60 {
        answer(&mut scene, 200, None);
    }
    scene.later(1);
    assert_eq!(scene.said(), [""; 0], "one in eight still fails");
    scene.later(300);
    assert_eq!(scene.said(), ["-upstream_incident amazon"]);
}

#[test]
fn fresh_tokens_refused_for_two_tenants_at_once_are_an_incident_and_for_one_are_its_own_trouble() {
    let mut scene = Scene::set();
    let refused = |scene: &mut Scene, tenant| {
        scene.request(tenant, |record| {
            (record.status, record.reason) = (403, Some(Reason::TokenRefused));
        });
        scene.later(1);
    };
    refused(&mut scene, "acme");
    refused(&mut scene, "acme");
    assert_eq!(scene.said(), [""; 0]);
    refused(&mut scene, "beta");
    assert_eq!(scene.said(), ["+upstream_incident amazon"]);
    scene.request("beta", |_| {});
    scene.later(1);
    assert_eq!(scene.said(), ["-upstream_incident amazon"]);
}

#[test]
fn states_break_glass_real_tokens_and_the_audit_say_when_they_begin_and_end() {
    let mut scene = Scene::set();
    let acme = id("acme");
    for (state, want) in [
        (TenantState::Quarantined, "+tenant_quarantined acme"),
        (TenantState::Quarantined, ""),
        (TenantState::Active, "-tenant_quarantined acme"),
        (TenantState::Killed, ""),
    ] {
        scene.event(&Event::State {
            tenant: &acme,
            state,
            reason: "r",
            by: "ops",
        });
        assert_eq!(scene.said().join(" "), want, "{state:?}");
    }
    let allow = ["GET /x".to_owned()];
    for (what, want) in [
        (BreakGlassPhase::Opened, ""),
        (BreakGlassPhase::Used, "+break_glass_used acme"),
        (BreakGlassPhase::Used, ""),
        (BreakGlassPhase::Expired, "-break_glass_used acme"),
    ] {
        scene.event(&Event::BreakGlass {
            tenant: &acme,
            allow: &allow,
            what,
            reason: "r",
            by: "ops",
        });
        assert_eq!(scene.said().join(" "), want, "{what:?}");
    }
    for (cause, want) in [
        (Some("disk_full"), "+audit_unavailable audit"),
        (Some("disk_full"), ""),
        (None, "-audit_unavailable audit"),
    ] {
        scene.event(&Event::Audit { cause });
        assert_eq!(scene.said().join(" "), want, "{cause:?}");
    }
    for (over, want) in [
        (false, "+grant_not_stored acme"),
        (true, "-grant_not_stored acme"),
    ] {
        let tenant = &acme;
        scene.event(&Event::GrantNotStored { tenant, over });
        assert_eq!(scene.said().join(" "), want, "{over}");
    }
    for _ in 0..2 {
        scene.event(&Event::RealTokenSeen {
            tenant: Some(&acme),
        });
    }
    scene.event(&Event::RealTokenSeen { tenant: None });
    assert_eq!(
        scene.said(),
        [
            "+app_holds_real_token acme",
            "+app_holds_real_token unknown"
        ]
    );
    scene.denied("acme", 403, Denial::SecretLapsed);
    assert_eq!(scene.said(), ["+client_secret_due erp"]);
    scene.later(SECRET_QUIET.as_secs());
    assert_eq!(scene.said(), ["-client_secret_due erp"]);
}

fn due(kind: AlertKind, subject: &str, days_left: i64) -> Due {
    Due {
        kind,
        subject: subject.to_owned(),
        date: "2027-03-31".to_owned(),
        days_left,
        longest_notice: i64::MAX,
        owner: None,
        remedy: "mend it",
    }
}

#[test]
fn dates_are_reminded_of_at_each_step_and_clear_when_they_move() {
    let mut scene = Scene::set();
    for (days_left, want) in [
        (61, ""),
        (60, "+client_secret_due erp"),
        (59, ""),
        (7, "+client_secret_due erp"),
        (0, ""),
        (-1, "+client_secret_due erp"),
        (180, "-client_secret_due erp"),
    ] {
        scene.dues(&[
            due(AlertKind::ClientSecretDue, "erp", days_left),
            due(AlertKind::CaDue, "ca", 300),
        ]);
        assert_eq!(scene.said().join(" "), want, "{days_left}");
    }
}

#[test]
fn a_lapsed_or_declined_charge_method_sets_the_apps_tenants_aside_until_it_is_mended() {
    let mut scene = Scene::set();
    let charge = |days| [due(AlertKind::ChargeMethodDue, "erp", days)];
    let orders = |scene: &mut Scene| -> Vec<String> {
        let orders = scene.rules.quarantines.take_orders().into_iter();
        let mut orders: Vec<String> = orders
            .map(|(tenant, _, order)| format!("{order:?} {tenant}"))
            .collect();
        orders.sort();
        orders
    };
    scene.dues(&charge(100));
    assert_eq!(
        orders(&mut scene),
        ["Release acme", "Release beta", "Release gamma"]
    );
    scene.dues(&charge(0));
    assert_eq!(orders(&mut scene), [""; 0]);
    scene.dues(&charge(-1));
    assert_eq!(orders(&mut scene), ["SetAside acme", "SetAside beta"]);
    scene.said();
    let declined = settings(&YAML.replace("status: valid", "status: declined"));
    scene.rules.configure(declined, &mut scene.board);
    scene.dues(&charge(100));
    assert_eq!(orders(&mut scene), [""; 0]);
    assert_eq!(
        scene.said(),
        ["-charge_method_due erp", "+charge_method_due erp"]
    );
    scene.rules.configure(settings(YAML), &mut scene.board);
    scene.dues(&charge(100));
    assert_eq!(orders(&mut scene), ["Release acme", "Release beta"]);
    assert_eq!(scene.said(), ["-charge_method_due erp"]);
}

#[test]
fn what_a_reload_takes_away_does_not_fire_for_ever() {
    let mut scene = Scene::set();
    for _ in 0..4 {
        scene.denied("gamma", 401, Denial::Unauthenticated);
    }
    assert_eq!(scene.said(), ["+auth_errors gamma"]);
    let without = YAML.replace("  - { id: gamma, app: other, region: na }\n", "");
    scene.rules.configure(settings(&without), &mut scene.board);
    assert_eq!(scene.said(), ["-auth_errors gamma"]);
}

#[test]
fn a_call_of_a_known_kind_is_counted_without_the_rules_unless_one_of_them_waits_for_it() {
    let mut scene = Scene::set();
    let counted = |scene: &Scene| {
        let record = served("acme");
        scene.ordinary.counts(&record)
    };
    assert!(!counted(&scene), "the first of its kind");
    scene.event(&Event::Request(&served("acme")));
    assert!(counted(&scene), "the second");
    scene.event(&Event::PhantomVended {
        tenant: Some(&id("acme")),
    });
    assert!(!counted(&scene), "a phantom waits to be used");
    scene.event(&Event::Request(&served("acme")));
    assert!(counted(&scene), "it was used");
    scene.later(1);
    let (missed, all) = scene.rules.fresh[0].sum(Duration::from_secs(scene.seconds));
    assert_eq!((missed, all), (0, 4), "each is in the windows");
}

/// A call that upstream served, with a token that waited for it.
fn served(tenant: &str) -> Box<Record> {
    let mut record = record(tenant);
    record.template = "/orders/v0/orders".into();
    record.token_was_waiting(true);
    record
}
