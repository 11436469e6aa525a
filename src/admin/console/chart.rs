//! Small charts: the last hour of a tenant, a row of bars for each kind of error, and a token's life as a meter.
//!
//! Invariants: no inline style, since the page's policy forbids it: colours are classes, sizes are attributes; a row is told from
//! another by its place and its label, not by colour alone; every chart says in words what it shows.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::page::days_text;
use super::view::{Mark, Minute, Tenant};

const MINUTES: usize = 60;
const WIDTH: usize = 4;
const HEIGHT: u32 = 20;

/// Most marks that are named below a chart; all are drawn.
const MOST_NAMED: usize = 3;

type Count = fn(&Minute) -> u32;

/// Class, label, and what is counted.
const ROWS: [(&str, &str, Count); 3] = [
    ("k401", "401", |minute| minute.unauthorized),
    ("k403", "403", |minute| minute.forbidden),
    ("k429", "429", |minute| minute.throttled),
];

/// 401s, 403s and 429s by minute, with marks where a release or a reload was and the charge method beside them: a lapsed
/// card and a bad release look alike in the numbers.
pub(super) fn hour(tenant: &Tenant, marks: &[Mark]) -> Markup {
    let minutes = tenant.minutes.as_slice();
    let highest = ROWS
        .iter()
        .flat_map(|(_, _, count)| minutes.iter().map(count))
        .max()
        .unwrap_or_default();
    let good: u32 = minutes.iter().map(|minute| minute.good).sum();
    html! {
        figure.hour {
            div.rows role="img" aria-label=(words(tenant, marks, good)) {
                @for (class, label, count) in ROWS {
                    (row(class, label, count, minutes, highest.max(1), marks))
                }
                p.axis { span { "60 min ago" } @if highest > 0 { span { "peak " (highest) " a minute" } } span { "now" } }
            }
            figcaption {
                p { "Charge method: " (charge(tenant)) }
                p { "Taken by Amazon: " (good) }
                @for mark in marks.iter().rev().take(MOST_NAMED) { p.release { (mark.what) " of " (mark.release) ", " (minutes_ago(mark.ago)) } }
            }
        }
    }
}

fn row(
    class: &str,
    label: &str,
    count: Count,
    minutes: &[Minute],
    highest: u32,
    marks: &[Mark],
) -> Markup {
    let skipped = MINUTES.saturating_sub(minutes.len());
    let sum: u32 = minutes.iter().map(count).sum();
    let whole = MINUTES * WIDTH;
    html! {
        div class=(if sum > 0 { format!("row {class}") } else { "row none".to_owned() }) {
            span.label { (label) }
            svg aria-hidden="true" viewBox=(format!("0 0 {whole} {HEIGHT}")) preserveAspectRatio="none" {
                line.base x1="0" x2=(whole) y1=(HEIGHT) y2=(HEIGHT) {}
                @for (n, minute) in minutes.iter().enumerate() {
                    @let many = count(minute);
                    @if many > 0 {
                        // one call in a minute is still seen beside a thousand
                        @let tall = (many.saturating_mul(HEIGHT) / highest).clamp(2, HEIGHT);
                        rect x=((skipped + n) * WIDTH) y=(HEIGHT - tall) width=(WIDTH) height=(tall) {}
                    }
                }
                // before the bar of its minute: what it brought comes after it
                @for mark in marks {
                    @let x = MINUTES.saturating_sub(1 + usize::from(mark.ago)) * WIDTH;
                    line.mark x1=(x) x2=(x) y1="0" y2=(HEIGHT) {}
                }
            }
            b { (sum) }
        }
    }
}

fn words(tenant: &Tenant, marks: &[Mark], good: u32) -> String {
    let mut text = format!("Last hour of {}:", tenant.id);
    for (_, label, count) in ROWS {
        let sum: u32 = tenant.minutes.iter().map(count).sum();
        let _in_memory = write!(text, " {sum} {label},");
    }
    let _in_memory = write!(text, " {good} good");
    for mark in marks {
        let ago = minutes_ago(mark.ago);
        let _in_memory = write!(text, "; {} of {} {ago}", mark.what, mark.release);
    }
    text
}

fn minutes_ago(minutes: u8) -> String {
    match minutes {
        0 => "just now".to_owned(),
        1 => "1 minute ago".to_owned(),
        _ => format!("{minutes} minutes ago"),
    }
}

/// The charge method's standing.
pub(super) fn charge(tenant: &Tenant) -> Markup {
    let (standing, days) = &tenant.charge;
    let class = match standing.as_str() {
        "valid" | "unknown" => "",
        _ => "bad",
    };
    html! { span class=(class) { (standing) } @if let Some(days) = days { ", " (days_text(*days)) } }
}

/// How much is left of a token's life.
pub(super) fn life(tenant: &Tenant) -> Markup {
    let Some(left) = tenant.token_left else {
        return html! { span.bad { "no usable token" } };
    };
    let whole = tenant.token_life.max(left).max(1);
    let text = if left >= 120 {
        format!("{} min left", left / 60)
    } else {
        format!("{left} s left")
    };
    html! {
        meter min="0" max=(whole) low=(whole / 5) high=(whole / 2) optimum=(whole) value=(left) aria-label=(format!("Access token of {}: {text}", tenant.id)) { (text) }
        " " (text)
    }
}
