//! URLs and the kinds of store paths: where things are that the sidecar itself calls.
//!
//! Job: refuse what would send a secret in the clear, or put one into this file.
//! Invariants: `https`, or `http` to loopback only; no login, query or fragment in a URL; nothing that the parser of the
//! URL standard would quietly mend; no URL is ever quoted in a fault, since people put logins there.
//! Source: CONTRACT section 4; RFC 6454 leaves "loopback" to us: `127.0.0.0/8`, `::1` and `localhost`.

use serde_json::json;
use url::Url;

use super::error::Wrong;
use super::read::Text;
use crate::name::Authority;

/// An address that secrets are sent to.
pub(super) const SECURE_URL: Text<Url> = Text {
    wanted: "an https:// URL (http:// only to loopback)",
    schema: url_schema,
    parse: |text| {
        let url = plain_url(text)?;
        if url.scheme() == "https" || is_loopback(&url) {
            Ok(url)
        } else {
            Err(Wrong::new(
                "http:// leaves this machine here, unprotected",
                "write https://; http:// is for loopback alone",
            ))
        }
    },
};

/// An address that no secret is sent to.
pub(super) const URL: Text<Url> = Text {
    wanted: "an http:// or https:// URL",
    schema: url_schema,
    parse: plain_url,
};

/// What [`plain_url`] takes, as far as a pattern can say it.
fn url_schema() -> serde_json::Value {
    let pattern =
        r"^https?://[^/\\?#\u0000-\u0020\u007f-\u00a0][^\\?#\u0000-\u0020\u007f-\u00a0]*$";
    json!({ "type": "string", "format": "uri", "pattern": pattern })
}

fn plain_url(text: &str) -> Result<Url, Wrong> {
    let remedy = "write https://host:port/path";
    if text.contains(|c| matches!(c, '\0'..=' ' | '\x7f'..='\u{a0}' | '\\')) {
        return Err(Wrong::new(
            "the URL holds a space, a backslash or a control character",
            remedy,
        ));
    }
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
        return Err(Wrong::new(
            "this does not begin with https:// or http:// and a host",
            remedy,
        ));
    }
    let url =
        Url::parse(text).map_err(|_may_hold_a_login| Wrong::new("this is not a URL", remedy))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Wrong::new(
            "the URL holds a login",
            "remove it: secrets never stand in this file",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Wrong::new("the URL holds a query or a fragment", remedy));
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// `http://host:port` of a next-hop proxy.
pub(super) const NEXT_HOP: Text<Authority> = Text {
    wanted: "http://host:port",
    schema: || json!({ "type": "string", "pattern": "^http://[^/@]+:[0-9]{1,5}/?$" }),
    parse: |text| {
        let remedy = "write http://host:port";
        let rest = text
            .strip_prefix("http://")
            .ok_or_else(|| Wrong::new("a next-hop proxy is spoken to over http://", remedy))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            return Err(Wrong::new(
                "the URL holds a login",
                "remove it: secrets never stand in this file",
            ));
        }
        Authority::parse(rest).map_err(|error| Wrong::new(error.to_string(), remedy))
    },
};

/// A mount or a folder of Vault.
pub(super) const STORE_PATH: Text<String> = Text {
    wanted: "a path without a slash at either end, as in secret or team/secret",
    schema: || json!({ "type": "string", "pattern": "^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$" }),
    parse: |text| {
        let good = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        if text.split('/').all(good) {
            Ok(text.to_owned())
        } else {
            Err(Wrong::new(
                "~ is not a path in the store",
                "write segments of letters, digits, `_`, `-` and `.`, with `/` between them and at neither end",
            ))
        }
    },
};

/// A transit key's name, in which `{tenant}` stands for the tenant.
pub(super) const KEY_NAME: Text<String> = Text {
    wanted: "a key's name, as in spapi-{tenant}",
    schema: || json!({ "type": "string", "pattern": "^([A-Za-z0-9_.-]|\\{tenant\\})+$" }),
    parse: |text| {
        let bare = text.replace("{tenant}", "tenant");
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if !bare.is_empty() && bare.bytes().all(good) {
            Ok(text.to_owned())
        } else {
            Err(Wrong::new(
                "~ is not the name of a key",
                "write letters, digits, `_`, `-` and `.`, and `{tenant}` for the tenant's id",
            ))
        }
    },
};
