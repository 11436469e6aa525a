//! The review as Markdown.

use std::fmt::Write as _;

use serde_json::Value;

use crate::cli::ledger::cell;
use crate::verdict::review::{Review, TenantReview};

/// Writes the review. `source` says how the calls are known, `store_error` why the store gave no more dates.
pub(super) fn write(review: &Review, source: &str, store_error: Option<&str>) -> String {
    let mut page = format!(
        "# Access review\n\nMade at {}, for the time since {}, by `spapi-sidecar review`.\n\n",
        review.made_at, review.since
    );
    match &review.seen_since {
        Some(seen) if review.covers_window => {
            let _infallible = writeln!(page, "Calls: {source}; all were seen since {seen}.\n");
        }
        Some(seen) => {
            let _infallible = writeln!(
                page,
                "Calls: {source}. **They were seen since {seen} only: what is unused below is unused since then.**\n"
            );
        }
        None => {
            let _infallible = writeln!(
                page,
                "Calls: {source}. **Nothing below says that anything is unused.**\n"
            );
        }
    }
    if let Some(error) = store_error {
        let _infallible = writeln!(page, "**The store did not give all dates:** {error}\n");
    }
    consents(&mut page, review);
    scopes(&mut page, review);
    never_called(&mut page, review);
    new_endpoints(&mut page, review);
    due(&mut page, review);
    groups(&mut page, review);
    owners(&mut page, review);
    break_glass(&mut page, review);
    page
}

/// A table under a heading, or a line where it would be empty.
fn table(page: &mut String, heading: &str, head: &[&str], rows: &[Vec<String>], none: &str) {
    let _infallible = writeln!(page, "## {heading}\n");
    if rows.is_empty() {
        let _infallible = writeln!(page, "{none}\n");
        return;
    }
    let rule = vec!["---"; head.len()].join("|");
    let _infallible = writeln!(page, "| {} |\n|{rule}|", head.join(" | "));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|text| cell(shown(text))).collect();
        let _infallible = writeln!(page, "| {} |", cells.join(" | "));
    }
    page.push('\n');
}

fn shown(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn or_empty(text: Option<&String>) -> String {
    text.cloned().unwrap_or_default()
}

fn consents(page: &mut String, review: &Review) {
    let asked = |tenant: &&TenantReview| !tenant.reconsent.is_empty();
    let rows: Vec<Vec<String>> = review
        .tenants
        .iter()
        .filter(asked)
        .map(|tenant| {
            let minimal = tenant.minimal.as_ref();
            vec![
                tenant.id.clone(),
                minimal.map_or_else(|| "not known".to_owned(), |set| set.join(", ")),
                tenant.drop.join(", "),
                tenant.add.join(", "),
                tenant.reconsent.join("; "),
            ]
        })
        .collect();
    table(
        page,
        "Consents to ask for again",
        &["tenant", "minimal scopes", "drop", "add", "why"],
        &rows,
        "None.",
    );
}

fn scopes(page: &mut String, review: &Review) {
    let mut rows = Vec::new();
    for tenant in &review.tenants {
        for scope in tenant
            .scopes
            .iter()
            .filter(|scope| scope.used == Some(false))
        {
            rows.push(vec![
                tenant.id.clone(),
                scope.scope.clone(),
                scope.endpoints.to_string(),
                scope
                    .last_used
                    .clone()
                    .unwrap_or_else(|| "never seen".to_owned()),
            ]);
        }
    }
    table(
        page,
        "Scopes granted and not used",
        &["tenant", "scope", "endpoints that need it", "last used"],
        &rows,
        unless_unknown(review, "Every granted scope was used."),
    );
}

fn never_called(page: &mut String, review: &Review) {
    let rows: Vec<Vec<String>> = review
        .never_called
        .iter()
        .flatten()
        .map(|one| {
            vec![
                format!("`{}`", one.endpoint),
                or_empty(one.operation.as_ref()),
                or_empty(one.scope.as_ref()),
                or_empty(one.reason.as_ref()),
                or_empty(one.owner.as_ref()),
                one.last_called
                    .clone()
                    .unwrap_or_else(|| "never seen".to_owned()),
            ]
        })
        .collect();
    table(
        page,
        "Routes never called",
        &[
            "endpoint",
            "operation",
            "scope",
            "reason",
            "owner",
            "last called",
        ],
        &rows,
        unless_unknown(review, "Every route was called."),
    );
}

const fn unless_unknown(review: &Review, well: &'static str) -> &'static str {
    if review.seen_since.is_some() {
        well
    } else {
        "Not known: nothing is known of calls."
    }
}

fn new_endpoints(page: &mut String, review: &Review) {
    let rows: Vec<Vec<String>> = review
        .new_endpoints
        .iter()
        .map(|one| {
            vec![
                one.tenant.clone(),
                format!("`{}`", one.endpoint),
                or_empty(one.operation.as_ref()),
                one.first_seen.clone(),
                one.requests.to_string(),
                one.refused.to_string(),
                if one.has_route { "yes" } else { "no" }.to_owned(),
            ]
        })
        .collect();
    table(
        page,
        "New endpoints",
        &[
            "tenant",
            "endpoint",
            "operation",
            "first seen",
            "calls",
            "refused",
            "has a route",
        ],
        &rows,
        "None.",
    );
}

fn due(page: &mut String, review: &Review) {
    let text = |due: &Value, key: &str| match due.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => {
            String::new()
        }
    };
    let rows: Vec<Vec<String>> = review
        .due
        .iter()
        .map(|due| {
            ["date", "what", "subject", "days_left", "owner"]
                .map(|key| text(due, key))
                .into()
        })
        .collect();
    table(
        page,
        "Ages and due dates",
        &["date", "what", "of", "days left", "owner"],
        &rows,
        "None is known: write them to `apps` in the configuration.",
    );
}

fn groups(page: &mut String, review: &Review) {
    let vendors = review.tenants.iter().filter(|one| one.account == "vendor");
    let rows: Vec<Vec<String>> = vendors
        .map(|one| vec![one.id.clone(), one.vendor_groups.join(", ")])
        .collect();
    let none = "No tenant is a vendor.";
    table(page, "Vendor groups", &["tenant", "groups"], &rows, none);
}

fn owners(page: &mut String, review: &Review) {
    let rows: Vec<Vec<String>> = review
        .owners
        .iter()
        .map(|(owner, endpoints)| {
            let owner = if owner.is_empty() {
                "**nobody**"
            } else {
                owner
            };
            let list: Vec<String> = endpoints.iter().map(|one| format!("`{one}`")).collect();
            vec![owner.to_owned(), list.join(", ")]
        })
        .collect();
    table(
        page,
        "Owners",
        &["owner", "endpoints"],
        &rows,
        "There are no routes.",
    );
}

fn break_glass(page: &mut String, review: &Review) {
    let rows: Vec<Vec<String>> = review
        .break_glass
        .iter()
        .map(|one| {
            let ended = match (&one.ended, one.revoked) {
                (Some(at), true) => format!("revoked {at}"),
                (Some(at), false) => at.clone(),
                (None, _) => "open, or its end was not seen".to_owned(),
            };
            vec![
                one.at.clone(),
                one.tenant.clone(),
                one.allow.join(", "),
                one.by.clone(),
                one.reason.clone(),
                one.used.to_string(),
                ended,
            ]
        })
        .collect();
    table(
        page,
        "Break-glass",
        &[
            "opened", "tenant", "routes", "by", "reason", "calls", "ended",
        ],
        &rows,
        "None was opened.",
    );
}
