//! Small charts: the last hour of a tenant as bars, and a token's life as a meter.
//!
//! Invariants: no inline style, since the page's policy forbids it: colours are classes, sizes are attributes; every chart says in
//! words what it shows.

use maud::{Markup, html};

use super::view::{Minute, Tenant};

const MINUTES: usize = 60;
const WIDTH: usize = 4;
const HEIGHT: u32 = 36;

/// 401s, 403s and 429s by minute, with marks where a release or a reload was.
pub(super) fn hour(tenant: &Tenant, marks: &[(u8, String)]) -> Markup {
    let minutes = tenant.minutes.as_slice();
    let sum = |of: fn(&Minute) -> u32| minutes.iter().map(of).sum::<u32>();
    let (unauthorized, forbidden, throttled, good) = (
        sum(|minute| minute.unauthorized),
        sum(|minute| minute.forbidden),
        sum(|minute| minute.throttled),
        sum(|minute| minute.good),
    );
    let highest = minutes
        .iter()
        .map(|minute| minute.unauthorized + minute.forbidden + minute.throttled)
        .max()
        .unwrap_or_default()
        .max(1);
    let words = format!(
        "Last hour of {}: {unauthorized} 401, {forbidden} 403, {throttled} 429, {good} good",
        tenant.id
    );
    let skipped = MINUTES.saturating_sub(minutes.len());
    html! {
        svg.chart role="img" aria-label=(words) viewBox=(format!("0 0 {} {}", MINUTES * WIDTH, HEIGHT + 4)) width=(MINUTES * WIDTH) height=(HEIGHT + 4) {
            @for (ago, release) in marks {
                @let x = (MINUTES.saturating_sub(usize::from(*ago))) * WIDTH;
                line.mark x1=(x) x2=(x) y1="0" y2=(HEIGHT + 4) { title { "release " (release) } }
            }
            line.axis x1="0" x2=(MINUTES * WIDTH) y1=(HEIGHT + 1) y2=(HEIGHT + 1) {}
            @for (n, minute) in minutes.iter().enumerate() {
                (bar((skipped + n) * WIDTH, *minute, highest))
            }
        }
        p.sums {
            span.key.k401 { "401 " b { (unauthorized) } } " "
            span.key.k403 { "403 " b { (forbidden) } } " "
            span.key.k429 { "429 " b { (throttled) } } " "
            span.key { "good " b { (good) } }
        }
    }
}

fn bar(x: usize, minute: Minute, highest: u32) -> Markup {
    let mut top = HEIGHT;
    let parts = [
        ("k401", minute.unauthorized),
        ("k403", minute.forbidden),
        ("k429", minute.throttled),
    ];
    html! {
        @for (class, count) in parts {
            @if count > 0 {
                @let tall = (count.saturating_mul(HEIGHT) / highest).clamp(2, top.max(2));
                @let y = { top = top.saturating_sub(tall); top };
                rect class=(class) x=(x) y=(y) width=(WIDTH - 1) height=(tall) {}
            }
        }
    }
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
