//! What comes due, and what Amazon says has lapsed.
//!
//! Invariants: pure. Amazon's own word counts before the calendar's.
//! Sources: SP-API facts, section 7; the verdicts' own dates.

use std::sync::Arc;

use crate::config::{App, Config, Date, Tenant};
use crate::telemetry;
use crate::verdict::cause::Cause as Verdict;
use crate::verdict::due::{self, Ages, Due, DueKind};
use crate::verdict::facts::{Charge, Standing};

use super::Check;
use super::refused::Common;

const CHARGE: (&str, &str) = ("dates", "charge_method");
const SECRET: (&str, &str) = ("dates", "client_secret");
const AUTHORIZATION: (&str, &str) = ("dates", "authorization");
const REVIEW: (&str, &str) = ("dates", "profile_review");

/// `known` says whether the store told its ages.
pub(super) fn rows(
    config: &Config,
    tenant: &Arc<Tenant>,
    (ages, known): (&Ages, bool),
    common: Option<Common>,
) -> Vec<Check> {
    let now = telemetry::now();
    let app: Vec<App> = config
        .apps
        .iter()
        .filter(|app| app.id == tenant.app)
        .cloned()
        .collect();
    let dues = due::dues(&app, [tenant], ages, None, now);
    let find = |what| dues.iter().find(|due: &&Due| due.what == what);
    let within = config.remind_within();
    let charge = app
        .first()
        .map_or_else(Charge::default, |app| Charge::of(app, Date::of(now)));
    let mut rows = vec![
        charge_method(&charge, common, within, tenant),
        client_secret(find(DueKind::ClientSecret), common, within, tenant),
        if known {
            authorization(find(DueKind::Authorization), within, tenant)
        } else {
            Check::skip(AUTHORIZATION, "rests on `grant`")
        },
    ];
    // where nobody wrote down a date there is nothing to remind of
    rows.extend(find(DueKind::ProfileReview).map(|due| dated(REVIEW, due, within)));
    rows
}

fn charge_method(charge: &Charge, common: Option<Common>, within: i64, tenant: &Tenant) -> Check {
    let soon = charge.days_left.is_some_and(|days| days <= within);
    match (charge.standing, common) {
        (Standing::Lapsed | Standing::Declined, _) => Check::fail(
            CHARGE,
            charge.line(),
            Verdict::ChargeMethodLapsed.next_step(tenant),
        ),
        (_, Some(Common::Charge)) => Check::fail(
            CHARGE,
            format!(
                "Amazon refuses every call with a good token; {}",
                charge.line()
            ),
            format!(
                "{}; and whether the authorization has any role at all",
                Verdict::ChargeMethodSuspected.next_step(tenant)
            ),
        ),
        (Standing::Unknown, _) => Check::warn(
            CHARGE,
            charge.line(),
            "write `charge_method: { status, expires, owner }` of the app into the configuration",
        ),
        (Standing::Valid | Standing::Suspected, _) if soon => {
            Check::warn(CHARGE, charge.line(), DueKind::ChargeMethod.remedy())
        }
        (Standing::Valid | Standing::Suspected, _) => Check::pass(CHARGE, charge.line()),
    }
}

fn client_secret(due: Option<&Due>, common: Option<Common>, within: i64, tenant: &Tenant) -> Check {
    let lapsed = Verdict::ClientSecretLapsed.next_step(tenant);
    match (due, common) {
        (_, Some(Common::Secret)) => Check::fail(
            SECRET,
            "Amazon says that the client secret has expired",
            lapsed,
        ),
        (None, _) => Check::warn(
            SECRET,
            "nothing says how old it is",
            "write the day it was made to `apps[].client_secret_rotated`",
        ),
        (Some(due), _) if due.days_left < 0 => Check::fail(SECRET, line(due), lapsed),
        (Some(due), _) => dated(SECRET, due, within),
    }
}

fn authorization(due: Option<&Due>, within: i64, tenant: &Tenant) -> Check {
    match due {
        None => Check::warn(
            AUTHORIZATION,
            "the store does not say how old it is",
            format!(
                "write its day to `authorized_at` of tenants/{}/grant",
                tenant.id
            ),
        ),
        Some(due) => dated(AUTHORIZATION, due, within),
    }
}

/// A date that only reminds. The last day itself still counts.
fn dated(at: (&'static str, &'static str), due: &Due, within: i64) -> Check {
    if due.is_soon(within) {
        Check::warn(at, line(due), due.what.remedy())
    } else {
        Check::pass(at, line(due))
    }
}

fn line(due: &Due) -> String {
    match due.days_left {
        days if days < 0 => format!("{} days past {}", -days, due.date),
        days => format!("good until {}, {days} days", due.date),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Tenants;
    use crate::preflight::Outcome;
    use crate::tenant::AppId;

    fn config(app: &str) -> Config {
        let text = format!(
            "version: 1\nstore: {{ file: {{ path: /x/s, key_file: /x/k }} }}\napps: [{{ id: erp, {app} }}]\ntenants: [{{ id: acme, app: erp, region: na }}]\n"
        );
        Config::parse("proxy.yaml", &text, &|_| None).unwrap_or_else(|faults| panic!("{faults}"))
    }

    fn day(days: i64) -> String {
        Date::of(telemetry::now()).plus_days(days).to_string()
    }

    fn said(app: &str, ages: &Ages, common: Option<Common>) -> Vec<(&'static str, &'static str)> {
        let config = config(app);
        let Tenants::Listed(tenants) = &config.tenants else {
            panic!("they are listed")
        };
        let rows = rows(&config, &tenants[0], (ages, true), common);
        for row in &rows {
            assert_eq!(
                row.remedy.is_empty(),
                row.outcome == Outcome::Pass,
                "{row:?}"
            );
        }
        rows.iter()
            .map(|row| (row.name, row.outcome.as_str()))
            .collect()
    }

    #[test]
    fn the_calendar_and_amazons_word_make_the_rows() {
        let (acme, erp) = (
            crate::tenant::TenantId::parse("acme").unwrap(),
            AppId::parse("erp").unwrap(),
        );
        let ages = |secret: i64, grant: i64| Ages {
            secrets: [(erp.clone(), Date::parse(&day(secret)).unwrap())].into(),
            authorizations: [(acme.clone(), Date::parse(&day(grant)).unwrap())].into(),
        };
        let good = format!("charge_method: {{ expires: {} }}", day(200));
        for (app, ages, common, want) in [
            (good.as_str(), ages(-1, -1), None, ["pass", "pass", "pass"]),
            (
                "client_secret_rotated: null",
                Ages::default(),
                None,
                ["warn", "warn", "warn"],
            ),
            (
                &good,
                ages(-1, -1),
                Some(Common::Charge),
                ["fail", "pass", "pass"],
            ),
            (
                &good,
                ages(-1, -1),
                Some(Common::Secret),
                ["pass", "fail", "pass"],
            ),
            (&good, ages(-181, -366), None, ["pass", "fail", "warn"]),
            (&good, ages(-150, -330), None, ["pass", "warn", "warn"]),
            (
                "charge_method: { status: declined }",
                ages(-1, -1),
                None,
                ["fail", "pass", "pass"],
            ),
            (
                &format!("charge_method: {{ expires: {} }}", day(-1)),
                ages(-1, -1),
                None,
                ["fail", "pass", "pass"],
            ),
            (
                &format!("charge_method: {{ expires: {} }}", day(3)),
                ages(-1, -1),
                None,
                ["warn", "pass", "pass"],
            ),
        ] {
            let outcomes: Vec<&str> = said(app, &ages, common)
                .iter()
                .map(|(_, outcome)| *outcome)
                .collect();
            assert_eq!(outcomes, want, "{app} {common:?}");
        }
        let review = said(
            &format!("{good}, developer_profile_review: {}", day(3)),
            &ages(-1, -1),
            None,
        );
        assert_eq!(review.last(), Some(&("profile_review", "warn")));
    }
}
