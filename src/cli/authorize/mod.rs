//! `authorize`: a selling partner's consent, from the link to the refresh token in the store.
//!
//! Job: print what is asked and why and the link; take what comes back, at a loopback listener or pasted; exchange the code at
//! once; write the grant.
//! Invariants: neither the code nor the refresh token is printed, logged or put into an argument; the `state` is good once and
//! for ten minutes; whatever goes wrong, the grant that is in the store stays.
//! Failure mode: exit code 1 with what Amazon's code means and what to do.
//! Source: SP-API's website authorization workflow.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;
use url::Url;

use super::{Complaint, ConfigArg, Exit, store, tenant};
use crate::app::errand;
use crate::config::{Config, Tenant, marketplace};
use crate::onboard::central;
use crate::onboard::consent::{self, Granted, Link, Pending};
use crate::onboard::plea::Plea;
use crate::store::record::application_id;
use crate::store::{GrantStore, RecordKey, StoreError};
use crate::task::Tasks;
use crate::token::Cause;

mod callback;
mod paste;

/// Let a selling partner authorize the application, and store the refresh token that comes of it.
///
/// It prints what is asked for and why, and a link. Open it signed in as the primary user of the selling account. Amazon then
/// sends the browser to the redirect URI: by default a listener of this command on loopback. Where the application has another
/// one registered, name it with --redirect-uri and paste the address that the browser ends at. The refresh token goes
/// straight into the store and is never shown.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  spapi-sidecar authorize acme --application-id amzn1.sellerapps.app.…\n  spapi-sidecar authorize acme --redirect-uri https://example.com/callback\n  spapi-sidecar authorize --explain MD5101"
)]
pub struct Args {
    /// The tenant's id.
    #[arg(value_name = "TENANT", required_unless_present = "explain")]
    tenant: Option<String>,
    /// The application's id, as the developer console shows it; else the field `application_id` of apps/APP in the store.
    #[arg(long, value_name = "ID")]
    application_id: Option<String>,
    /// A redirect URI that the application has registered; the address that the browser ends at is then pasted here.
    #[arg(long, value_name = "URL")]
    redirect_uri: Option<Url>,
    /// Where the answer is waited for, on loopback; its /callback has to be registered with the application.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8765",
        conflicts_with = "redirect_uri"
    )]
    listen: SocketAddr,
    /// The application is still a draft.
    #[arg(long)]
    draft: bool,
    /// Another consent page: for the sandbox `https://127.0.0.1:9443`, or a marketplace whose page is not known.
    #[arg(long, value_name = "URL")]
    central: Option<Url>,
    /// Say what an error code of the consent page means, and do nothing else.
    #[arg(long, value_name = "CODE", exclusive = true)]
    explain: Option<String>,
    #[command(flatten)]
    config: ConfigArg,
}

/// Runs the command.
///
/// # Errors
/// An unusable configuration, an unknown tenant, or nothing that names the application or its consent page.
pub fn run(args: &Args) -> Result<Exit, Complaint> {
    if let Some(code) = &args.explain {
        return explained(code);
    }
    let config = super::load(&args.config.config)?;
    let store = store::open(&config)?;
    super::run::control_runtime(1)?.block_on(authorize(args, &config, &store))
}

fn explained(code: &str) -> Result<Exit, Complaint> {
    if let Some(meaning) = consent::explain(code) {
        super::print(format!("{}: {meaning}\n", code.to_uppercase()))?;
        return Ok(Exit::Done);
    }
    let known: Vec<&str> = consent::ERRORS.iter().map(|(known, _)| *known).collect();
    super::note(&format!(
        "spapi-sidecar: no such code is documented; known are {}\n",
        known.join(", ")
    ));
    Ok(Exit::Failed)
}

async fn authorize(
    args: &Args,
    config: &Config,
    store: &Arc<dyn GrantStore>,
) -> Result<Exit, Complaint> {
    let id = args.tenant.as_deref().unwrap_or_default();
    let profile = profile(config, id)?;
    let application = match application(args, store.as_ref(), &profile).await {
        Ok(application) => application?,
        Err(error) => return store::finish(Err(error)),
    };
    let central = central(args, &profile)?;
    let listener = match &args.redirect_uri {
        Some(_) => None,
        None => Some(callback::bind(args.listen).await?),
    };
    let redirect_uri = match (&args.redirect_uri, &listener) {
        (Some(uri), _) => uri.clone(),
        (None, Some(listener)) => listener.redirect_uri.clone(),
        (None, None) => return Err(Complaint("no way back was chosen".to_owned())),
    };
    let mut pending = Pending::new(&rand::random(), Instant::now());
    let link = pending.url(&Link {
        central: &central,
        application_id: &application,
        redirect_uri: &redirect_uri,
        draft: args.draft,
    });
    super::print(intro(config, &profile, &link, listener.is_some()))?;
    let granted = match wait(&mut pending, listener).await? {
        Ok(granted) => granted,
        Err(why) => {
            super::note(&format!("spapi-sidecar: {why}\n"));
            return Ok(Exit::Failed);
        }
    };
    finish(config, store, &profile, &granted, redirect_uri.as_str()).await
}

fn profile(config: &Config, id: &str) -> Result<Arc<Tenant>, Complaint> {
    let tenants = match &config.tenants {
        crate::config::Tenants::Listed(tenants) => tenants,
        crate::config::Tenants::FromStore => {
            return Err(Complaint("`authorize` takes tenants that proxy.yaml lists; name one there for the time of the authorization".to_owned()));
        }
    };
    let known = tenants.iter().find(|tenant| tenant.id.as_str() == id);
    known.map(Arc::clone).ok_or_else(|| {
        let ids: Vec<&str> = tenants.iter().map(|tenant| tenant.id.as_str()).collect();
        store::unknown("tenant", id, "the configuration", &ids)
    })
}

/// The application's id: no secret, so an argument will do; else the store's word.
async fn application(
    args: &Args,
    store: &dyn GrantStore,
    profile: &Tenant,
) -> Result<Result<String, Complaint>, StoreError> {
    let app = &profile.app;
    let Some(record) = store.read(&RecordKey::App(app.clone())).await? else {
        return Ok(Err(Complaint(format!(
            "the store has no credentials for app {app}: run `spapi-sidecar app put {app}` first, so that the code can be exchanged within its five minutes"
        ))));
    };
    let named = args
        .application_id
        .clone()
        .or_else(|| application_id(&record));
    Ok(match named {
        Some(id) if id.starts_with("amzn1.") => Ok(id),
        Some(_) => Err(Complaint("an application id begins with amzn1.sellerapps.app. or amzn1.sp.solution.; it is not the client id".to_owned())),
        None => Err(Complaint(format!("name the application with --application-id (developer console, \"App ID\"), or put it into the field application_id of apps/{app}"))),
    })
}

fn central(args: &Args, profile: &Tenant) -> Result<Url, Complaint> {
    if let Some(url) = &args.central {
        return match url.scheme() {
            "https" => Ok(url.clone()),
            _ => Err(Complaint("--central is an https:// address".to_owned())),
        };
    }
    let first = profile
        .marketplaces
        .first()
        .map(String::as_str)
        .or_else(|| marketplace::of_region(profile.region).next())
        .unwrap_or_default();
    let host = central::host(first, profile.account).ok_or_else(|| {
        Complaint(format!(
            "the consent page of marketplace {first} is not known; name it with --central https://…"
        ))
    })?;
    Url::parse(&format!("https://{host}"))
        .map_err(|error| Complaint::while_doing("the consent page", error))
}

fn intro(config: &Config, profile: &Tenant, link: &Url, listens: bool) -> String {
    let plea = Plea::of(profile, &config.routes).text();
    let then = if listens {
        "Waiting for the answer, ten minutes at most. If Amazon's page shows an error code, type it here."
    } else {
        "Then paste the whole address that the browser ends at, within five minutes of confirming. If Amazon's page shows an error code, type that."
    };
    format!(
        "{plea}\nOpen this link, signed in as the primary user of {}'s account:\n\n{link}\n\n{then}\n",
        profile.id
    )
}

/// Waits for the listener or the keyboard, whichever has the answer.
async fn wait(
    pending: &mut Pending,
    listener: Option<callback::Listener>,
) -> Result<Result<Granted, String>, Complaint> {
    let until = pending.until();
    let mut typed = paste::lines()?;
    let mut arrived = listener.map(callback::Listener::serve);
    loop {
        let query = tokio::select! {
            () = tokio::time::sleep_until(until) => return Ok(Err("ten minutes are over; start again".to_owned())),
            Some(line) = typed.recv() => match paste::read(&line) {
                paste::Typed::Query(query) => callback::Arrived::typed(query),
                paste::Typed::Said(text) => {
                    super::note(&text);
                    continue;
                }
            },
            Some(query) = callback::next(&mut arrived) => query,
            else => return Ok(Err("standard input ended before an answer came; start again".to_owned())),
        };
        let answer = pending.answer(&query.query, Instant::now());
        query.told(answer.as_ref().err()).await;
        match answer {
            Ok(granted) => return Ok(Ok(granted)),
            Err(
                error @ (consent::CallbackError::Refused { .. } | consent::CallbackError::Late),
            ) => {
                return Ok(Err(error.to_string()));
            }
            // somebody else's, or half an answer: the right one may still come
            Err(error) => super::note(&format!("spapi-sidecar: {error}\n")),
        }
    }
}

async fn finish(
    config: &Config,
    store: &Arc<dyn GrantStore>,
    profile: &Tenant,
    granted: &Granted,
    redirect_uri: &str,
) -> Result<Exit, Complaint> {
    let tasks = Tasks::new(tokio::runtime::Handle::current());
    let outside = |error: crate::app::StartError| Complaint(error.to_string());
    let dialer = errand::dialer(config).map_err(outside)?;
    let transport = errand::transport(config, &dialer, &tasks);
    let lwa = errand::lwa(config, store, transport, &tasks).map_err(outside)?;
    let token = match lwa.redeem(&profile.app, &granted.code, redirect_uri).await {
        Ok(token) => token,
        Err(cause) => {
            super::note(&format!(
                "spapi-sidecar: the code could not be exchanged: {cause}\n{}\n",
                remedy(&cause)
            ));
            return Ok(Exit::Failed);
        }
    };
    let partner = Some(granted.selling_partner_id.clone());
    let written =
        tenant::put_token(store.as_ref(), &profile.id, token, partner, store::today()).await;
    store::finish(written.map(|text| {
        format!(
            "{} is authorized by selling partner {}.\n{text}next: spapi-sidecar preflight {}\n",
            profile.id, granted.selling_partner_id, profile.id
        )
    }))
}

fn remedy(cause: &Cause) -> String {
    if matches!(cause, Cause::GrantRevoked) {
        return "A code is good once and for five minutes, for the redirect URI that it was asked with: start again.".to_owned();
    }
    cause.remedy()
}
