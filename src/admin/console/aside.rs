//! What stands beside the tenants: alerts, refusals, break-glass, dates.

use maud::{Markup, html};

use super::card::{code, urgency};
use super::page::{days_text, moment};
use super::runbook;
use super::view::{Alert, Due, Refused, View};

/// Days from which a date is shown without being asked for.
const SOON: i64 = 60;

/// Most alerts of a kind above the fold.
const MOST_SHOWN: usize = 4;

/// What fires: trouble first, by kind; news (a first call of an endpoint) below a fold.
pub(super) fn alerts(view: &View) -> Markup {
    let (news, trouble): (Vec<&Alert>, Vec<&Alert>) =
        view.alerts.iter().partition(|alert| alert.is_news());
    html! {
        section #alerts aria-labelledby="alerts-title" {
            h2 #alerts-title { "Alerts " span.count { (view.alerts.len()) } }
            @if view.alerts.is_empty() { p { "Nothing fires." } }
            @for same in trouble.chunk_by(|one, other| one.alert == other.alert) { (kind(view, same)) }
            @if !news.is_empty() {
                details #new-endpoints { summary { "new_endpoint " span.count { (news.len()) } } (kind(view, &news)) }
            }
        }
    }
}

fn kind(view: &View, same: &[&Alert]) -> Markup {
    let Some(first) = same.first() else {
        return Markup::default();
    };
    html! {
        div.alert id=(format!("alert-{}", first.alert)) {
            h3 { (first.alert) " " (runbook::link(&first.runbook)) }
            @let (shown, folded) = same.split_at(same.len().min(MOST_SHOWN));
            ul { @for alert in shown { (self::alert(view, alert)) } }
            @if !folded.is_empty() {
                details id=(format!("more-{}", first.alert)) {
                    summary { (folded.len()) " more" span.hidden { " of " (first.alert) } }
                    ul { @for alert in folded { (self::alert(view, alert)) } }
                }
            }
        }
    }
}

fn alert(view: &View, alert: &Alert) -> Markup {
    html! {
        li { strong { (alert.subject) } " " span.note { "since " (moment(view, &alert.since)) } p { (code(&alert.detail)) } }
    }
}

/// What was refused lately.
pub(super) fn refused(view: &View) -> Markup {
    html! {
        section #refused aria-labelledby="refused-title" {
            h2 #refused-title { "Refused in the last 15 minutes " span.count { (view.refused.len()) } }
            @if view.refused.is_empty() { p { "Nothing." } }
            ul.refused { @for row in &view.refused { (refusal(view, row)) } }
        }
    }
}

fn refusal(view: &View, row: &Refused) -> Markup {
    html! {
        li {
            p { strong { (row.tenant) } " " code { (row.call) } }
            p.note { (row.code) ", " @if row.count == 1 { "once" } @else { (row.count) " times" } ", last " (moment(view, &row.last)) }
            p {
                "To allow it: "
                @if row.route.is_empty() { (code(&row.remedy)) } @else { code.line { (row.route) } " under " code { "routes" } " in proxy.yaml" }
            }
        }
    }
}

/// Extra routes in force.
pub(super) fn break_glass(view: &View) -> Markup {
    html! {
        section #glasses aria-labelledby="glass-title" {
            h2 #glass-title { "Break-glass in force " span.count { (view.break_glass.len()) } }
            @if view.break_glass.is_empty() { p { "None." } }
            ul.glasses {
                @for glass in &view.break_glass {
                    li id=(format!("glass-{}", glass.id)) {
                        p { strong { (glass.tenant) } " until " (moment(view, &glass.until)) ", by " (glass.by) ": " (glass.reason) }
                        ul { @for route in &glass.allow { li { code { (route) } } } }
                        button type="button" id=(format!("revoke-{}", glass.id)) data-action="revoke" data-glass=(glass.id) data-tenant=(glass.tenant) { "Revoke" span.hidden { " the break-glass of " (glass.tenant) } }
                    }
                }
            }
        }
    }
}

/// What comes due, the nearest first; what is far off below a fold.
pub(super) fn dues(dues: &[Due]) -> Markup {
    let (near, far): (Vec<&Due>, Vec<&Due>) = dues.iter().partition(|due| due.days_left < SOON);
    html! {
        section #dues aria-labelledby="dues-title" {
            h2 #dues-title { "Comes due" }
            @if dues.is_empty() { p { "No date is configured. " code { "apps" } " in proxy.yaml takes them." } }
            @else if near.is_empty() { p { "Nothing within " (SOON) " days." } }
            ul.dues { @for one in near { (due(one)) } }
            @if let Some(first) = far.first() {
                details #far-dues {
                    summary { (far.len()) " more, from " (days_text(first.days_left)) " on" }
                    ul.dues { @for one in &far { (due(one)) } }
                }
            }
        }
    }
}

fn due(due: &Due) -> Markup {
    html! {
        li {
            span class=(format!("days {}", urgency(due.days_left))) { (days_text(due.days_left)) } " "
            span { (due.what) @if !due.subject.is_empty() { " of " strong { (due.subject) } } @if let Some(owner) = &due.owner { ", " (owner) } }
        }
    }
}
