//! A tenant's card: how it fares and why, what to do and whose that is, its token, its last hour, and what can be done here.

use maud::{Markup, html};

use super::page::{days_text, moment};
use super::view::{Probable, Tenant, View};
use super::{chart, runbook};

/// The card.
pub(super) fn tenant(tenant: &Tenant, view: &View) -> Markup {
    let title = format!("tenant-{}", tenant.id);
    html! {
        article aria-labelledby=(title) class=(tenant.health) {
            h3 #(title) tabindex="-1" { (tenant.id) " " (badge(tenant.health)) @if tenant.state != "active" { " " span.badge.set-aside { (tenant.state) } } @if tenant.waits { " " span.badge.set-aside { "preflight pending" } } }
            div.why {
                @if let Some(aside) = &tenant.set_aside { p.note { (tenant.state) " since " (moment(view, &aside.since)) " by " (aside.by) ": " (aside.reason) } }
                @if let Some(probable) = &tenant.probable { (why(tenant, probable)) }
                dl.facts {
                    div { dt { "Token" } dd { (chart::life(tenant)) } }
                    div { dt { "Authorization" } dd { (days(tenant.authorization_days)) } }
                    div { dt { "App" } dd { (tenant.app) ", " (tenant.region) } }
                }
            }
            (chart::hour(tenant, &view.marks))
            (actions(tenant))
        }
    }
}

/// How a tenant fares, by shape as well as colour.
pub(super) fn badge(health: &str) -> Markup {
    let (class, shape) = look(health);
    html! { span class=(format!("badge {class}")) { span aria-hidden="true" { (shape) } " " (health) } }
}

/// The same by its shape, for a list.
pub(super) fn sign(health: &str) -> Markup {
    let (class, shape) = look(health);
    html! { span class=(format!("sign {class}")) { span aria-hidden="true" { (shape) } span.hidden { (health) } } }
}

fn look(health: &str) -> (&'static str, &'static str) {
    match health {
        "ok" => ("good", "✓"),
        "degraded" => ("warn", "▲"),
        _ => ("bad", "✕"),
    }
}

fn why(tenant: &Tenant, probable: &Probable) -> Markup {
    html! {
        p.cause { strong { (probable.cause) } " " span.note { (probable.confidence) } }
        p.step { b { (probable.whose) @if let Some(owner) = &probable.owner { " (" (owner) ")" } ": " } (code(&probable.next_step)) }
        details id=(format!("evidence-{}", tenant.id)) {
            summary { "Evidence" span.hidden { " for " (tenant.id) } }
            ul { @for line in &probable.evidence { li { (code(line)) } } }
            @if !probable.also.is_empty() { p { "Also: " (probable.also.join(", ")) "." } }
            @if let Some(page) = &probable.runbook { p { (runbook::link(page)) } }
        }
    }
}

/// Words in backquotes are what a person types.
pub(super) fn code(text: &str) -> Markup {
    html! {
        @for (n, part) in text.split('`').enumerate() {
            @if n % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn days(left: Option<i64>) -> Markup {
    match left {
        None => html! { "no date known" },
        Some(left) => html! { span class=(urgency(left)) { (days_text(left)) } },
    }
}

/// How near a date is.
pub(super) const fn urgency(days_left: i64) -> &'static str {
    match days_left {
        ..=6 => "bad",
        7..=29 => "warn",
        _ => "",
    }
}

fn actions(tenant: &Tenant) -> Markup {
    let button = |action: &str, text: &str| {
        html! { button type="button" id=(format!("{action}-{}", tenant.id)) class=(action) data-action=(action) data-tenant=(tenant.id) { (text) span.hidden { " " (tenant.id) } } }
    };
    html! {
        p.actions {
            // nothing is exchanged for one that is killed
            @if tenant.state != "killed" { (button("refresh", "Refresh token")) }
            @if tenant.state == "active" {
                (button("break-glass", "Break glass"))
                (button("quarantine", "Quarantine"))
            } @else {
                (button("resume", "Resume"))
            }
            @if tenant.state != "killed" { (button("kill", "Kill")) }
        }
    }
}
