//! The page.

use maud::{DOCTYPE, Markup, html};

use super::chart;
use super::view::{Alert, BreakGlass, Due, Refused, Tenant, View};

/// The whole page.
pub(super) fn whole(view: &View) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "spapi-sidecar" }
                link rel="stylesheet" href="/console/style.css";
                link rel="icon" href="data:,";
                script src="/console/script.js" defer {}
            }
            body {
                a.skip href="#state" { "Skip to the state" }
                header {
                    h1 { "spapi-sidecar" }
                    p #live role="status" { "not live: this page stands still without script" }
                    form #key autocomplete="off" {
                        label for="token" { "Admin token" }
                        input #token type="password" autocomplete="off" aria-describedby="token-note";
                        span #token-note.note { "kept on this page only, for actions" }
                    }
                }
                main #state tabindex="-1" { (state(view)) }
                (dialog())
            }
        }
    }
}

/// The part that changes.
pub(super) fn state(view: &View) -> Markup {
    html! {
        (summary(view))
        (alerts(&view.alerts))
        section aria-labelledby="tenants-title" {
            h2 #tenants-title { "Tenants" }
            ul.tenants {
                @for tenant in &view.tenants { li { (self::tenant(tenant, view)) } }
            }
            @if view.tenants.is_empty() { p { "No tenant is known yet." } }
            @if view.more_tenants > 0 { p { "And " (view.more_tenants) " more that are well; " code { "spapi-sidecar tenant list" } " has all." } }
        }
        (refused(&view.refused))
        (break_glass(&view.break_glass))
        (dues(&view.dues))
    }
}

fn summary(view: &View) -> Markup {
    html! {
        section aria-label="Summary" {
            dl.facts {
                div { dt { "Ready" } dd { @if view.ready { "yes" } @else { span.bad { "no" } } } }
                div { dt { "Store" } dd { @match view.store_trouble { None => "answers", Some(cause) => span.bad { (cause) } } } }
                div { dt { "Policy" } dd { @if view.policy == "report" { span.warn { "report: nothing is refused by routes" } } @else { (view.policy) } } }
                div { dt { "Fleet" } dd { (view.members) @if view.members == 1 { " sidecar" } @else { " sidecars" } } }
                div { dt { "Release" } dd { (view.release) } }
                div { dt { "Version" } dd { (view.version) } }
                div { dt { "As of" } dd { time { (view.at) } } }
            }
        }
    }
}

fn alerts(alerts: &[Alert]) -> Markup {
    html! {
        section aria-labelledby="alerts-title" {
            h2 #alerts-title { "Alerts " span.count { (alerts.len()) } }
            @if alerts.is_empty() { p { "Nothing fires." } }
            ul.alerts {
                @for alert in alerts {
                    li {
                        strong { (alert.alert) } " " code { (alert.subject) } " since " time { (alert.since) }
                        p { (alert.detail) }
                        p.note { "Runbook: " code { (alert.runbook) } }
                    }
                }
            }
        }
    }
}

fn tenant(tenant: &Tenant, view: &View) -> Markup {
    let title = format!("tenant-{}", tenant.id);
    let health = match tenant.health {
        "ok" => "good",
        "degraded" => "warn",
        _ => "bad",
    };
    html! {
        article aria-labelledby=(title) {
            h3 #(title) { (tenant.id) " " span class=(format!("badge {health}")) { (tenant.health) } @if tenant.state != "active" { " " span.badge.bad { (tenant.state) } } }
            @if !tenant.state_note.is_empty() { p.note { (tenant.state_note) } }
            @if let Some(cause) = &tenant.cause {
                p { strong { (cause) } @if let Some(step) = &tenant.next_step { ": " (step) } }
            }
            dl.facts {
                div { dt { "Token" } dd { (chart::life(tenant)) } }
                div { dt { "Charge method" } dd { (charge(tenant)) } }
                div { dt { "Authorization" } dd { (days(tenant.authorization_days)) } }
                div { dt { "App" } dd { (tenant.app) ", " (tenant.region) } }
            }
            (chart::hour(tenant, &view.marks))
            (actions(tenant))
        }
    }
}

fn charge(tenant: &Tenant) -> Markup {
    let (standing, days) = &tenant.charge;
    let class = if standing == "valid" || standing == "unknown" {
        ""
    } else {
        "bad"
    };
    html! { span class=(class) { (standing) } @if let Some(days) = days { ", " (days_text(*days)) } }
}

fn days(left: Option<i64>) -> Markup {
    match left {
        None => html! { "no date known" },
        Some(left) if left < 30 => html! { span.warn { (days_text(left)) } },
        Some(left) => html! { (days_text(left)) },
    }
}

fn days_text(left: i64) -> String {
    match left {
        1 => "1 day left".to_owned(),
        left if left < 0 => format!("{} days over", -left),
        left => format!("{left} days left"),
    }
}

fn actions(tenant: &Tenant) -> Markup {
    let button = |action: &str, text: &str| {
        html! { button type="button" data-action=(action) data-tenant=(tenant.id) { (text) span.hidden { " " (tenant.id) } } }
    };
    html! {
        p.actions {
            (button("refresh", "Refresh token"))
            @if tenant.state == "active" {
                (button("quarantine", "Quarantine"))
                (button("break-glass", "Break glass"))
            } @else {
                (button("resume", "Resume"))
            }
            @if tenant.state != "killed" { (button("kill", "Kill")) }
        }
    }
}

fn refused(refused: &[Refused]) -> Markup {
    html! {
        section aria-labelledby="refused-title" {
            h2 #refused-title { "Refused in the last minutes " span.count { (refused.len()) } }
            @if refused.is_empty() { p { "Nothing." } } @else {
                div.wide tabindex="0" role="region" aria-labelledby="refused-title" {
                    table {
                        thead { tr { th scope="col" { "Tenant" } th scope="col" { "Call" } th scope="col" { "Code" } th scope="col" { "Times" } th scope="col" { "Last" } th scope="col" { "What would allow it" } } }
                        tbody {
                            @for row in refused {
                                tr {
                                    td { (row.tenant) } td { code { (row.call) } } td { code { (row.code) } } td { (row.count) } td { time { (row.last) } }
                                    td { @if row.allow.is_empty() { "nothing should" } @else { code { (row.allow) } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn break_glass(glasses: &[BreakGlass]) -> Markup {
    html! {
        @if !glasses.is_empty() {
            section aria-labelledby="glass-title" {
                h2 #glass-title { "Break-glass in force " span.count { (glasses.len()) } }
                ul.alerts {
                    @for glass in glasses {
                        li {
                            code { (glass.tenant) } " until " time { (glass.until) } ", by " (glass.by) ": " (glass.reason)
                            ul { @for route in &glass.allow { li { code { (route) } } } }
                            button type="button" data-action="revoke" data-glass=(glass.id) data-tenant=(glass.tenant) { "Revoke" }
                        }
                    }
                }
            }
        }
    }
}

fn dues(dues: &[Due]) -> Markup {
    html! {
        section aria-labelledby="dues-title" {
            h2 #dues-title { "Comes due" }
            @if dues.is_empty() { p { "No date is configured. " code { "apps" } " in proxy.yaml takes them." } }
            ul.dues {
                @for due in dues {
                    li {
                        (due.what) " of " code { (due.subject) } ": "
                        span class=(if due.days_left < 7 { "bad" } else if due.days_left < 60 { "warn" } else { "" }) { (days_text(due.days_left)) }
                        @if let Some(owner) = &due.owner { " (" (owner) ")" }
                    }
                }
            }
        }
    }
}

/// What asks before anything is done; the script fills it.
fn dialog() -> Markup {
    html! {
        dialog #ask aria-labelledby="ask-title" {
            form method="dialog" #ask-form {
                h2 #ask-title { "Confirm" }
                p #ask-text {}
                div #ask-routes hidden {
                    label for="ask-allow" { "Routes, one a line" }
                    textarea #ask-allow rows="3" placeholder="GET /orders/v0/orders" {}
                    label for="ask-for" { "For how long" }
                    input #ask-for value="30m";
                    label for="ask-by" { "Your name" }
                    input #ask-by autocomplete="name";
                }
                div #ask-why {
                    label for="ask-reason" { "Reason" }
                    input #ask-reason autocomplete="off";
                }
                p #ask-error role="alert" {}
                menu {
                    button type="button" #ask-no { "Cancel" }
                    button type="submit" #ask-yes value="yes" { "Do it" }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::Minute;
    use super::*;

    fn view() -> View {
        View {
            ready: true,
            policy: "enforce",
            members: 2,
            tenants: vec![Tenant {
                id: "acme".to_owned(),
                state: "quarantined",
                state_note: "<script>alert(1)</script> & co".to_owned(),
                health: "failing",
                token_left: Some(90),
                token_life: 3600,
                charge: ("lapsed".to_owned(), Some(-3)),
                minutes: vec![
                    Minute {
                        good: 5,
                        unauthorized: 2,
                        forbidden: 1,
                        throttled: 0
                    };
                    60
                ],
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
        ] {
            assert!(!text.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn a_tenant_in_trouble_shows_its_charge_method_beside_its_errors_and_offers_what_can_be_done() {
        let text = state(&view()).into_string();
        assert!(text.contains("lapsed") && text.contains("3 days over"));
        assert!(
            text.contains("Last hour of acme: 120 401, 60 403, 0 429, 300 good"),
            "{text}"
        );
        assert!(text.contains("90 s left"));
        assert!(
            text.contains(r#"data-action="resume""#)
                && !text.contains(r#"data-action="quarantine""#)
        );
    }
}
