//! A diagnosis as a page for somebody at two in the morning.
//!
//! The worst first; tenants that are well are counted, not listed; one line each for the cause, the evidence, the next step
//! and whose it is.

use std::fmt::Write as _;

use serde_json::Value;

/// Writes the page. `one` says that a single tenant was asked for, which is told about even if it is well.
pub(super) fn write(diagnosis: &Value, one: bool) -> String {
    let mut page = String::new();
    if let Some(why) = diagnosis.get("sidecar").and_then(Value::as_str) {
        let _infallible = writeln!(
            page,
            "THE SIDECAR DOES NOT ANSWER: {why}\nWhat follows is from the configuration, the calendar and the store alone.\n"
        );
    }
    if let Some(trouble) = diagnosis.get("store").and_then(Value::as_str) {
        let _infallible = writeln!(page, "THE STORE DOES NOT HELP: {trouble}\n");
    }
    let mut tenants: Vec<&Value> = list(diagnosis, "tenants").iter().collect();
    tenants.sort_by_key(|tenant| (rank(tenant), text(tenant, "id")));
    let all = tenants.len();
    tenants.retain(|tenant| one || !list(tenant, "findings").is_empty());
    for tenant in &tenants {
        write_tenant(&mut page, tenant);
    }
    let well = all - tenants.len();
    if well > 0 {
        let _infallible = writeln!(page, "{well} of {all} tenant(s): nothing found.");
    }
    write_due(&mut page, diagnosis);
    page
}

fn write_tenant(page: &mut String, tenant: &Value) {
    let (id, state) = (text(tenant, "id"), text(tenant, "state"));
    let findings = list(tenant, "findings");
    let status = text(tenant, "status").to_uppercase();
    let cause = text(tenant, "probable_cause");
    let head = if cause.is_empty() {
        String::new()
    } else {
        format!(": {cause}")
    };
    let _infallible = writeln!(page, "{id} ({state})  {status}{head}");
    if findings.is_empty() {
        let taken = text(tenant, "last_call_taken_at");
        let taken = if taken.is_empty() { "none yet" } else { taken };
        let _infallible = writeln!(page, "  nothing found; last call that Amazon took: {taken}");
    }
    for finding in findings {
        write_finding(page, finding);
    }
    page.push('\n');
}

fn write_finding(page: &mut String, finding: &Value) {
    let wrong = text(finding, "severity") != "ok";
    let mark = if wrong { "!" } else { "-" };
    let _infallible = writeln!(
        page,
        "  {mark} {} ({})",
        text(finding, "cause"),
        text(finding, "confidence")
    );
    for line in list(finding, "evidence") {
        let _infallible = writeln!(page, "      {}", line.as_str().unwrap_or_default());
    }
    let _infallible = writeln!(page, "      next:  {}", text(finding, "next_step"));
    let whose = text(finding, "whose").replace('_', " ");
    let owner = text(finding, "owner");
    let owner = if owner.is_empty() {
        String::new()
    } else {
        format!(" ({owner})")
    };
    let runbook = text(finding, "runbook");
    let runbook = if runbook.is_empty() {
        String::new()
    } else {
        format!("; runbook: {runbook}")
    };
    let _infallible = writeln!(page, "      whose: {whose}{owner}{runbook}");
}

fn write_due(page: &mut String, diagnosis: &Value) {
    let days = |due: &Value| {
        due.get("days_left")
            .and_then(Value::as_i64)
            .unwrap_or(i64::MAX)
    };
    let soon: Vec<&Value> = list(diagnosis, "due")
        .iter()
        .filter(|due| due.get("soon") == Some(&Value::Bool(true)))
        .collect();
    if soon.is_empty() {
        return;
    }
    page.push_str("due:\n");
    for due in soon {
        let owner = text(due, "owner");
        let owner = if owner.is_empty() {
            String::new()
        } else {
            format!("  {owner}")
        };
        let _infallible = writeln!(
            page,
            "  {}  {} {}: {}{owner}",
            text(due, "date"),
            text(due, "what"),
            text(due, "subject"),
            left(days(due)),
        );
    }
}

fn left(days: i64) -> String {
    match days {
        0 => "today is the last day".to_owned(),
        days if days < 0 => format!("{} day(s) ago", -days),
        days => format!("{days} day(s) left"),
    }
}

fn rank(tenant: &Value) -> u8 {
    match (text(tenant, "status"), list(tenant, "findings").is_empty()) {
        ("failing", _) => 0,
        ("degraded", _) => 1,
        (_, false) => 2,
        (_, true) => 3,
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    let list = value.get(key).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}
