//! Runbooks, in the program: whoever is woken at night may have no checkout at hand.
//!
//! Failure mode: 404 for a page that there is not.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::page::head;

macro_rules! pages {
    ($($name:literal)+) => {
        const PAGES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../../deploy/runbooks/", $name))),)+];
    };
}

pages! {
    "app_holds_real_token.md" "audit_unavailable.md" "auth_errors.md" "authorization_due.md" "break_glass_used.md"
    "bypass_suspected.md" "ca_due.md" "charge_method_due.md" "client_secret_due.md" "freshness_slo.md" "grant_not_stored.md"
    "lwa-outage.md" "new_endpoint.md" "profile_review_due.md" "refresh_failing.md" "scope-drift.md"
    "tenant_quarantined.md" "token-leak.md" "upstream_incident.md" "vault-sealed.md" "vendor-link.md"
}

/// A link to the page that a path of the repository names; the path itself where it is not in the program.
pub(super) fn link(path: &str) -> Markup {
    let name = path.rsplit('/').next().unwrap_or_default();
    if find(name).is_none() {
        return html! { code { (path) } };
    }
    html! { a.runbook href=(format!("/console/runbook/{name}")) { "Runbook" span.hidden { " " (name) } } }
}

/// The page of that name.
pub(super) fn page(name: &str) -> Response {
    let Some(text) = find(name) else {
        return (StatusCode::NOT_FOUND, "There is no such runbook.\n").into_response();
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (head(name, false))
            body {
                header { h1 { a href="/" { "spapi-sidecar" } } p { "Runbook " (name) } }
                main { pre.runbook { (linked(text)) } }
            }
        }
    };
    Html(page.into_string()).into_response()
}

/// The Markdown as it is, with its links to other pages made links.
fn linked(text: &str) -> Markup {
    html! {
        @for (n, part) in text.split('[').enumerate() {
            @match part.split_once("](").and_then(|(label, rest)| Some((label, rest.split_once(')')?))) {
                Some((label, (target, rest))) if n > 0 && find(target).is_some() => { a href=(format!("/console/runbook/{target}")) { (label) } (rest) }
                _ => { @if n > 0 { "[" } (part) }
            }
        }
    }
}

fn find(name: &str) -> Option<&'static str> {
    let page = PAGES.iter().find(|(known, _)| *known == name);
    page.map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::AlertKind;
    use crate::verdict::cause::Cause;

    #[test]
    fn every_alert_and_every_cause_links_a_page_that_is_in_the_program() {
        for kind in AlertKind::ALL {
            let text = link(&kind.runbook()).into_string();
            assert!(text.contains("href"), "{text}");
        }
        for page in Cause::ALL.iter().filter_map(|cause| cause.runbook()) {
            assert!(find(page).is_some(), "{page}");
        }
    }

    #[test]
    fn a_page_leads_to_the_others_that_it_names_and_keeps_all_else() {
        let text = linked("see [a](ca_due.md), [b](https://e.com) and <i>[c]").into_string();
        assert_eq!(
            text,
            "see <a href=\"/console/runbook/ca_due.md\">a</a>, [b](https://e.com) and &lt;i&gt;[c]"
        );
    }
}
