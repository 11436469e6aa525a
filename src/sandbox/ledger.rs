//! Apps, grants and the tokens that were issued for them.
//!
//! Job: remember who may have which token, and until when.
//! Invariants: secrets and tokens are held as SHA-256, never as themselves; a token belongs to one grant or to none.
//! Permissive where nothing was registered: any client id is an app whose secret is the first one seen, and any refresh
//! token that begins `Atzr|` is the grant of a selling partner of its own, with every role.
//! Failure mode: past [`TOKENS_KEPT`] tokens the expired ones are forgotten, and so answer "malformed", not "expired".

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;

use super::call::Region;
use super::fault::Whom;
use super::operation::slug;
use super::world::hex;
use crate::secret::{ClientId, ClientSecret, RefreshToken, fingerprint};

const TOKENS_KEPT: usize = 65_536;
/// Random bytes in a token: about 320 characters, as Amazon's are.
const TOKEN_BYTES: usize = 240;

/// SHA-256 of a secret.
pub(super) type Digest = [u8; 32];

pub(super) fn digest_of(text: &str) -> Digest {
    let mut out = [0; 32];
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    out.copy_from_slice(digest.as_ref());
    out
}

/// An app to know beforehand, or to change: its secret is exactly this from then on.
#[derive(Clone, Debug)]
pub struct AppRegistration {
    /// Its client id.
    pub client_id: ClientId,
    /// The secret that is good from now on.
    pub client_secret: ClientSecret,
    /// The one before, where it is to stay good, as Amazon does for seven days after a rotation.
    pub old_secret: Option<ClientSecret>,
}

/// A grant to know beforehand, or to change.
#[derive(Clone, Debug)]
pub struct GrantRegistration {
    /// The refresh token that stands for it; any text.
    pub refresh_token: RefreshToken,
    /// The selling partner's name in faults and in what was received.
    pub selling_partner: String,
    /// Roles that were granted, as names or slugs; `None` for all.
    pub roles: Option<Vec<String>>,
    /// The one region it is good for; `None` for all.
    pub region: Option<Region>,
    /// Whether this is a vendor's account.
    pub vendor: bool,
    /// The only app that may use it; `None` for any.
    pub client_id: Option<ClientId>,
}

impl GrantRegistration {
    /// A seller's grant with every role, in every region, for any app.
    #[must_use]
    pub fn new(refresh_token: RefreshToken, selling_partner: &str) -> Self {
        Self {
            refresh_token,
            selling_partner: selling_partner.to_owned(),
            roles: None,
            region: None,
            vendor: false,
            client_id: None,
        }
    }
}

/// What a selling partner granted to an app.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Grant {
    pub(super) selling_partner: String,
    /// Of its refresh token.
    pub(super) fingerprint: String,
    roles: Option<BTreeSet<String>>,
    pub(super) region: Option<Region>,
    pub(super) vendor: bool,
    client: Option<Digest>,
}

impl Grant {
    /// Whether any of these roles is held, `revoked` ones apart. A grant of all roles fails where a revoked role is among them.
    pub(super) fn holds_any(&self, roles: &[String], revoked: &[String]) -> bool {
        match &self.roles {
            None => !roles.iter().any(|role| revoked.contains(role)),
            Some(held) => {
                roles.is_empty()
                    || roles
                        .iter()
                        .any(|role| held.contains(role) && !revoked.contains(role))
            }
        }
    }
}

/// A token that was issued.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) client: Digest,
    pub(super) grant: Option<Arc<Grant>>,
    expires_at: Instant,
}

/// What a token is good for.
#[derive(Clone, Debug)]
pub(super) enum TokenKind {
    /// A selling partner's calls.
    Access,
    /// Calls of these scopes.
    Grantless(Vec<String>),
    /// These resources.
    Restricted(Arc<[Resource]>),
}

/// One resource of a restricted data token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Resource {
    pub(super) method: http::Method,
    /// Concrete, or with `{parameters}`.
    pub(super) path: String,
    pub(super) data_elements: Vec<String>,
}

/// Why a token is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BadToken {
    Unknown,
    Expired,
}

/// All apps, grants and tokens.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    apps: HashMap<Digest, Vec<Digest>>,
    grants: HashMap<Digest, Arc<Grant>>,
    /// Refresh tokens that were replaced.
    spent: HashSet<Digest>,
    codes: HashSet<Digest>,
    tokens: HashMap<Digest, Token>,
}

impl Ledger {
    pub(super) fn register_app(&mut self, app: &AppRegistration) {
        let mut secrets = vec![digest_of(app.client_secret.expose())];
        secrets.extend(app.old_secret.iter().map(|old| digest_of(old.expose())));
        self.apps.insert(digest_of(app.client_id.expose()), secrets);
    }

    pub(super) fn register_grant(&mut self, grant: &GrantRegistration) {
        let text = grant.refresh_token.expose();
        let roles = grant.roles.as_ref();
        let known = Grant {
            selling_partner: grant.selling_partner.clone(),
            fingerprint: fingerprint(text),
            roles: roles.map(|roles| roles.iter().map(|role| slug(role)).collect()),
            region: grant.region,
            vendor: grant.vendor,
            client: grant.client_id.as_ref().map(|id| digest_of(id.expose())),
        };
        self.grants.insert(digest_of(text), Arc::new(known));
    }

    /// Checks an app's secret; an unknown app's first secret becomes its secret.
    pub(super) fn authenticate(&mut self, client_id: &str, secret: &str) -> Option<Digest> {
        let client = digest_of(client_id);
        let secret = digest_of(secret);
        let secrets = self.apps.entry(client).or_insert_with(|| vec![secret]);
        secrets.contains(&secret).then_some(client)
    }

    /// The grant that a refresh token stands for.
    pub(super) fn grant(&mut self, refresh_token: &str, client: Digest) -> Option<Arc<Grant>> {
        let key = digest_of(refresh_token);
        if self.spent.contains(&key) {
            return None;
        }
        if let Some(known) = self.grants.get(&key) {
            let bound_elsewhere = known.client.is_some_and(|bound| bound != client);
            return (!bound_elsewhere).then(|| Arc::clone(known));
        }
        let body = refresh_token.strip_prefix("Atzr|")?;
        if body.is_empty() {
            return None;
        }
        let name = hex(&key).to_uppercase();
        let grant = Arc::new(Grant {
            selling_partner: format!("A{}", name.get(..13).unwrap_or(&name)),
            fingerprint: fingerprint(refresh_token),
            roles: None,
            region: None,
            vendor: false,
            client: None,
        });
        self.grants.insert(key, Arc::clone(&grant));
        Some(grant)
    }

    /// Puts another refresh token in the place of one, which is void from then on.
    pub(super) fn replace(&mut self, refresh_token: &str) -> String {
        let fresh = format!("Atzr|{}", random_text(TOKEN_BYTES));
        let key = digest_of(refresh_token);
        if let Some(grant) = self.grants.remove(&key) {
            self.grants.insert(digest_of(&fresh), grant);
        }
        self.spent.insert(key);
        fresh
    }

    /// Turns an authorization code into a refresh token, once.
    pub(super) fn redeem(&mut self, code: &str) -> Option<String> {
        self.codes
            .insert(digest_of(code))
            .then(|| format!("Atzr|{}", random_text(TOKEN_BYTES)))
    }

    /// Issues a token.
    pub(super) fn issue(
        &mut self,
        kind: TokenKind,
        client: Digest,
        grant: Option<Arc<Grant>>,
        life: Duration,
    ) -> String {
        let prefix = match kind {
            TokenKind::Access => "Atza|",
            TokenKind::Grantless(_) => "Atc|",
            TokenKind::Restricted(_) => "Atz.sprdt|",
        };
        let text = format!("{prefix}{}", random_text(TOKEN_BYTES));
        let now = Instant::now();
        if self.tokens.len() >= TOKENS_KEPT {
            self.tokens.retain(|_, token| token.expires_at > now);
        }
        let token = Token {
            kind,
            client,
            grant,
            expires_at: now + life,
        };
        self.tokens.insert(digest_of(&text), token);
        text
    }

    /// The token that a text is.
    pub(super) fn token(&self, text: &str) -> Result<Token, BadToken> {
        match self.tokens.get(&digest_of(text)) {
            None => Err(BadToken::Unknown),
            Some(token) if token.expires_at <= Instant::now() => Err(BadToken::Expired),
            Some(token) => Ok(token.clone()),
        }
    }

    /// Ends the life of tokens issued so far.
    pub(super) fn expire(&mut self, whom: &Whom) {
        let now = Instant::now();
        for token in self.tokens.values_mut() {
            if whom.is(token.grant.as_deref()) {
                token.expires_at = token.expires_at.min(now);
            }
        }
    }
}

/// Random characters of base64url.
pub(super) fn random_text(bytes: usize) -> String {
    let mut raw = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut raw).expect("the system's random source does not fail on Linux");
    URL_SAFE_NO_PAD.encode(raw)
}

/// A UUID of random digits, the form of Amazon's request ids.
pub(super) fn random_uuid() -> String {
    let mut raw = [0; 16];
    aws_lc_rs::rand::fill(&mut raw).expect("the system's random source does not fail on Linux");
    let digits = format!("{:032x}", u128::from_be_bytes(raw));
    let (head, rest) = digits.split_at(8);
    let (second, rest) = rest.split_at(4);
    let (third, rest) = rest.split_at(4);
    let (fourth, tail) = rest.split_at(4);
    format!("{head}-{second}-{third}-{fourth}-{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(roles: Option<&[&str]>) -> Grant {
        let mut ledger = Ledger::default();
        let mut asked = GrantRegistration::new(RefreshToken::new("Atzr|x".into()), "acme");
        asked.roles = roles.map(|roles| roles.iter().map(|role| (*role).to_owned()).collect());
        ledger.register_grant(&asked);
        Grant::clone(&ledger.grant("Atzr|x", [0; 32]).unwrap())
    }

    #[test]
    fn a_role_that_is_revoked_no_longer_opens_what_needs_it() {
        let need = ["pricing".to_owned(), "product-listing".to_owned()];
        let revoked = ["pricing".to_owned()];
        for (held, revoked, want) in [
            (None, &[][..], true),
            (None, &revoked[..], false),
            (Some(&["Pricing"][..]), &[][..], true),
            (Some(&["Pricing"][..]), &revoked[..], false),
            (
                Some(&["Pricing", "Product Listing"][..]),
                &revoked[..],
                true,
            ),
            (Some(&["Brand Analytics"][..]), &[][..], false),
        ] {
            assert_eq!(
                grant(held).holds_any(&need, revoked),
                want,
                "{held:?} {revoked:?}"
            );
        }
    }

    #[test]
    fn the_first_secret_of_a_client_is_its_secret_until_it_is_registered_anew() {
        let mut ledger = Ledger::default();
        assert!(ledger.authenticate("app", "one").is_some());
        assert!(ledger.authenticate("app", "two").is_none());
        ledger.register_app(&AppRegistration {
            client_id: ClientId::new("app".into()),
            client_secret: ClientSecret::new("two".into()),
            old_secret: None,
        });
        assert!(ledger.authenticate("app", "one").is_none());
        assert!(ledger.authenticate("app", "two").is_some());
    }
}
