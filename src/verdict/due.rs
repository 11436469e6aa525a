//! What comes due, and when.
//!
//! Job: from dates in the configuration and the store, the days left to each: charge method, client secret, authorization,
//! developer profile, CA.
//! Invariants: pure; a date that nobody knows is left out, never guessed; the last day itself still counts (0 days left),
//! the day after is -1.
//! Sources: SP-API facts, section 7 (client secrets are rotated every 180 days, authorizations renewed every 365).

use std::collections::HashMap;
use std::time::SystemTime;

use crate::config::{App, Date, Tenant};
use crate::tenant::{AppId, TenantId};

/// Days after which Amazon lets a client secret lapse.
pub const SECRET_DAYS: i64 = 180;

/// Days after which a selling partner has to authorize the application again.
pub const AUTHORIZATION_DAYS: i64 = 365;

/// What comes due.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum DueKind {
    /// What Amazon charges the app's fees to is good until then.
    ChargeMethod,
    /// The app's client secret has to be rotated by then.
    ClientSecret,
    /// The selling partner has to authorize the app again by then.
    Authorization,
    /// The app's developer profile is reviewed then.
    ProfileReview,
    /// The sidecar's own CA is valid until then.
    Ca,
}

impl DueKind {
    /// The name of the alert that reminds of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChargeMethod => "charge_method_due",
            Self::ClientSecret => "client_secret_due",
            Self::Authorization => "authorization_due",
            Self::ProfileReview => "profile_review_due",
            Self::Ca => "ca_due",
        }
    }

    /// Days before it from which it is worth speaking of at all. A CA lives for `interception.ca.valid_for`, a month by
    /// default: with the notice that a year's date gets, it would be spoken of from its first day.
    #[must_use]
    pub const fn longest_notice(self) -> i64 {
        match self {
            Self::Ca => 7,
            Self::ChargeMethod | Self::ClientSecret | Self::Authorization | Self::ProfileReview => {
                i64::MAX
            }
        }
    }

    /// What a person does about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::ChargeMethod => {
                "renew the charge method in the developer console, then write its new month to `apps[].charge_method.expires`"
            }
            Self::ClientSecret => {
                "rotate the client secret in the developer console, store it with `spapi-sidecar app put`, and write the day to `apps[].client_secret_rotated`"
            }
            Self::Authorization => {
                "have the selling partner authorize the application again (`spapi-sidecar authorize TENANT`)"
            }
            Self::ProfileReview => {
                "review the developer profile, then write the next date to `apps[].developer_profile_review`"
            }
            Self::Ca => {
                "restart the sidecar (mode ephemeral), or let it make a new CA before the old one ends; programs then read the new CA file"
            }
        }
    }
}

/// One date that comes due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Due {
    /// What.
    pub what: DueKind,
    /// The app's or tenant's id; `ca` for the CA.
    pub subject: String,
    /// The last day on which all is well.
    pub date: Date,
    /// Days until then; negative afterwards.
    pub days_left: i64,
    /// Who mends it, where the configuration names somebody.
    pub owner: Option<String>,
}

impl Due {
    /// Whether a reminder that is given `within` so many days of the date is given now.
    #[must_use]
    pub const fn is_soon(&self, within: i64) -> bool {
        self.days_left <= within && self.days_left <= self.what.longest_notice()
    }
}

/// Days that only the store knows.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Ages {
    /// When each app's client secret was put into the store (`rotated_at`).
    pub secrets: HashMap<AppId, Date>,
    /// When each tenant's authorization was given (`authorized_at`).
    pub authorizations: HashMap<TenantId, Date>,
}

/// Everything that comes due, the soonest first. Where the file says when a client secret was made, its word counts before
/// the store's: an old secret may have been put there lately.
#[must_use]
pub fn dues(
    apps: &[App],
    tenants: impl IntoIterator<Item = impl AsRef<Tenant>>,
    ages: &Ages,
    ca_end: Option<SystemTime>,
    now: SystemTime,
) -> Vec<Due> {
    let today = Date::of(now);
    let due = |what, subject: &str, date: Date, owner: Option<&String>| Due {
        what,
        subject: subject.to_owned(),
        date,
        days_left: date.days_after(today),
        owner: owner.cloned(),
    };
    let of_app = |app: &App| {
        let (id, charge) = (app.id.as_str(), app.charge_method.as_ref());
        let owner = charge.and_then(|charge| charge.owner.as_ref());
        let card = charge.and_then(|charge| charge.expires);
        let made = secret_made(app, ages);
        [
            card.map(|day| due(DueKind::ChargeMethod, id, day, owner)),
            made.map(|day| due(DueKind::ClientSecret, id, day.plus_days(SECRET_DAYS), None)),
            app.developer_profile_review
                .map(|day| due(DueKind::ProfileReview, id, day, None)),
        ]
    };
    let of_tenant = |tenant: &Tenant| {
        let given = ages.authorizations.get(&tenant.id)?;
        let last = given.plus_days(AUTHORIZATION_DAYS);
        Some(due(DueKind::Authorization, tenant.id.as_str(), last, None))
    };
    let mut all: Vec<Due> = apps.iter().flat_map(of_app).flatten().collect();
    let tenants = tenants.into_iter();
    all.extend(tenants.filter_map(|tenant| of_tenant(tenant.as_ref())));
    all.extend(ca_end.map(|end| due(DueKind::Ca, "ca", Date::of(end), None)));
    all.sort_by(|a, b| (a.date, a.what, &a.subject).cmp(&(b.date, b.what, &b.subject)));
    all
}

/// Days left, by what is due and to whom.
#[must_use]
pub fn days(dues: &[Due]) -> HashMap<(DueKind, &str), i64> {
    dues.iter()
        .map(|due| ((due.what, due.subject.as_str()), due.days_left))
        .collect()
}

/// The day on which an app's client secret was made, as far as it is known.
fn secret_made(app: &App, ages: &Ages) -> Option<Date> {
    app.client_secret_rotated
        .or_else(|| ages.secrets.get(&app.id).copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Tenants};

    fn config() -> Config {
        let text = "
version: 1
store: { file: { path: /x/s, key_file: /x/k } }
apps:
  - id: erp
    charge_method: { status: valid, expires: 2027-03, owner: finance@example.com }
    client_secret_rotated: 2026-09-01
    developer_profile_review: 2027-01-15
  - id: bare
tenants:
  - { id: acme, app: erp, region: na }
  - { id: beta, app: bare, region: na }
";
        Config::parse("proxy.yaml", text, &|_| None).unwrap_or_else(|faults| panic!("{faults}"))
    }

    fn at(day: &str) -> SystemTime {
        humantime::parse_rfc3339(&format!("{day}T13:00:00Z")).unwrap()
    }

    fn said(ages: &Ages, ca_end: Option<SystemTime>, now: &str) -> Vec<String> {
        let config = config();
        let Tenants::Listed(tenants) = &config.tenants else {
            panic!("they are listed")
        };
        dues(&config.apps, tenants, ages, ca_end, at(now))
            .into_iter()
            .map(|due| {
                format!(
                    "{} {} {} {} {}",
                    due.what.as_str(),
                    due.subject,
                    due.date,
                    due.days_left,
                    due.owner.unwrap_or_default()
                )
            })
            .collect()
    }

    #[test]
    fn what_nobody_knows_is_left_out_and_the_soonest_comes_first() {
        assert_eq!(
            said(&Ages::default(), Some(at("2026-12-20")), "2026-11-23"),
            [
                "ca_due ca 2026-12-20 27 ",
                "profile_review_due erp 2027-01-15 53 ",
                "client_secret_due erp 2027-02-28 97 ",
                "charge_method_due erp 2027-03-31 128 finance@example.com",
            ]
        );
    }

    #[test]
    fn a_charge_method_is_good_through_the_last_day_of_its_month() {
        for (now, want) in [("2027-03-30", 1), ("2027-03-31", 0), ("2027-04-01", -1)] {
            let line = format!("charge_method_due erp 2027-03-31 {want} finance@example.com");
            assert!(said(&Ages::default(), None, now).contains(&line), "{now}");
        }
    }

    #[test]
    fn a_ca_that_lives_a_month_is_not_spoken_of_from_its_first_day() {
        let due = |what, days_left| Due {
            what,
            subject: "x".to_owned(),
            date: Date::of(at("2027-01-01")),
            days_left,
            owner: None,
        };
        for (what, days, want) in [
            (DueKind::Ca, 30, false),
            (DueKind::Ca, 7, true),
            (DueKind::ClientSecret, 61, false),
            (DueKind::ClientSecret, 60, true),
            (DueKind::ClientSecret, -1, true),
        ] {
            assert_eq!(due(what, days).is_soon(60), want, "{what:?} {days}");
        }
    }

    #[test]
    fn the_store_says_when_a_secret_was_made_where_the_file_does_not_and_when_an_authorization_was_given()
     {
        let day = |text| Date::parse(text).unwrap();
        let ages = Ages {
            secrets: ["erp", "bare"]
                .map(|id| (AppId::parse(id).unwrap(), day("2026-11-01")))
                .into(),
            authorizations: [(
                TenantId::parse("beta").unwrap(),
                day("2025-11-23T10:00:00Z"),
            )]
            .into(),
        };
        let said = said(&ages, None, "2026-11-24");
        assert_eq!(said[0], "authorization_due beta 2026-11-23 -1 ");
        assert!(said.contains(&"client_secret_due bare 2027-04-30 157 ".to_owned()));
        assert!(said.contains(&"client_secret_due erp 2027-02-28 96 ".to_owned()));
        assert_eq!(
            said.iter()
                .filter(|line| line.contains("authorization"))
                .count(),
            1
        );
    }
}
