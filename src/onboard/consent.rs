//! The link to Amazon's consent page, and what comes back from there.
//!
//! Invariants: `state` is 128 random bits, compared in constant time, good once and for [`WITHIN`]; a callback without it is
//! nobody's answer; the code lives in zeroizing memory and in no error text.

use std::fmt;
use std::time::Duration;

use subtle::ConstantTimeEq as _;
use tokio::time::Instant;
use url::Url;
use zeroize::Zeroizing;

/// How long the whole flow may take. Amazon's own bound is ten minutes; a code lives five of them.
pub const WITHIN: Duration = Duration::from_mins(10);

/// What a consent link is made of.
#[derive(Clone, Debug)]
pub struct Link<'a> {
    /// Origin of Seller Central or Vendor Central, as `https://sellercentral.amazon.com`.
    pub central: &'a Url,
    /// `amzn1.sellerapps.app.…` or `amzn1.sp.solution.…`.
    pub application_id: &'a str,
    /// Where Amazon sends the browser afterwards; has to be registered with the application.
    pub redirect_uri: &'a Url,
    /// Whether the application is a draft (`version=beta`).
    pub draft: bool,
}

/// An authorization that has been asked for and not answered yet.
pub struct Pending {
    state: Zeroizing<String>,
    until: Instant,
    answered: bool,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("answered", &self.answered)
            .finish_non_exhaustive()
    }
}

/// What a selling partner has granted.
pub struct Granted {
    /// The authorization code, to be exchanged at once.
    pub code: Zeroizing<String>,
    /// The selling partner's id.
    pub selling_partner_id: String,
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted")
            .field("selling_partner_id", &self.selling_partner_id)
            .finish_non_exhaustive()
    }
}

/// Why a callback was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallbackError {
    /// Not an answer of the consent page.
    #[error(
        "this is not the address that Amazon sends the browser to: it has no {0}; copy it whole from the browser's address bar"
    )]
    Incomplete(&'static str),
    /// Another `state`.
    #[error(
        "this answer belongs to another attempt (its state differs): open the link that was printed last. If nobody else is authorizing, somebody may be trying to slip in an account of theirs"
    )]
    Foreign,
    /// A `state` that was answered already.
    #[error("this answer was taken before; start again for another one")]
    Replayed,
    /// Too late.
    #[error("this answer came after ten minutes; start again")]
    Late,
    /// Amazon says no.
    #[error("Amazon's consent page ended with {code}: {meaning}")]
    Refused {
        /// Amazon's code, cut to what a code may look like.
        code: String,
        /// What it means and what to do.
        meaning: &'static str,
    },
}

impl Pending {
    /// Draws a `state`. `random` are 16 random bytes.
    #[must_use]
    pub fn new(random: &[u8; 16], now: Instant) -> Self {
        let mut state = Zeroizing::new(String::with_capacity(32));
        for byte in random {
            for nibble in [byte >> 4, byte & 15] {
                state.extend(char::from_digit(u32::from(nibble), 16));
            }
        }
        Self {
            state,
            until: now + WITHIN,
            answered: false,
        }
    }

    /// Until when an answer is taken.
    #[must_use]
    pub const fn until(&self) -> Instant {
        self.until
    }

    /// The link that the selling partner opens.
    #[must_use]
    pub fn url(&self, link: &Link<'_>) -> Url {
        let mut url = link.central.clone();
        url.set_path("/apps/authorize/consent");
        url.set_fragment(None);
        {
            let mut query = url.query_pairs_mut();
            query
                .clear()
                .append_pair("application_id", link.application_id)
                .append_pair("state", &self.state)
                .append_pair("redirect_uri", link.redirect_uri.as_str());
            if link.draft {
                query.append_pair("version", "beta");
            }
        }
        url
    }

    /// Reads the query with which Amazon sends the browser back; a good one is taken once.
    ///
    /// # Errors
    /// When it is incomplete, somebody else's, late, answered before, or a refusal.
    pub fn answer(&mut self, query: &str, now: Instant) -> Result<Granted, CallbackError> {
        let mut state = None;
        let mut code = None;
        let mut partner = None;
        let mut refusal = None;
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let value = Zeroizing::new(value.into_owned());
            match &*name {
                "state" | "amazon_state" if state.is_none() => state = Some(value),
                "spapi_oauth_code" => code = Some(value),
                "selling_partner_id" => partner = Some(value),
                "error" | "error_code" => refusal = Some(value),
                _ => {}
            }
        }
        let state = state.ok_or(CallbackError::Incomplete("state"))?;
        if !bool::from(state.as_bytes().ct_eq(self.state.as_bytes())) {
            return Err(CallbackError::Foreign);
        }
        if self.answered {
            return Err(CallbackError::Replayed);
        }
        if now >= self.until {
            return Err(CallbackError::Late);
        }
        if let Some(code) = refusal {
            return Err(refused(&code));
        }
        let code = code.ok_or(CallbackError::Incomplete("spapi_oauth_code"))?;
        let partner = partner.ok_or(CallbackError::Incomplete("selling_partner_id"))?;
        if code.is_empty() || !is_an_id(&partner) {
            return Err(CallbackError::Incomplete(
                "usable spapi_oauth_code and selling_partner_id",
            ));
        }
        self.answered = true;
        Ok(Granted {
            code,
            selling_partner_id: partner.to_string(),
        })
    }
}

fn is_an_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn refused(code: &str) -> CallbackError {
    let shown: String = code
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
        .take(40)
        .collect();
    let meaning = explain(&shown).unwrap_or("no documented code; Amazon's own page says more");
    CallbackError::Refused {
        code: shown,
        meaning,
    }
}

/// What a documented error code of the consent page means, and what to do.
#[must_use]
pub fn explain(code: &str) -> Option<&'static str> {
    ERRORS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(code))
        .map(|(_, meaning)| *meaning)
}

/// The documented codes, for `--help` and the test.
pub const ERRORS: [(&str, &str); 9] = [
    (
        "MD1000",
        "the application is still a draft, and the link lacks version=beta: use --draft, or publish the application",
    ),
    (
        "MD5101",
        "the redirect URI is not among those that the application has registered: register it in the developer console, letter for letter, or name a registered one with --redirect-uri",
    ),
    (
        "MD5110",
        "the redirect URI has a fragment (#…): register and use one without",
    ),
    (
        "MD9100",
        "the application has no redirect URI registered: add one in the developer console",
    ),
    (
        "SPDC8143",
        "whoever is signed in is not the primary user of the selling account: the primary user has to authorize",
    ),
    (
        "CONSENT_LIMIT_REACHED",
        "the application has as many authorizations as it may have (25 for an unlisted public one, 10 self-authorizations for a private one): list it in the Appstore, or end an authorization that is not used",
    ),
    (
        "SPSA2043",
        "whoever is signed in lacks the permission for SP-API in this vendor group (SPDS-VC-MYA): the vendor's administrator grants it in Vendor Central",
    ),
    (
        "access_denied",
        "the selling partner said no, or closed the page: ask, then open the link again",
    ),
    (
        "invalid_scope",
        "the application asks for a role that it does not have: compare its roles in the developer console",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    const REDIRECT: &str = "http://127.0.0.1:8765/callback";

    fn pending() -> Pending {
        Pending::new(&[0xab; 16], Instant::now())
    }

    fn good() -> String {
        format!(
            "spapi_oauth_code=ANcode&state={}&selling_partner_id=A1B2C3",
            "ab".repeat(16)
        )
    }

    #[test]
    fn the_link_names_the_application_the_state_and_the_way_back() {
        let (central, redirect) = (
            Url::parse("https://sellercentral.amazon.com").unwrap(),
            Url::parse(REDIRECT).unwrap(),
        );
        let mut link = Link {
            central: &central,
            application_id: "amzn1.sellerapps.app.x",
            redirect_uri: &redirect,
            draft: false,
        };
        let state = "ab".repeat(16);
        assert_eq!(
            pending().url(&link).as_str(),
            format!(
                "https://sellercentral.amazon.com/apps/authorize/consent?application_id=amzn1.sellerapps.app.x&state={state}&redirect_uri=http%3A%2F%2F127.0.0.1%3A8765%2Fcallback"
            )
        );
        link.draft = true;
        assert!(pending().url(&link).as_str().ends_with("&version=beta"));
    }

    #[test]
    fn an_answer_is_taken_once_in_time_and_with_its_own_state() {
        let now = Instant::now();
        let mut one = pending();
        let granted = one.answer(&good(), now).unwrap();
        assert_eq!(
            (granted.code.as_str(), granted.selling_partner_id.as_str()),
            ("ANcode", "A1B2C3")
        );
        assert_eq!(
            one.answer(&good(), now).unwrap_err(),
            CallbackError::Replayed
        );
        assert_eq!(
            pending()
                .answer(&good(), now + WITHIN + Duration::from_secs(1))
                .unwrap_err(),
            CallbackError::Late
        );
        for (query, want) in [
            (good().replace("abab", "abac"), CallbackError::Foreign),
            (
                good().replace("state", "stat"),
                CallbackError::Incomplete("state"),
            ),
            (
                good().replace("spapi_oauth_code", "code"),
                CallbackError::Incomplete("spapi_oauth_code"),
            ),
            (
                good().replace("A1B2C3", "<b>"),
                CallbackError::Incomplete("usable spapi_oauth_code and selling_partner_id"),
            ),
            (String::new(), CallbackError::Incomplete("state")),
        ] {
            assert_eq!(pending().answer(&query, now).unwrap_err(), want, "{query}");
        }
    }

    #[test]
    fn a_refusal_is_explained_and_the_code_is_in_no_text() {
        let query = format!("state={}&error=MD5101", "ab".repeat(16));
        let error = pending().answer(&query, Instant::now()).unwrap_err();
        assert!(
            error.to_string().contains("MD5101") && error.to_string().contains("register it"),
            "{error}"
        );
        let query = format!("state={}&error=%3Cscript%3E", "ab".repeat(16));
        assert!(
            pending()
                .answer(&query, Instant::now())
                .unwrap_err()
                .to_string()
                .contains("ended with script:")
        );
        let granted = pending().answer(&good(), Instant::now()).unwrap();
        assert!(!format!("{granted:?}").contains("ANcode"));
        for (code, _) in ERRORS {
            assert!(explain(&code.to_lowercase()).is_some());
        }
    }
}
