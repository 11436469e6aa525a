//! An authorization code for a refresh token.
//!
//! Invariants: a code is sent once, and never shown; the refresh token that comes of it is not shown either.
//! Source: RFC 6749 section 4.1.3; SP-API's website authorization workflow (a code lives five minutes).

use zeroize::Zeroizing;

use super::{Bytes, Cause, Lwa};
use crate::secret::RefreshToken;
use crate::store::RecordKey;
use crate::store::record::AppCredentials;
use crate::tenant::AppId;

impl Lwa {
    /// Exchanges an authorization code.
    ///
    /// # Errors
    /// [`Cause::GrantRevoked`] when the code is wrong, spent or older than five minutes; else as any exchange.
    pub async fn redeem(
        &self,
        app: &AppId,
        code: &Zeroizing<String>,
        redirect_uri: &str,
    ) -> Result<RefreshToken, Cause> {
        let record = self
            .store
            .read(&RecordKey::App(app.clone()))
            .await?
            .ok_or_else(|| Cause::NoApp(app.clone()))?;
        let credentials = AppCredentials::from_record(app, &record)?;
        let mut form = url::form_urlencoded::Serializer::new(String::with_capacity(4096));
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("client_id", credentials.client_id.expose())
            .append_pair("client_secret", credentials.client_secret.expose());
        let body = Bytes::from_owner(Zeroizing::new(form.finish().into_bytes()));
        self.ask(body)
            .await?
            .refresh_token
            .ok_or(Cause::Nonsense("an answer without a refresh token"))
    }
}
