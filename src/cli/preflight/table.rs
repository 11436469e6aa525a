//! The rows as a table for people.

use std::fmt::Write as _;

use super::Report;
use crate::preflight::{Check, Outcome, passed};

/// Draws the rows of each tenant; what mends one stands below it.
pub(super) fn draw(reports: &[Report], rehearsal: bool) -> String {
    let mut page = String::new();
    if rehearsal {
        page.push_str("REHEARSAL: the built-in sandbox stands in Amazon's place, and made-up credentials in the store's.\n\n");
    }
    for (tenant, checks) in reports {
        let count = |outcome| {
            checks
                .iter()
                .filter(|check| check.outcome == outcome)
                .count()
        };
        let verdict = if passed(checks) { "PASSED" } else { "FAILED" };
        let _infallible = writeln!(
            page,
            "{}  {verdict}: {} pass, {} warn, {} fail, {} skip",
            tenant.id,
            count(Outcome::Pass),
            count(Outcome::Warn),
            count(Outcome::Fail),
            count(Outcome::Skip)
        );
        let width = checks.iter().map(|check| what(check).chars().count()).max();
        for check in checks {
            line(&mut page, check, width.unwrap_or_default());
        }
        page.push('\n');
    }
    page
}

fn what(check: &Check) -> String {
    if check.subject.is_empty() {
        format!("{} {}", check.family, check.name)
    } else {
        format!("{} {} {}", check.family, check.name, check.subject)
    }
}

fn line(page: &mut String, check: &Check, width: usize) {
    let what = what(check);
    let gap = " ".repeat(width.saturating_sub(what.chars().count()));
    let _infallible = writeln!(
        page,
        "  {}  {what}{gap}  {}",
        check.outcome.as_str(),
        check.found
    );
    if !check.remedy.is_empty() {
        let _infallible = writeln!(page, "        → {}", check.remedy);
    }
}
