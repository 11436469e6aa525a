//! The page: what is wrong, in a few lines; then each tenant; beside them what fires, what was refused and what comes due.
//!
//! Invariants: what changes is inside `#state`, and what may move within it has an id, so that the script can keep the
//! element, and with it the focus, when the text around it changes.

use maud::{DOCTYPE, Markup, html};

use super::view::{Trouble, View};
use super::{aside, card};

/// Most lines of the summary, a cause each.
const MOST_LINES: usize = 12;

/// The whole page.
pub(super) fn whole(view: &View) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head("spapi-sidecar", true))
            body {
                a.skip href="#state" { "Skip to the state" }
                header {
                    h1 { "spapi-sidecar" }
                    p #live role="status" { "not live: this page stands still without script; reload it" }
                    p #done role="status" {}
                    p #held hidden { span.long { "Actions are unlocked " } button type="button" #forget { "Forget token" } }
                }
                main #state tabindex="-1" { (state(view)) }
                (dialog())
            }
        }
    }
}

/// A page's head.
pub(super) fn head(title: &str, live: bool) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) }
            link rel="stylesheet" href="/console/style.css";
            link #icon rel="icon" type="image/svg+xml" href="/console/well.svg";
            @if live { script src="/console/script.js" defer {} }
        }
    }
}

/// The part that changes.
pub(super) fn state(view: &View) -> Markup {
    html! {
        (verdict(view))
        div #columns .columns {
            section #tenants aria-labelledby="tenants-title" {
                h2 #tenants-title { "Tenants " span.count { (view.tenants.len() + view.more_tenants) } }
                ul.tenants {
                    @for tenant in &view.tenants { li id=(format!("card-{}", tenant.id)) { (card::tenant(tenant, view)) } }
                }
                @if view.tenants.is_empty() { p { "No tenant is known yet." } }
                @if view.more_tenants > 0 { p { "And " (view.more_tenants) " more, none of them worse off; " code { "spapi-sidecar tenant list" } " has all." } }
            }
            div #aside .aside {
                (aside::alerts(view))
                (aside::refused(view))
                (aside::break_glass(view))
                (aside::dues(&view.dues))
            }
        }
    }
}

/// What is wrong, in three seconds.
fn verdict(view: &View) -> Markup {
    let (failing, degraded, well) = view.counts;
    let troubled = failing + degraded;
    let alerts = view.alerts.iter().filter(|alert| !alert.is_news()).count();
    let class = if failing > 0 || !view.ready || view.store_trouble.is_some() {
        "bad"
    } else if degraded > 0 {
        "warn"
    } else {
        "good"
    };
    html! {
        section #verdict class=(format!("verdict {class}")) data-troubled=(troubled) aria-labelledby="verdict-title" {
            h2 #verdict-title {
                @if troubled == 0 { "All " (well) " tenants are well" } @else {
                    @if failing > 0 { span.bad { (failing) " failing" } ", " }
                    @if degraded > 0 { span.warn { (degraded) " degraded" } ", " }
                    span { (well) " well" }
                }
                @if alerts > 0 { " " a.alerts href="#alerts" { (alerts) @if alerts == 1 { " alert" } @else { " alerts" } } }
            }
            @if !view.ready { p.bad { "Not ready: it takes no traffic yet. " code { "/health/ready" } " says what it waits for." } }
            @if let Some(cause) = view.store_trouble { p.bad { "The store does not answer: " (cause) ". Tokens in memory serve until they end." } }
            @if view.policy == "report" { p.warn { "Policy is report: nothing is refused by routes." } }
            ul.troubles {
                @for trouble in view.troubles.iter().take(MOST_LINES) { (self::trouble(trouble)) }
            }
            @if view.troubles.len() > MOST_LINES { p { "And " (view.troubles.len() - MOST_LINES) " more causes, below." } }
            (facts(view))
            nav.jumps aria-label="On this page" {
                a href="#tenants" { "Tenants " (view.tenants.len()) } " "
                a href="#alerts" { "Alerts " (view.alerts.len()) } " "
                a href="#refused" { "Refused " (view.refused.len()) } " "
                a href="#glasses" { "Break-glass " (view.break_glass.len()) } " "
                a href="#dues" { "Comes due" }
            }
        }
    }
}

fn trouble(trouble: &Trouble) -> Markup {
    html! {
        li id=(format!("trouble-{}-{}", trouble.health, trouble.cause)) {
            (card::sign(trouble.health)) " "
            span {
                @for (n, tenant) in trouble.tenants.iter().enumerate() {
                    @if n > 0 { ", " }
                    a href=(format!("#tenant-{tenant}")) { (tenant) }
                }
                @if trouble.more > 0 { " and " (trouble.more) " more" }
                ": " (trouble.cause.replace('_', " ")) " " span.whose { (trouble.whose) }
            }
        }
    }
}

fn facts(view: &View) -> Markup {
    html! {
        dl.facts {
            div { dt { "Ready" } dd { @if view.ready { "yes" } @else { span.bad { "no" } } } }
            div { dt { "Store" } dd { @match view.store_trouble { None => "answers", Some(cause) => span.bad { (cause) } } } }
            div { dt { "Policy" } dd { (view.policy) } }
            div { dt { "Fleet" } dd { (view.members) @if view.members == 1 { " sidecar" } @else { " sidecars" } } }
            div { dt { "Release" } dd { (view.release) } }
            div { dt { "Version" } dd { (view.version) } }
            div { dt { "As of" } dd { time datetime=(view.at) { (spelled(&view.at)) } } }
        }
    }
}

/// `2026-11-26T06:41:16Z` as people write it.
fn spelled(moment: &str) -> String {
    moment.replace('T', " ").replace('Z', " UTC")
}

/// A moment, without the day where it is the page's own.
pub(super) fn moment(view: &View, moment: &str) -> Markup {
    let day = moment.split_once('T').map(|(day, _)| day);
    let today = view.at.split_once('T').map(|(day, _)| day);
    let text = spelled(moment);
    let short = match day.filter(|day| Some(*day) == today) {
        Some(day) => text.trim_start_matches(day).trim_start(),
        None => &text,
    };
    html! { time datetime=(moment) { (short) } }
}

pub(super) fn days_text(left: i64) -> String {
    match left {
        0 => "last day".to_owned(),
        1 => "1 day left".to_owned(),
        -1 => "1 day over".to_owned(),
        left if left < 0 => format!("{} days over", -left),
        left => format!("{left} days left"),
    }
}

/// What asks before anything is done; the script fills it.
fn dialog() -> Markup {
    html! {
        dialog #ask aria-labelledby="ask-title" aria-describedby="ask-text" {
            form method="dialog" #ask-form novalidate {
                h2 #ask-title { "Confirm" }
                p #ask-text {}
                div #ask-routes hidden {
                    label for="ask-allow" { "Routes, one a line" }
                    textarea #ask-allow rows="3" placeholder="GET /orders/v0/orders" spellcheck="false" {}
                    label for="ask-for" { "For how long" }
                    input #ask-for value="30m";
                }
                div #ask-why {
                    label for="ask-reason" { "Reason, for the audit" }
                    input #ask-reason maxlength="300" autocomplete="off";
                    label for="ask-by" { "Your name" }
                    input #ask-by maxlength="100" autocomplete="name";
                }
                div #ask-key {
                    label for="ask-token" { "Admin token" }
                    input #ask-token type="password" autocomplete="off" aria-describedby="ask-token-note";
                    p #ask-token-note .note { "The content of listen.admin_token_file. Kept in this page's memory for ten minutes at most." }
                }
                p #ask-error role="alert" {}
                menu {
                    button type="button" #ask-no { "Cancel" }
                    button type="submit" #ask-yes { "Do it" }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::{Mark, Minute, Probable, SetAside, Tenant};
    use super::*;

    fn view() -> View {
        let quiet = Minute {
            good: 5,
            unauthorized: 2,
            forbidden: 1,
            throttled: 0,
        };
        View {
            ready: true,
            policy: "enforce",
            members: 2,
            at: "2026-11-26T06:41:16Z".to_owned(),
            counts: (1, 0, 0),
            marks: vec![Mark {
                ago: 3,
                what: "start",
                release: "r7".to_owned(),
            }],
            troubles: vec![Trouble {
                health: "failing",
                cause: "charge_method_lapsed",
                whose: "finance".to_owned(),
                tenants: vec!["acme".to_owned()],
                more: 0,
            }],
            tenants: vec![Tenant {
                id: "acme".to_owned(),
                state: "quarantined",
                set_aside: Some(SetAside {
                    reason: "<script>alert(1)</script> & co".to_owned(),
                    ..SetAside::default()
                }),
                health: "failing",
                token_left: Some(90),
                token_life: 3600,
                probable: Some(Probable {
                    cause: "charge method lapsed".to_owned(),
                    whose: "finance".to_owned(),
                    ..Probable::default()
                }),
                charge: ("lapsed".to_owned(), Some(-3)),
                minutes: vec![quiet; 60],
                ..Tenant::default()
            }],
            ..View::default()
        }
    }

    #[test]
    fn what_operators_and_programs_wrote_is_escaped() {
        let text = whole(&view()).into_string();
        assert!(!text.contains("<script>alert"), "{text}");
        assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; co"));
    }

    #[test]
    fn nothing_on_the_page_is_inline_or_from_elsewhere() {
        let text = whole(&view()).into_string();
        for forbidden in [
            " style=",
            "onclick",
            "http://",
            "https://",
            "<style",
            "javascript:",
            "data:",
        ] {
            assert!(!text.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn a_tenant_in_trouble_shows_its_charge_method_beside_its_errors_and_offers_what_can_be_done() {
        let text = state(&view()).into_string();
        assert!(text.contains("lapsed") && text.contains("3 days over"));
        let said = "Last hour of acme: 120 401, 60 403, 0 429, 300 good; start of r7 3 minutes ago";
        assert!(text.contains(said), "{text}");
        assert!(text.contains("90 s left"));
        assert!(
            text.contains(r#"data-action="resume""#)
                && !text.contains(r#"data-action="quarantine""#)
        );
    }

    #[test]
    fn the_first_line_counts_those_in_trouble_and_the_next_ones_name_them() {
        let text = state(&view()).into_string();
        assert!(text.contains(r#"<span class="bad">1 failing</span>, <span>0 well</span>"#));
        let (tenants, named) = (text.find("id=\"tenants\""), text.find("#tenant-acme"));
        assert!(named.is_some() && named < tenants, "{text}");
        let well = View {
            counts: (0, 0, 3),
            ready: true,
            ..View::default()
        };
        let text = state(&well).into_string();
        assert!(text.contains("All 3 tenants are well"), "{text}");
    }

    #[test]
    fn what_is_wrong_with_the_sidecar_itself_stands_with_the_tenants_in_trouble() {
        let text = state(&View {
            ready: false,
            store_trouble: Some("sealed"),
            policy: "report",
            members: 2,
            counts: (0, 0, 1),
            ..View::default()
        })
        .into_string();
        for said in [
            "Not ready: it takes no traffic yet.",
            "The store does not answer: sealed.",
            "Policy is report",
            "2 sidecars",
            r#"class="verdict bad""#,
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
    }

    #[test]
    fn a_wave_is_one_line_and_what_is_beyond_a_page_is_counted() {
        let failing = |n: usize| Tenant {
            id: format!("t{n}"),
            health: "failing",
            state: "active",
            ..Tenant::default()
        };
        let text = state(&View {
            ready: true,
            counts: (120, 0, 0),
            tenants: (0..100).map(failing).collect(),
            more_tenants: 20,
            troubles: vec![Trouble {
                health: "failing",
                cause: "app_missing",
                whose: "engineering".to_owned(),
                tenants: vec!["t0".to_owned(), "t1".to_owned()],
                more: 118,
            }],
            ..View::default()
        })
        .into_string();
        let wave = r##"<a href="#tenant-t0">t0</a>, <a href="#tenant-t1">t1</a> and 118 more: app missing"##;
        assert!(text.contains(wave), "{text}");
        assert!(text.contains("And 20 more"), "{text}");
    }

    #[test]
    fn a_moment_of_another_day_keeps_its_day() {
        let at = |text: &str| moment(&view(), text).into_string();
        assert!(at("2026-11-26T06:00:00Z").contains(">06:00:00 UTC<"));
        assert!(at("2026-11-25T06:00:00Z").contains(">2026-11-25 06:00:00 UTC<"));
    }
}
