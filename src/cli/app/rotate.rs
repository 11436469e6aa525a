//! `app rotate`: a new client secret from Amazon.

use crate::app::errand;
use crate::config::{Config, Environment, Region, Tenants};
use crate::name::Authority;
use crate::policy::sp_api_host;
use crate::task::Tasks;
use crate::tenant::AppId;
use crate::token::rotation::{self, RotationFailure};

use super::super::{Complaint, ConfigArg, Exit, run, store};

/// `app rotate ID`.
#[derive(clap::Args, Clone, Debug)]
pub struct RotateArgs {
    /// The app's id, as `apps` in the configuration calls it.
    #[arg(value_name = "ID")]
    pub id: String,
    /// Whose endpoint is asked: na, eu or fe. Without it, that of the app's first tenant.
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArg,
}

pub(super) fn rotate(args: &RotateArgs) -> Result<Exit, Complaint> {
    let config = super::super::load(&args.config.config)?;
    let app = super::known_app(&config, &args.id)?;
    let region = match &args.region {
        Some(text) => parse(text)?,
        None => region_of(&config, &app)?,
    };
    let outcome = run::control_runtime(1)?.block_on(ask(&config, &app, region))?;
    match outcome {
        Ok(()) => {
            super::super::print(format!(
                "Amazon has issued a new client secret for {app}. It comes to the queue that is registered in the developer\n\
                 console, and not here; the old one works for seven more days.\n\
                 next: pipe the message, or the secret alone, into `spapi-sidecar app put-next {app}`\n"
            ))?;
            Ok(Exit::Done)
        }
        Err(failure) => {
            let remedy = match &failure {
                RotationFailure::Token(cause) => cause.remedy(),
                RotationFailure::Unreachable(_)
                | RotationFailure::Throttled
                | RotationFailure::Refused(_)
                | RotationFailure::Unexpected(_) => String::new(),
            };
            super::super::note(&format!("spapi-sidecar: {failure}\n{remedy}\n"));
            Ok(Exit::Failed)
        }
    }
}

async fn ask(
    config: &Config,
    app: &AppId,
    region: Region,
) -> Result<Result<(), RotationFailure>, Complaint> {
    let unusable = |error: crate::app::StartError| Complaint(error.to_string());
    let store = store::open(config)?;
    let tasks = Tasks::new(tokio::runtime::Handle::current());
    let dialer = errand::dialer(config).map_err(unusable)?;
    let transport = errand::transport(config, &dialer, &tasks);
    let lwa = errand::lwa(config, &store, std::sync::Arc::clone(&transport), &tasks);
    let lwa = lwa.map_err(unusable)?;
    // only production apps rotate
    let host = sp_api_host(region, Environment::Production);
    let host = Authority::parse_with_default(host, 443)
        .map_err(|error| Complaint::while_doing("the endpoint's name", error))?;
    Ok(rotation::rotate(&lwa, &*transport, &config.inject, &host, app).await)
}

fn parse(text: &str) -> Result<Region, Complaint> {
    [Region::Na, Region::Eu, Region::Fe]
        .into_iter()
        .find(|region| region.as_str() == text)
        .ok_or_else(|| Complaint("--region is na, eu or fe".to_owned()))
}

fn region_of(config: &Config, app: &AppId) -> Result<Region, Complaint> {
    let tenants = match &config.tenants {
        Tenants::Listed(tenants) => tenants.as_slice(),
        Tenants::FromStore => &[],
    };
    let tenant = tenants.iter().find(|tenant| tenant.app == *app);
    tenant.map(|tenant| tenant.region).ok_or_else(|| {
        Complaint(format!(
            "the configuration lists no tenant of app {app}, so that its region is not known; say it with --region na, eu or fe"
        ))
    })
}
