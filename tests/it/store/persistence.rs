//! What is acknowledged is still there when the store is opened again.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use spapi_sidecar::config;
use spapi_sidecar::store::{Expect, Folder, open};

use super::contract::{fields, grant};
use crate::support::vault::TestVault;

/// A place for a sealed file, with a key.
pub(crate) fn sealed_file(folder: &Path) -> config::FileStore {
    let key_file = folder.join("store.key");
    std::fs::write(&key_file, format!("{}\n", "5a".repeat(32))).unwrap();
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    config::FileStore {
        path: folder.join("store.sealed"),
        key_file,
    }
}

async fn a_reopened_store_holds_what_was_acknowledged(config: config::Store) {
    let version = open(&config)
        .unwrap()
        .write(
            &grant("acme"),
            fields(&[("refresh_token", "Atzr|1")]),
            Expect::Absent,
        )
        .await
        .unwrap();
    let store = open(&config).unwrap();
    let record = store.read(&grant("acme")).await.unwrap().unwrap();
    assert_eq!(record.version, version);
    assert_eq!(record.fields["refresh_token"].expose(), "Atzr|1");
    assert_eq!(store.list(Folder::Tenants).await.unwrap(), ["acme"]);
}

#[tokio::test]
async fn a_reopened_file_holds_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let config = config::Store::File(sealed_file(folder.path()));
    a_reopened_store_holds_what_was_acknowledged(config).await;
}

#[tokio::test]
async fn a_new_connection_to_vault_holds_what_was_acknowledged() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let config = config::Store::Vault(vault.root_config());
    a_reopened_store_holds_what_was_acknowledged(config).await;
}
