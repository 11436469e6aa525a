//! The sealed file's backup, its restore, and who may have the file at the same time.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use spapi_sidecar::store::{Expect, Folder, GrantStore, RecordKey};
use spapi_sidecar::tenant::AppId;

use super::contract::{fields, grant};
use crate::support::command::command;
use crate::support::sidecar::{Setup, Stage, open_store};

const NEW: &str = "Atzr|canary-new";

/// A stage, a backup of its store, and its path.
async fn backed_up() -> (Stage, String) {
    let stage = Stage::set(&Setup::default()).await;
    let file = stage
        .folder
        .path()
        .join("copy.sealed")
        .display()
        .to_string();
    let (code, text) = command(stage.folder.path(), &["store", "backup", &file], "");
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("3 records") && text.contains("store.key"),
        "{text}"
    );
    (stage, file)
}

async fn token(folder: &Path) -> String {
    let record = open_store(folder)
        .read(&grant("acme"))
        .await
        .unwrap()
        .unwrap();
    record.fields["refresh_token"].expose().to_owned()
}

async fn put(folder: &Path) {
    open_store(folder)
        .write(
            &grant("acme"),
            fields(&[("refresh_token", NEW)]),
            Expect::Any,
        )
        .await
        .unwrap();
}

fn contains(file: &str, text: &str) -> bool {
    std::fs::read(file)
        .unwrap()
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

fn set_key(folder: &Path, digits: &str) {
    std::fs::write(folder.join("store.key"), format!("{}\n", digits.repeat(32))).unwrap();
}

#[tokio::test]
async fn a_backup_is_ciphertext_for_its_owner_alone_and_comes_back_with_every_record() {
    let (stage, file) = backed_up().await;
    let folder = stage.folder.path();
    let mode = std::fs::metadata(&file).unwrap().mode() & 0o777;
    assert_eq!(mode, 0o600);
    for plain in ["canary", "tenants", "acme", "refresh_token"] {
        assert!(!contains(&file, plain), "{plain}");
    }
    put(folder).await;
    std::fs::remove_file(folder.join("store.sealed")).unwrap();
    // what was copied about may be readable to all: it is sealed
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, text) = command(folder, &["store", "restore", &file], "");
    assert_eq!(code, Some(0), "{text}");
    let store = open_store(folder);
    assert_eq!(token(folder).await, "Atzr|canary-acme");
    assert_eq!(store.list(Folder::Tenants).await.unwrap(), ["acme", "beta"]);
    let app = RecordKey::App(AppId::parse("erp").unwrap());
    assert_eq!(
        store.read(&app).await.unwrap().unwrap().fields["client_secret"].expose(),
        "amzn1.oa2-cs.v1.canary"
    );
    let left = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(left.into_iter().all(|name| !name.ends_with(".tmp")));
}

#[tokio::test]
async fn a_restore_replaces_nothing_unless_it_is_told_to() {
    let (stage, file) = backed_up().await;
    let folder = stage.folder.path();
    put(folder).await;
    let (code, text) = command(folder, &["store", "restore", &file], "");
    assert_eq!(code, Some(1));
    assert!(
        text.contains("exists already") && text.contains("--force"),
        "{text}"
    );
    assert_eq!(token(folder).await, NEW);
    let (code, text) = command(folder, &["store", "restore", &file, "--force"], "");
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(token(folder).await, "Atzr|canary-acme");
}

#[tokio::test]
async fn a_restore_mends_a_store_that_is_damaged() {
    let (stage, file) = backed_up().await;
    let folder = stage.folder.path();
    std::fs::write(folder.join("store.sealed"), "damaged").unwrap();
    let (code, text) = command(folder, &["tenant", "list"], "");
    assert_ne!(code, Some(0));
    assert!(
        text.contains("cut short") && text.contains("backup"),
        "{text}"
    );
    let (code, text) = command(folder, &["store", "restore", &file, "--force"], "");
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(token(folder).await, "Atzr|canary-acme");
}

#[tokio::test]
async fn what_the_key_does_not_open_is_never_restored() {
    let (stage, file) = backed_up().await;
    let folder = stage.folder.path();
    put(folder).await;
    let whole = std::fs::read(&file).unwrap();
    let flipped: Vec<u8> = whole
        .iter()
        .enumerate()
        .map(|(n, byte)| {
            if n + 1 == whole.len() {
                byte ^ 1
            } else {
                *byte
            }
        })
        .collect();
    for (bytes, want) in [
        (&whole[..20], "cut short"),
        (&whole[..whole.len() - 1], "damaged"),
        (&flipped[..], "damaged"),
        (&[b'x'; 500][..], "no backup"),
    ] {
        let bad = folder.join("bad.sealed");
        std::fs::write(&bad, bytes).unwrap();
        let (code, text) = command(
            folder,
            &["store", "restore", bad.to_str().unwrap(), "--force"],
            "",
        );
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(want), "{text}");
        assert_eq!(token(folder).await, NEW);
    }
    set_key(folder, "6b");
    let (code, text) = command(folder, &["store", "restore", &file, "--force"], "");
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("another key") && text.contains("store.key"),
        "{text}"
    );
    set_key(folder, "5a");
    assert_eq!(token(folder).await, NEW);
}

#[tokio::test]
async fn a_backup_replaces_nothing_and_is_not_made_of_nothing() {
    let (stage, file) = backed_up().await;
    let folder = stage.folder.path();
    let before = std::fs::read(&file).unwrap();
    put(folder).await;
    let (code, text) = command(folder, &["store", "backup", &file], "");
    assert_eq!(code, Some(1));
    assert!(text.contains("exists already"), "{text}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    std::fs::remove_file(folder.join("store.sealed")).unwrap();
    let other = folder.join("other.sealed");
    let (code, text) = command(folder, &["store", "backup", other.to_str().unwrap()], "");
    assert_eq!(code, Some(1));
    assert!(
        text.contains("nothing to back up") && !other.exists(),
        "{text}"
    );
}

#[tokio::test]
async fn a_store_that_is_vault_is_left_to_vaults_own_backups() {
    let store = "{ vault: { address: \"http://127.0.0.1:1\", auth: { token_file: DIR/token } } }"
        .to_owned();
    let stage = Stage::set(&Setup {
        store,
        ..Setup::default()
    })
    .await;
    let (code, text) = command(stage.folder.path(), &["store", "backup", "copy.sealed"], "");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("raft snapshot"), "{text}");
}

#[tokio::test]
async fn another_stores_key_is_refused_by_every_command_and_by_the_sidecar_and_changes_nothing() {
    let stage = Stage::set(&Setup::default()).await;
    let folder = stage.folder.path();
    let before = std::fs::read(folder.join("store.sealed")).unwrap();
    set_key(folder, "6b");
    let file = folder.join("copy.sealed").display().to_string();
    for (arguments, input) in [
        (&["tenant", "list"][..], ""),
        (&["tenant", "put-token", "acme"], NEW),
        (&["tenant", "phantom", "acme"], ""),
        (&["app", "put", "erp"], "id\nsecret\n"),
        (&["store", "backup", &file], ""),
        (&["run"], ""),
    ] {
        let (code, text) = command(folder, arguments, input);
        assert!(
            matches!(code, Some(1 | 2)),
            "{arguments:?}: {code:?} {text}"
        );
        assert!(
            text.contains("the key is another store's, or the file is damaged"),
            "{arguments:?}: {text}"
        );
    }
    assert_eq!(std::fs::read(folder.join("store.sealed")).unwrap(), before);
}

#[tokio::test]
async fn while_another_process_writes_the_store_a_command_waits_and_then_says_who_has_it() {
    let stage = Stage::set(&Setup::default()).await;
    let folder = stage.folder.path();
    let lock = std::fs::OpenOptions::new()
        .write(true)
        .open(folder.join("store.sealed.lock"))
        .unwrap();
    lock.lock().unwrap();
    let (code, text) = command(folder, &["tenant", "put-token", "acme"], NEW);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("another process holds") && text.contains("store.sealed.lock"),
        "{text}"
    );
    assert_eq!(token(folder).await, "Atzr|canary-acme");
    drop(lock);
    let (code, text) = command(folder, &["tenant", "put-token", "acme"], NEW);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(token(folder).await, NEW);
}
