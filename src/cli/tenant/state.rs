//! `tenant kill`, `quarantine`, `resume`, `refresh`: asked of the running sidecar, or written to the store where none runs.

use serde_json::{Value, json};

use super::known_tenant;
use crate::cli::ask::{self, Silence};
use crate::cli::{Complaint, ConfigArg, Exit, store, who};
use crate::config::Config;
use crate::fleet::change::{Change, ChangeError, commit};
use crate::fleet::why::Why;
use crate::telemetry;
use crate::tenant::TenantId;
use crate::token::lease::empty_records;

/// A change of a tenant's state.
#[derive(clap::Args, Clone, Debug)]
pub struct StateArgs {
    /// The tenant's id.
    #[arg(value_name = "ID")]
    pub id: String,
    /// Why: it stands in the store's record, the audit and the refusals.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who does it; the operating system's name for this user by default.
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArg,
}

/// `tenant refresh`.
#[derive(clap::Args, Clone, Debug)]
pub struct RefreshArgs {
    /// The tenant's id.
    #[arg(value_name = "ID")]
    pub id: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArg,
}

/// What is to become of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Move {
    Kill,
    Quarantine,
    Resume,
}

impl Move {
    const fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Quarantine => "quarantine",
            Self::Resume => "resume",
        }
    }

    fn change(self, tenant: TenantId, why: Why) -> Change {
        match self {
            Self::Kill => Change::Kill(tenant, why),
            Self::Quarantine => Change::Quarantine(tenant, why),
            Self::Resume => Change::Resume(tenant, why),
        }
    }
}

/// Does it.
pub(super) fn set(args: &StateArgs, to: Move) -> Result<Exit, Complaint> {
    let config = crate::cli::load(&args.config.config)?;
    let why = Why::new(&args.reason, &who::operator(args.by.as_deref()))
        .map_err(|unexplained| Complaint(format!("--reason: {unexplained}")))?;
    let tenant = tenant_id(&args.id)?;
    let path = format!("/api/v1/tenants/{tenant}/{}", to.word());
    let body = json!({"reason": why.reason(), "by": why.by()});
    match ask::post(&config, &path, &body)? {
        Ok((200, answer)) => say(
            args.json,
            answer,
            "sidecar",
            "The running sidecar did it; the whole fleet follows within 10 s.",
        ),
        Ok((status, body)) => Ok(ask::failed(status, &body)),
        Err(Silence::NotRunning(_)) => directly(args, &config, &to.change(tenant, why)),
        Err(silence @ Silence::Lost(_)) => {
            crate::cli::note(&format!(
                "error: {silence}\nWhether it was done is not known: `spapi-sidecar tenant show {tenant}` tells.\n"
            ));
            Ok(Exit::Failed)
        }
    }
}

/// No sidecar runs here: the store's record is written.
fn directly(args: &StateArgs, config: &Config, change: &Change) -> Result<Exit, Complaint> {
    let store = store::open(config)?;
    let outcome = store::block_on(async {
        match known_tenant(config, store.as_ref(), &args.id).await {
            // one that is in the configuration no longer may still be resumed
            Ok(Err(unknown)) if !matches!(change, Change::Resume(..)) => return Err(unknown),
            Ok(_) => {}
            Err(error) => return Ok(Err(error.into())),
        }
        let committed = commit(store.as_ref(), change, telemetry::now()).await;
        if let (Ok(_), Change::Kill(tenant, _)) = (&committed, change)
            && let Err(error) = empty_records(store.as_ref(), tenant).await
        {
            return Ok(Err(error.into()));
        }
        Ok(committed)
    })??;
    match outcome {
        Ok(committed) => {
            let tenant = change.tenant().map_or("", TenantId::as_str);
            let standing = change
                .tenant()
                .and_then(|tenant| committed.record.standing(tenant));
            let answer = json!({
                "tenant": tenant,
                "state": standing.as_ref().map_or("active", |standing| standing.state.as_str()),
                "changed": committed.written,
                "reason": standing.as_ref().map(|standing| &standing.reason),
                "by": standing.as_ref().map(|standing| &standing.by),
                "since": standing.as_ref().map(|standing| &standing.since),
            });
            let how = format!(
                "No sidecar answers on {}: {} was written; sidecars that run elsewhere follow within 10 s.",
                config.listen.admin,
                store.describe()
            );
            say(args.json, answer, "store", &how)
        }
        Err(ChangeError::Store(error)) => store::finish(Err(error)),
        Err(
            error @ (ChangeError::Killed { .. }
            | ChangeError::NoSuchBreakGlass(_)
            | ChangeError::TooManyBreakGlasses),
        ) => {
            crate::cli::note(&format!("error: {error}\n"));
            Ok(Exit::Failed)
        }
    }
}

fn say(as_json: bool, mut answer: Value, done_by: &str, how: &str) -> Result<Exit, Complaint> {
    if as_json {
        if let Some(fields) = answer.as_object_mut() {
            fields.insert("done_by".to_owned(), done_by.into());
        }
        crate::cli::print(format!("{answer:#}\n"))?;
        return Ok(Exit::Done);
    }
    let word = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
    let already = if answer.get("changed") == Some(&Value::Bool(false)) {
        "already "
    } else {
        ""
    };
    let text = format!(
        "tenant {} is {already}{}\n{how}\n",
        word("tenant"),
        word("state")
    );
    crate::cli::print(text)?;
    Ok(Exit::Done)
}

/// Does it.
pub(super) fn refresh(args: &RefreshArgs) -> Result<Exit, Complaint> {
    let config = crate::cli::load(&args.config.config)?;
    let path = format!("/api/v1/tenants/{}/refresh", tenant_id(&args.id)?);
    match ask::post(&config, &path, &json!({}))? {
        Ok((200, answer)) if args.json => crate::cli::print(format!("{answer:#}\n"))?,
        Ok((200, answer)) => {
            let left = answer.get("expires_in_s").and_then(Value::as_u64);
            let left = left.unwrap_or_default();
            crate::cli::print(format!(
                "tenant {} has a new access token, for {left} s\n",
                args.id
            ))?;
        }
        Ok((status, body)) => return Ok(ask::failed(status, &body)),
        Err(silence) => {
            crate::cli::note(&format!("error: {silence}\n"));
            return Ok(Exit::Failed);
        }
    }
    Ok(Exit::Done)
}

fn tenant_id(id: &str) -> Result<TenantId, Complaint> {
    TenantId::parse(id).map_err(|error| Complaint(format!("\"{}\": {error}", id.escape_debug())))
}
