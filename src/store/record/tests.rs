//! The typed views, and the key that all sidecars share.

use super::*;
use crate::store::memory::MemoryStore;
use crate::store::{BoxFuture, Folder};

fn record(fields: &[(&str, &str)]) -> Record {
    Record {
        fields: fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Opaque::new((*value).to_owned())))
            .collect(),
        version: 1,
    }
}

#[test]
fn an_app_without_a_secret_is_refused_with_the_command_that_mends_it() {
    let erp = AppId::parse("erp").unwrap();
    for fields in [
        &[("client_id", "amzn1.x")][..],
        &[("client_id", "amzn1.x"), ("client_secret", "\n")][..],
    ] {
        assert_eq!(
            AppCredentials::from_record(&erp, &record(fields))
                .unwrap_err()
                .to_string(),
            "apps/erp in the store has no client_secret; run `spapi-sidecar app put erp`"
        );
    }
}

#[test]
fn a_grant_without_a_refresh_token_is_refused_with_the_command_that_mends_it() {
    let acme = TenantId::parse("acme").unwrap();
    for fields in [&[][..], &[("refresh_token", "\n")][..]] {
        assert_eq!(
            Grant::from_record(&acme, &record(fields))
                .unwrap_err()
                .to_string(),
            "tenants/acme/grant in the store has no refresh_token; run `spapi-sidecar tenant put-token acme`"
        );
    }
}

#[test]
fn the_key_of_phantoms_is_not_printed() {
    let key = PhantomKeyMaterial::generate().unwrap();
    assert_eq!(format!("{key:?}"), "PhantomKeyMaterial(…)");
}

#[test]
fn views_survive_being_written_and_read() {
    let erp = AppId::parse("erp").unwrap();
    let fields = record(&[
        ("client_id", "amzn1.x\n"),
        ("client_secret", "s"),
        ("client_secret_next", "n"),
        ("rotated_at", "2026-09-01"),
    ])
    .fields;
    let first = AppCredentials::from_record(&erp, &Record { fields, version: 1 }).unwrap();
    let fields = first.into_fields();
    let again = AppCredentials::from_record(&erp, &Record { fields, version: 2 }).unwrap();
    assert_eq!(again.client_id.expose(), "amzn1.x");
    assert_eq!(again.client_secret.expose(), "s");
    assert_eq!(again.client_secret_next.unwrap().expose(), "n");
    assert_eq!(again.rotated_at.as_deref(), Some("2026-09-01"));
}

#[test]
fn a_proxy_key_is_known_by_its_hash_alone() {
    let acme = TenantId::parse("acme").unwrap();
    let key = ProxyKey::new("Zr4u7x".to_owned());
    let fields = ProxyKeyHash::of(&key).into_fields();
    assert!(fields["hash"].expose().starts_with("sha256:"));
    let hash = ProxyKeyHash::from_record(&acme, &Record { fields, version: 1 }).unwrap();
    assert!(hash.matches(&key));
    assert!(!hash.matches(&ProxyKey::new("Zr4u7y".to_owned())));
    for bad in [
        "",
        "sha256:",
        "md5:00",
        &format!("sha256:{}", "g".repeat(64)),
    ] {
        assert!(
            ProxyKeyHash::from_record(&acme, &record(&[("hash", bad)])).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn hexadecimal_is_read_strictly() {
    let bytes: [u8; 32] = std::array::from_fn(|n| u8::try_from(n * 8).unwrap());
    assert_eq!(*unhex(&hex(&bytes)).unwrap(), bytes);
    assert!(unhex(&"+f".repeat(32)).is_none());
    assert!(unhex(&"0".repeat(63)).is_none());
    assert!(unhex(&"é".repeat(32)).is_none());
}

#[tokio::test]
async fn every_sidecar_of_a_store_signs_phantoms_with_one_key() {
    let store = MemoryStore::default();
    let acme = TenantId::parse("acme").unwrap();
    let (one, two) = tokio::join!(phantom_key(&store), phantom_key(&store));
    let text = one
        .unwrap()
        .mint(crate::phantom::Kind::Refresh, Some(&acme), 1);
    assert_eq!(
        two.unwrap().read(&text),
        crate::phantom::Reading::Genuine(crate::phantom::Kind::Refresh, acme)
    );
}

/// A store that another sidecar writes to just before we do, or says that one did.
#[derive(Debug, Default)]
struct Raced {
    records: MemoryStore,
    by: Option<Fields>,
}

impl GrantStore for Raced {
    fn read<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        self.records.read(key)
    }

    fn write<'a>(
        &'a self,
        key: &'a RecordKey,
        _fields: Fields,
        _expect: Expect,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            if let Some(fields) = &self.by {
                let first = self.records.write(key, fields.clone(), Expect::Absent);
                first.await?;
            }
            Err(StoreError::Conflict(key.path()))
        })
    }

    fn list(&self, folder: Folder) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        self.records.list(folder)
    }

    fn describe(&self) -> String {
        "raced".to_owned()
    }
}

#[tokio::test]
async fn who_is_late_to_make_the_key_of_phantoms_takes_the_one_that_is_there() {
    let acme = TenantId::parse("acme").unwrap();
    let theirs = PhantomKeyMaterial::generate().unwrap();
    let text = theirs
        .key()
        .mint(crate::phantom::Kind::Refresh, Some(&acme), 1);
    let raced = Raced {
        by: Some(theirs.into_fields()),
        ..Raced::default()
    };
    let ours = phantom_key(&raced).await.unwrap();
    assert_eq!(
        ours.read(&text),
        crate::phantom::Reading::Genuine(crate::phantom::Kind::Refresh, acme)
    );
    let lost = phantom_key(&Raced::default()).await.unwrap_err();
    assert!(matches!(lost, StoreError::Conflict(_)), "{lost}");
}
