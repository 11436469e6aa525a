//! `spapi-sidecar app`: an app's credentials into the store.

use crate::config::Config;
use crate::secret::{ClientId, ClientSecret};
use crate::store::record::AppCredentials;
use crate::store::{Expect, GrantStore, RecordKey, StoreError};
use crate::tenant::AppId;

use super::prompt::SecretLines;
use super::{Complaint, ConfigArg, Exit, store};

mod next;
mod rotate;

pub use next::PutNextArgs;
pub use rotate::RotateArgs;

/// What can be done with an app.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum AppCommand {
    /// Put an app's client id and client secret into the store.
    ///
    /// Both are asked for at the prompt, or read from standard input, a line each: client id, then client secret. They
    /// replace what is there; a `client_secret_next` is dropped. They are never taken from arguments.
    #[command(after_help = "Example:\n  spapi-sidecar app put erp < credentials.txt")]
    Put(PutArgs),
    /// Have Amazon issue a new client secret (`rotateApplicationClientSecret`).
    ///
    /// The new secret comes to the SQS queue that is registered for the app in the developer console, never in the answer.
    /// The old one works for seven more days: `app put-next` puts the new one beside it, and no call fails in between.
    #[command(after_help = "Example:\n  spapi-sidecar app rotate erp")]
    Rotate(RotateArgs),
    /// Put the client secret that a rotation has issued beside the one in use.
    ///
    /// It is asked for at the prompt, or read from standard input or a file: the secret alone, or Amazon's message
    /// (`APPLICATION_OAUTH_CLIENT_NEW_SECRET`) as the queue gave it. Sidecars go on with the old secret until Amazon refuses it,
    /// then take this one and put it in its place.
    #[command(
        after_help = "Example:\n  aws sqs receive-message --queue-url \"$QUEUE\" | spapi-sidecar app put-next erp"
    )]
    PutNext(PutNextArgs),
}

/// `app put ID`.
#[derive(clap::Args, Clone, Debug)]
pub struct PutArgs {
    /// The app's id, as `apps` in the configuration calls it.
    #[arg(value_name = "ID")]
    pub id: String,
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArg,
}

/// Does it.
///
/// # Errors
/// An unknown app, an empty secret, or an unusable configuration.
pub fn run(command: &AppCommand) -> Result<Exit, Complaint> {
    match command {
        AppCommand::Put(args) => put_both(args),
        AppCommand::Rotate(args) => rotate::rotate(args),
        AppCommand::PutNext(args) => next::put_next(args),
    }
}

fn put_both(args: &PutArgs) -> Result<Exit, Complaint> {
    let config = super::load(&args.config.config)?;
    let app = known_app(&config, &args.id)?;
    let store = store::open(&config)?;
    let mut lines = SecretLines::from_stdin();
    let client_id = ClientId::new(lines.next("client_id")?.as_str().to_owned());
    let client_secret = ClientSecret::new(lines.next("client_secret")?.as_str().to_owned());
    let today = store::today();
    let work = put(store.as_ref(), &app, client_id, client_secret, today);
    store::finish(store::block_on(work)?)
}

fn known_app(config: &Config, id: &str) -> Result<AppId, Complaint> {
    let known = config.apps.iter().find(|app| app.id.as_str() == id);
    known.map(|app| app.id.clone()).ok_or_else(|| {
        let ids: Vec<&str> = config.apps.iter().map(|app| app.id.as_str()).collect();
        store::unknown("app", id, "the configuration", &ids)
    })
}

async fn put(
    store: &dyn GrantStore,
    app: &AppId,
    client_id: ClientId,
    client_secret: ClientSecret,
    today: String,
) -> Result<String, StoreError> {
    let credentials = AppCredentials {
        client_id,
        client_secret,
        client_secret_next: None,
        rotated_at: Some(today),
    };
    let key = RecordKey::App(app.clone());
    let version = store
        .write(&key, credentials.into_fields(), Expect::Any)
        .await?;
    Ok(format!(
        "{key} written, version {version}, to {}\n",
        store.describe()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Opaque;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn putting_an_app_replaces_its_secret_and_drops_the_next_one() {
        let store = MemoryStore::default();
        let erp = AppId::parse("erp").unwrap();
        let old = ["client_id", "client_secret", "client_secret_next"]
            .map(|name| (name.to_owned(), Opaque::new("old".to_owned())));
        store
            .write(&RecordKey::App(erp.clone()), old.into(), Expect::Any)
            .await
            .unwrap();
        let text = put(
            &store,
            &erp,
            ClientId::new("amzn1.new".to_owned()),
            ClientSecret::new("canary-secret".to_owned()),
            "2026-11-23".to_owned(),
        )
        .await
        .unwrap();
        assert_eq!(text, "apps/erp written, version 2, to memory\n");
        let (credentials, _version) = AppCredentials::load(&store, &erp).await.unwrap().unwrap();
        assert_eq!(credentials.client_id.expose(), "amzn1.new");
        assert_eq!(credentials.client_secret.expose(), "canary-secret");
        assert!(credentials.client_secret_next.is_none());
        assert_eq!(credentials.rotated_at.as_deref(), Some("2026-11-23"));
    }

    #[test]
    fn an_unknown_app_is_a_complaint_that_lists_the_known_ones() {
        let config = crate::cli::tenant::tests::config();
        assert!(known_app(&config, "erp").is_ok());
        assert_eq!(
            known_app(&config, "Erp\n").unwrap_err().0,
            "the configuration knows no app \"Erp\\n\"; it knows: crm, erp"
        );
    }
}
