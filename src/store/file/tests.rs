//! What only a file can get wrong; the contract itself is tested in `tests/it/store`.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::secret::Opaque;
use crate::tenant::AppId;

fn place() -> (tempfile::TempDir, config::FileStore) {
    let folder = tempfile::tempdir().unwrap();
    let config = config::FileStore {
        path: folder.path().join("store.sealed"),
        key_file: folder.path().join("store.key"),
    };
    write_key(&config.key_file, '7');
    (folder, config)
}

fn write_key(path: &Path, digit: char) {
    std::fs::write(path, format!("{}\n", digit.to_string().repeat(64))).unwrap();
    chmod(path, 0o600);
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn erp() -> RecordKey {
    RecordKey::App(AppId::parse("erp").unwrap())
}

fn fields(value: &str) -> Fields {
    Fields::from([("client_secret".to_owned(), Opaque::new(value.to_owned()))])
}

#[tokio::test]
async fn a_folder_in_the_place_of_the_file_or_of_its_key_is_refused() {
    let (_folder, config) = place();
    let store = FileStore::open(&config).unwrap();
    std::fs::create_dir(&config.path).unwrap();
    let refused = store.read(&erp()).await.unwrap_err().to_string();
    assert!(refused.ends_with("store.sealed is not a file"), "{refused}");
    std::fs::remove_file(&config.key_file).unwrap();
    std::fs::create_dir(&config.key_file).unwrap();
    let refused = FileStore::open(&config).unwrap_err().to_string();
    assert!(refused.ends_with("store.key is not a file"), "{refused}");
}

#[tokio::test]
async fn a_missing_key_points_at_init_and_a_missing_file_is_an_empty_store() {
    let (_folder, config) = place();
    let store = FileStore::open(&config).unwrap();
    assert!(store.read(&erp()).await.unwrap().is_none());
    std::fs::remove_file(&config.key_file).unwrap();
    let text = FileStore::open(&config).unwrap_err().to_string();
    assert!(text.contains("init"), "{text}");
}

#[tokio::test]
async fn files_open_to_others_are_refused_with_the_remedy() {
    let (_folder, config) = place();
    FileStore::open(&config)
        .unwrap()
        .write(&erp(), fields("s"), Expect::Any)
        .await
        .unwrap();
    for path in [&config.key_file, &config.path] {
        for mode in [0o640, 0o604] {
            chmod(path, mode);
            let text = FileStore::open(&config).unwrap_err().to_string();
            assert!(text.contains("chmod 600"), "{text}");
        }
        chmod(path, 0o600);
    }
    assert!(FileStore::open(&config).is_ok());
}

#[tokio::test]
async fn everything_written_is_the_owners_alone_and_sealed() {
    let (folder, config) = place();
    let store = FileStore::open(&config).unwrap();
    store
        .write(&erp(), fields("canary-5f2e"), Expect::Any)
        .await
        .unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(
            path.metadata().unwrap().mode() & 0o077,
            0,
            "{}",
            path.display()
        );
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"canary"));
    }
}

#[tokio::test]
async fn a_wrong_key_and_a_damaged_file_are_refused_clearly() {
    let (_folder, config) = place();
    let store = FileStore::open(&config).unwrap();
    store.write(&erp(), fields("s"), Expect::Any).await.unwrap();
    write_key(&config.key_file, '8');
    let text = FileStore::open(&config).unwrap_err().to_string();
    assert!(text.contains("another store's"), "{text}");

    write_key(&config.key_file, '7');
    std::fs::write(&config.path, b"short").unwrap();
    let text = store.read(&erp()).await.unwrap_err().to_string();
    assert!(text.contains("cut short"), "{text}");
}

#[tokio::test]
async fn what_another_process_wrote_is_seen_at_the_next_read() {
    let (_folder, config) = place();
    let sidecar = FileStore::open(&config).unwrap();
    let command = FileStore::open(&config).unwrap();
    for round in 1..20_u64 {
        let text = format!("s{}", round % 10);
        let written = command
            .write(&erp(), fields(&text), Expect::Any)
            .await
            .unwrap();
        let record = sidecar.read(&erp()).await.unwrap().unwrap();
        assert_eq!((written, record.version), (round, round));
        assert_eq!(record.fields["client_secret"].expose(), text);
    }
}

#[tokio::test]
async fn writers_of_two_processes_lose_no_write() {
    let (_folder, config) = place();
    let stores = [
        FileStore::open(&config).unwrap(),
        FileStore::open(&config).unwrap(),
    ];
    let writes = (0..40_usize).map(|n| {
        let store = &stores[n % 2];
        async move { store.write(&erp(), fields("s"), Expect::Any).await }
    });
    let mut versions: Vec<u64> = futures_util::future::join_all(writes)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=40).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_write_that_fails_changes_nothing() {
    let (folder, config) = place();
    let store = FileStore::open(&config).unwrap();
    store
        .write(&erp(), fields("old"), Expect::Any)
        .await
        .unwrap();
    // a folder in the temporary file's place: it can be neither removed as a file nor opened
    std::fs::create_dir(folder.path().join("store.sealed.tmp")).unwrap();
    assert!(
        store
            .write(&erp(), fields("new"), Expect::Any)
            .await
            .is_err()
    );
    let record = store.read(&erp()).await.unwrap().unwrap();
    assert_eq!(record.fields["client_secret"].expose(), "old");
    assert_eq!(record.version, 1);
}
