//! The consent page of Seller Central and Vendor Central.
//!
//! Job: `GET /apps/authorize/consent` shows what is asked; `POST /apps/authorize/confirm` sends the browser back with a code, or, where the
//! selling partner cancels, with `error=access_denied`.
//! Failure mode: a page that shows Amazon's error code, as Amazon's does: the browser is not sent back.

use http::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use maud::{DOCTYPE, Markup, html};
use url::Url;

use super::call::Call;
use super::ledger::random_text;
use super::received::Held;
use super::respond::{self, Answer};
use super::world::World;

/// Answers a request to a consent host.
pub(super) fn answer(_world: &World, call: &Call, held: &Held) -> Answer {
    match (&call.method, call.path()) {
        (&Method::GET, "/apps/authorize/consent") => shown(&Asked::read(call.parameters())),
        (&Method::POST, "/apps/authorize/confirm") => {
            let form = url::form_urlencoded::parse(&held.bytes).into_owned();
            confirmed(&Asked::read(form))
        }
        _ => respond::bare(StatusCode::NOT_FOUND),
    }
}

#[derive(Default)]
struct Asked {
    application_id: String,
    state: String,
    redirect_uri: String,
    cancels: bool,
}

impl Asked {
    fn read(fields: impl Iterator<Item = (String, String)>) -> Self {
        let mut asked = Self::default();
        for (name, value) in fields {
            match name.as_str() {
                "application_id" => asked.application_id = value,
                "state" => asked.state = value,
                "redirect_uri" => asked.redirect_uri = value,
                "decision" => asked.cancels = value == "cancel",
                _ => {}
            }
        }
        asked
    }

    /// The way back, or Amazon's error code.
    fn way_back(&self) -> Result<Url, &'static str> {
        if !self.application_id.starts_with("amzn1.") || self.state.is_empty() {
            return Err("MD1000");
        }
        if self.redirect_uri.is_empty() {
            return Err("MD9100");
        }
        let url = Url::parse(&self.redirect_uri).map_err(|_malformed| "MD5101")?;
        if url.fragment().is_some() {
            return Err("MD5110");
        }
        let loopback = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        if url.scheme() == "https" || loopback {
            Ok(url)
        } else {
            Err("MD5101")
        }
    }
}

fn shown(asked: &Asked) -> Answer {
    match asked.way_back() {
        Err(code) => page(StatusCode::BAD_REQUEST, &trouble(code)),
        Ok(_) => page(
            StatusCode::OK,
            &html! {
                h1 { "Authorize an application" }
                p { "The application " code { (asked.application_id) } " asks to call the Selling Partner API for this account. This is the sandbox: no account of Amazon's is behind it." }
                form method="post" action="/apps/authorize/confirm" {
                    input type="hidden" name="application_id" value=(asked.application_id);
                    input type="hidden" name="state" value=(asked.state);
                    input type="hidden" name="redirect_uri" value=(asked.redirect_uri);
                    button type="submit" id="confirm" { "Confirm" } " "
                    button type="submit" id="cancel" name="decision" value="cancel" { "Cancel" }
                }
            },
        ),
    }
}

fn confirmed(asked: &Asked) -> Answer {
    let mut url = match asked.way_back() {
        Ok(url) => url,
        Err(code) => return page(StatusCode::BAD_REQUEST, &trouble(code)),
    };
    url.query_pairs_mut().append_pair("state", &asked.state);
    if asked.cancels {
        url.query_pairs_mut().append_pair("error", "access_denied");
        return sent_back(url);
    }
    let partner: String = random_text(16)
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(12)
        .collect();
    url.query_pairs_mut()
        .append_pair(
            "selling_partner_id",
            &format!("A{}", partner.to_uppercase()),
        )
        .append_pair("spapi_oauth_code", &format!("AN{}", random_text(18)));
    sent_back(url)
}

fn sent_back(url: Url) -> Answer {
    let mut answer = respond::bare(StatusCode::FOUND);
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(location) = HeaderValue::try_from(String::from(url)) {
        headers.insert(LOCATION, location);
    }
    answer
}

fn trouble(code: &str) -> Markup {
    html! {
        h1 { "The application cannot be authorized" }
        p { "Error code: " strong id="code" { (code) } }
    }
}

fn page(status: StatusCode, content: &Markup) -> Answer {
    let text = html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; link rel="icon" href="data:,"; title { "Seller Central (sandbox)" } }
            body { main { (content) } }
        }
    };
    respond::with_type(status, "text/html; charset=utf-8", text.into_string())
}
