//! `app put-next`: the client secret that a rotation has issued, beside the one in use.

use serde_json::Value;
use zeroize::{Zeroize as _, Zeroizing};

use crate::secret::{ClientId, ClientSecret, Opaque};
use crate::store::record::AppCredentials;
use crate::store::{Expect, GrantStore, RecordKey, StoreError};
use crate::tenant::AppId;

use super::super::prompt::SecretLines;
use super::super::{Complaint, ConfigArg, Exit, store};

/// How often a write is tried when a sidecar promotes a secret at the same moment.
const WRITE_TRIES: u32 = 4;

/// How deep a message is looked into: `receive-message`, its body, a notification's envelope, its payload.
const DEPTH: u32 = 12;

/// `app put-next ID`.
#[derive(clap::Args, Clone, Debug)]
pub struct PutNextArgs {
    /// The app's id, as `apps` in the configuration calls it.
    #[arg(value_name = "ID")]
    pub id: String,
    /// Read it from this file instead of from standard input.
    #[arg(long, value_name = "FILE")]
    pub from: Option<std::path::PathBuf>,
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArg,
}

/// What came: a secret, and whose it says it is.
struct Issued {
    secret: Zeroizing<String>,
    client_id: Option<ClientId>,
}

pub(super) fn put_next(args: &PutNextArgs) -> Result<Exit, Complaint> {
    let config = super::super::load(&args.config.config)?;
    let app = super::known_app(&config, &args.id)?;
    let store = store::open(&config)?;
    let text = match &args.from {
        Some(file) => std::fs::read_to_string(file)
            .map(Zeroizing::new)
            .map_err(|error| Complaint::while_doing(&file.display().to_string(), error))?,
        None => SecretLines::from_stdin().whole("client_secret_next")?,
    };
    let issued = understand(&text)?;
    let today = store::today();
    let outcome = store::block_on(write(store.as_ref(), &app, &issued, &today))?;
    store::finish(outcome?)
}

/// The secret alone, or Amazon's message with it inside, in as many envelopes as queues and tools put around it.
fn understand(text: &str) -> Result<Issued, Complaint> {
    let text = text.trim();
    if !text.starts_with(['{', '[']) {
        if text.is_empty() || text.chars().any(char::is_whitespace) {
            return Err(Complaint(
                "what came is neither one client secret nor Amazon's message with one; nothing was written".to_owned(),
            ));
        }
        return Ok(Issued {
            secret: Zeroizing::new(text.to_owned()),
            client_id: None,
        });
    }
    // the parser's own words could quote the secret
    let mut message: Value = serde_json::from_str(text).map_err(|_quotes| {
        Complaint("what came begins like JSON and is none; nothing was written".to_owned())
    })?;
    let secret = find(&message, "newClientSecret", DEPTH);
    let client_id = find(&message, "clientId", DEPTH);
    wipe(&mut message);
    let secret = secret.ok_or_else(|| {
        Complaint(
            "the message holds no newClientSecret; is it APPLICATION_OAUTH_CLIENT_NEW_SECRET? Nothing was written".to_owned(),
        )
    })?;
    Ok(Issued {
        secret,
        client_id: client_id.map(|id| ClientId::new(id.as_str().to_owned())),
    })
}

/// The first text under a name, whatever its case; texts that are JSON themselves are looked into.
fn find(value: &Value, name: &str, depth: u32) -> Option<Zeroizing<String>> {
    let deeper = depth.checked_sub(1)?;
    match value {
        Value::Object(fields) => {
            let own = fields
                .iter()
                .find(|(field, _)| field.eq_ignore_ascii_case(name))
                .and_then(|(_, value)| value.as_str())
                .filter(|text| !text.is_empty());
            own.map(|text| Zeroizing::new(text.to_owned()))
                .or_else(|| fields.values().find_map(|value| find(value, name, deeper)))
        }
        Value::Array(values) => values.iter().find_map(|value| find(value, name, deeper)),
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            let mut inner: Value = serde_json::from_str(text).ok()?;
            let found = find(&inner, name, deeper);
            wipe(&mut inner);
            found
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

async fn write(
    store: &dyn GrantStore,
    app: &AppId,
    issued: &Issued,
    today: &str,
) -> Result<Result<String, StoreError>, Complaint> {
    let key = RecordKey::App(app.clone());
    for _ in 0..WRITE_TRIES {
        let record = match store.read(&key).await {
            Ok(Some(record)) => record,
            Ok(None) => {
                return Err(Complaint(format!(
                    "{key} is not in the store, so that there is nothing to rotate; run `spapi-sidecar app put {app}`"
                )));
            }
            Err(error) => return Ok(Err(error)),
        };
        let held = match AppCredentials::from_record(app, &record) {
            Ok(held) => held,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(theirs) = &issued.client_id
            && !theirs.same_as(&held.client_id)
        {
            return Err(Complaint(format!(
                "the message is about another client id than that of {app} in the store; nothing was written"
            )));
        }
        let secret = ClientSecret::new(issued.secret.as_str().to_owned());
        if secret.same_as(&held.client_secret) {
            return Ok(Ok(format!("{key} holds this secret already, in use\n")));
        }
        let mut fields = record.fields;
        for (name, text) in [
            ("client_secret_next", issued.secret.as_str()),
            ("client_secret_next_at", today),
        ] {
            fields.insert(name.to_owned(), Opaque::new(text.to_owned()));
        }
        match store
            .write(&key, fields, Expect::Version(record.version))
            .await
        {
            Err(StoreError::Conflict(_)) => {}
            outcome => {
                return Ok(outcome.map(|version| format!(
                    "{key} written, version {version}, to {}: sidecars go on with the old client secret, take the new one at the\n\
                     first exchange that Amazon refuses the old one for, and then put it in its place\n",
                    store.describe()
                )));
            }
        }
    }
    Ok(Err(StoreError::Conflict(key.path())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    const SECRET: &str = "amzn1.oa2-cs.v1.canary";

    #[test]
    fn a_secret_is_found_alone_and_in_every_envelope() {
        let notice = serde_json::json!({"notificationType": "APPLICATION_OAUTH_CLIENT_NEW_SECRET", "payload": {"applicationOAuthClientNewSecret": {"clientId": "amzn1.x", "newClientSecret": SECRET}}});
        let queued =
            serde_json::json!({"Messages": [{"ReceiptHandle": "r", "Body": notice.to_string()}]});
        let published = serde_json::json!({"Body": serde_json::json!({"Type": "Notification", "Message": notice.to_string()}).to_string()});
        for (text, names_client) in [
            (format!("{SECRET}\r\n"), false),
            (notice.to_string(), true),
            (serde_json::to_string_pretty(&queued).unwrap(), true),
            (published.to_string(), true),
        ] {
            let issued = understand(&text).unwrap_or_else(|complaint| panic!("{complaint}"));
            assert_eq!(*issued.secret, SECRET, "{text}");
            assert_eq!(issued.client_id.is_some(), names_client, "{text}");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_quoted() {
        for text in ["", "two canary words", "{canary", "{\"canary\": 1}", "[]"] {
            let Err(complaint) = understand(text) else {
                panic!("accepted {text}")
            };
            assert!(!complaint.0.contains("canary"), "{complaint}");
        }
    }

    async fn store_with_app() -> (MemoryStore, AppId) {
        let (store, erp) = (MemoryStore::default(), AppId::parse("erp").unwrap());
        let fields = [("client_id", "amzn1.x"), ("client_secret", "old")]
            .map(|(name, text)| (name.to_owned(), Opaque::new(text.to_owned())));
        let key = RecordKey::App(erp.clone());
        store.write(&key, fields.into(), Expect::Any).await.unwrap();
        (store, erp)
    }

    #[tokio::test]
    async fn the_next_secret_stands_beside_the_one_in_use() {
        let (store, erp) = store_with_app().await;
        let text = write(&store, &erp, &understand(SECRET).unwrap(), "2026-11-25").await;
        let text = text.unwrap().unwrap();
        assert!(text.starts_with("apps/erp written, version 2"), "{text}");
        assert!(!text.contains("canary"));
        let (held, _version) = AppCredentials::load(&store, &erp).await.unwrap().unwrap();
        assert_eq!(held.client_secret.expose(), "old");
        assert_eq!(held.client_secret_next.unwrap().expose(), SECRET);
    }

    #[tokio::test]
    async fn another_apps_message_is_refused() {
        let (store, erp) = store_with_app().await;
        let message = format!(r#"{{"clientId": "amzn1.y", "newClientSecret": "{SECRET}"}}"#);
        let refused = write(&store, &erp, &understand(&message).unwrap(), "2026-11-25").await;
        assert!(refused.unwrap_err().0.contains("another client id"));
        let missing = AppId::parse("crm").unwrap();
        let refused = write(&store, &missing, &understand(SECRET).unwrap(), "2026-11-25").await;
        assert!(refused.unwrap_err().0.contains("app put crm"));
    }
}
