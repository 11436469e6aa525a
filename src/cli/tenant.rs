//! `spapi-sidecar tenant`: what is done with a tenant's records in the store.

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::config::{Config, Tenants};
use crate::phantom::Kind;
use crate::secret::{Looks, ProxyKey, RefreshToken};
use crate::store::record::{Grant, ProxyKeyHash, phantom_key};
use crate::store::{Expect, Folder, GrantStore, RecordKey, StoreError};
use crate::tenant::TenantId;

use super::prompt::SecretLines;
use super::{Complaint, ConfigArg, Exit, store};

mod list;
mod show;
mod state;

pub use list::ListArgs;
pub use show::ShowArgs;
pub use state::{RefreshArgs, StateArgs};

/// How often a write is tried when somebody else writes the same record.
const WRITE_TRIES: u32 = 4;
/// Characters of a proxy key: 190 bits.
const KEY_LENGTH: usize = 32;
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// What can be done with a tenant.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum TenantCommand {
    /// List the tenants, and whether the store holds what they need.
    #[command(after_help = "Example:\n  spapi-sidecar tenant list --json")]
    List(ListArgs),
    /// Show one tenant: its profile, its state, and what the store and the running sidecar hold for it.
    #[command(after_help = "Example:\n  spapi-sidecar tenant show acme")]
    Show(ShowArgs),
    /// Have the running sidecar exchange a tenant's access token now.
    #[command(after_help = "Example:\n  spapi-sidecar tenant refresh acme")]
    Refresh(RefreshArgs),
    /// Switch a tenant off, everywhere: its tokens are dropped at once, and its calls are refused as `tenant_killed`.
    ///
    /// The running sidecar does it; where none runs here, the store's record is written, which every sidecar follows within
    /// ten seconds. It survives restarts, and ends with `tenant resume`.
    #[command(
        after_help = "Example:\n  spapi-sidecar tenant kill acme --reason \"refresh token leaked, INC-1234\""
    )]
    Kill(StateArgs),
    /// Set a tenant aside: its calls are refused as `tenant_quarantined`, its tokens stay.
    #[command(
        after_help = "Example:\n  spapi-sidecar tenant quarantine acme --reason \"vendor link under review\""
    )]
    Quarantine(StateArgs),
    /// Serve a tenant again that was killed or set aside.
    #[command(
        after_help = "Example:\n  spapi-sidecar tenant resume acme --reason \"new authorization in place\""
    )]
    Resume(StateArgs),
    /// Put a tenant's refresh token into the store.
    ///
    /// It is asked for at the prompt, or read from standard input, one line. It is never taken from an argument.
    #[command(after_help = "Example:\n  spapi-sidecar tenant put-token acme < refresh-token.txt")]
    PutToken(IdArgs),
    /// Print a phantom refresh token: what a program is configured with instead of the real one.
    #[command(after_help = "Example:\n  spapi-sidecar tenant phantom acme")]
    Phantom(IdArgs),
    /// Make the key with which a program proves its tenant to the proxy, and print it once.
    ///
    /// The store keeps its hash alone. The key that was there before stops working.
    #[command(
        after_help = "Example:\n  HTTPS_PROXY=http://acme:$(spapi-sidecar tenant proxy-key acme)@127.0.0.1:3128"
    )]
    ProxyKey(IdArgs),
}

/// A command for one tenant.
#[derive(clap::Args, Clone, Debug)]
pub struct IdArgs {
    /// The tenant's id.
    #[arg(value_name = "ID")]
    pub id: String,
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArg,
}

/// Does it.
///
/// # Errors
/// An unknown tenant, an empty or unsuitable token, or an unusable configuration.
pub fn run(command: &TenantCommand) -> Result<Exit, Complaint> {
    match command {
        TenantCommand::List(args) => list::list(args),
        TenantCommand::Show(args) => show::show(args),
        TenantCommand::Refresh(args) => state::refresh(args),
        TenantCommand::Kill(args) => state::set(args, state::Move::Kill),
        TenantCommand::Quarantine(args) => state::set(args, state::Move::Quarantine),
        TenantCommand::Resume(args) => state::set(args, state::Move::Resume),
        TenantCommand::PutToken(args) => for_tenant(args, async |store, tenant| {
            let token = SecretLines::from_stdin().next("refresh_token")?;
            let token = suitable(&token)?;
            Ok(put_token(store, &tenant, token, None, store::today()).await)
        }),
        TenantCommand::Phantom(args) => for_tenant(args, async |store, tenant| {
            let nonce = random_number()?;
            Ok(phantom(store, &tenant, nonce).await)
        }),
        TenantCommand::ProxyKey(args) => for_tenant(args, async |store, tenant| {
            let key = new_proxy_key()?;
            Ok(put_proxy_key(store, &tenant, key).await)
        }),
    }
}

fn for_tenant(
    args: &IdArgs,
    work: impl AsyncFnOnce(&dyn GrantStore, TenantId) -> Result<Result<String, StoreError>, Complaint>,
) -> Result<Exit, Complaint> {
    let config = super::load(&args.config.config)?;
    let store = store::open(&config)?;
    let outcome = store::block_on(async {
        let tenant = match known_tenant(&config, store.as_ref(), &args.id).await {
            Ok(tenant) => tenant?,
            Err(error) => return Ok(Err(error)),
        };
        work(store.as_ref(), tenant).await
    })??;
    store::finish(outcome)
}

/// The tenant of this id, from the configuration or, where that says so, from the profiles in the store.
async fn known_tenant(
    config: &Config,
    store: &dyn GrantStore,
    id: &str,
) -> Result<Result<TenantId, Complaint>, StoreError> {
    match &config.tenants {
        Tenants::Listed(tenants) => {
            let known = tenants.iter().find(|tenant| tenant.id.as_str() == id);
            Ok(known.map(|tenant| tenant.id.clone()).ok_or_else(|| {
                let ids: Vec<&str> = tenants.iter().map(|tenant| tenant.id.as_str()).collect();
                store::unknown("tenant", id, "the configuration", &ids)
            }))
        }
        Tenants::FromStore => {
            if let Ok(tenant) = TenantId::parse(id)
                && store
                    .read(&RecordKey::Profile(tenant.clone()))
                    .await?
                    .is_some()
            {
                return Ok(Ok(tenant));
            }
            let ids = store.list(Folder::Tenants).await?;
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            Ok(Err(store::unknown(
                "tenant with a profile",
                id,
                "the store",
                &ids,
            )))
        }
    }
}

/// Refuses what is certainly no refresh token, before it replaces one.
fn suitable(token: &Zeroizing<String>) -> Result<RefreshToken, Complaint> {
    let what = match Looks::of(token) {
        Looks::Refresh | Looks::Other => return Ok(RefreshToken::new(token.as_str().to_owned())),
        Looks::Access | Looks::Grantless => "an access token, which lives for an hour",
        Looks::Restricted => "a restricted data token, which lives for an hour",
        Looks::Phantom => "one of our own phantom tokens",
    };
    Err(Complaint(format!(
        "this is {what}; the store needs the refresh token that Amazon issued (Atzr|…)"
    )))
}

/// Writes a refresh token, and the selling partner's id where it is known.
pub(super) async fn put_token(
    store: &dyn GrantStore,
    tenant: &TenantId,
    token: RefreshToken,
    selling_partner: Option<String>,
    today: String,
) -> Result<String, StoreError> {
    let key = RecordKey::Grant(tenant.clone());
    let mut outcome = Err(StoreError::Conflict(key.path()));
    for _try in 0..WRITE_TRIES {
        let record = store.read(&key).await?;
        let expect = record
            .as_ref()
            .map_or(Expect::Absent, |record| Expect::Version(record.version));
        let before = record.and_then(|record| Grant::from_record(tenant, &record).ok());
        let same = before
            .as_ref()
            .filter(|before| before.refresh_token.same_as(&token));
        let grant = Grant {
            refresh_token: token.clone(),
            // the same token again is the same authorization, as old as it was
            authorized_at: same
                .and_then(|before| before.authorized_at.clone())
                .or_else(|| Some(today.clone())),
            selling_partner_id: selling_partner
                .clone()
                .or_else(|| before.and_then(|before| before.selling_partner_id)),
        };
        outcome = store.write(&key, grant.into_fields(), expect).await;
        if !matches!(outcome, Err(StoreError::Conflict(_))) {
            break;
        }
    }
    let version = outcome?;
    Ok(format!(
        "{key} written, version {version}, to {}\n",
        store.describe()
    ))
}

async fn phantom(
    store: &dyn GrantStore,
    tenant: &TenantId,
    nonce: u64,
) -> Result<String, StoreError> {
    let key = phantom_key(store).await?;
    Ok(format!(
        "{}\n",
        key.mint(Kind::Refresh, Some(tenant), nonce)
    ))
}

async fn put_proxy_key(
    store: &dyn GrantStore,
    tenant: &TenantId,
    key: ProxyKey,
) -> Result<String, StoreError> {
    let fields = ProxyKeyHash::of(&key).into_fields();
    store
        .write(&RecordKey::ProxyKey(tenant.clone()), fields, Expect::Any)
        .await?;
    Ok(format!("{}\n", key.expose()))
}

/// Characters drawn evenly: a byte that would favour the first ones is drawn again.
fn new_proxy_key() -> Result<ProxyKey, Complaint> {
    let fair = ALPHABET.len() * (256 / ALPHABET.len());
    let mut key = Zeroizing::new(String::with_capacity(KEY_LENGTH));
    while key.len() < KEY_LENGTH {
        let mut drawn = Zeroizing::new([0_u8; KEY_LENGTH]);
        fill(drawn.as_mut_slice())?;
        let characters = drawn
            .iter()
            .map(|byte| usize::from(*byte))
            .filter(|number| *number < fair)
            .filter_map(|number| ALPHABET.get(number % ALPHABET.len()))
            .map(|character| char::from(*character))
            .take(KEY_LENGTH - key.len());
        key.extend(characters);
    }
    Ok(ProxyKey::new(key.as_str().to_owned()))
}

fn random_number() -> Result<u64, Complaint> {
    let mut bytes = [0; 8];
    fill(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

fn fill(bytes: &mut [u8]) -> Result<(), Complaint> {
    rand::fill(bytes)
        .map_err(|_unspecified| Complaint("the operating system gave no random bytes".to_owned()))
}

#[cfg(test)]
pub(super) mod tests;
