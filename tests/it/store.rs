//! The credential stores: one contract for all of them, and what only one of them can get wrong.

mod backup;
mod contract;
mod environment;
mod persistence;
mod vault_access;
mod vault_kubernetes;
mod vault_login;
mod vault_records;
mod vault_rights;

/// Runs every sentence of the contract against each store.
macro_rules! contract {
    ($($sentence:ident)+) => {
        mod memory {
            use spapi_sidecar::store::memory::MemoryStore;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                super::contract::$sentence(&MemoryStore::default()).await;
            })+
        }

        mod file {
            use spapi_sidecar::store::file::FileStore;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                let folder = tempfile::tempdir().unwrap();
                let config = super::persistence::sealed_file(folder.path());
                super::contract::$sentence(&FileStore::open(&config).unwrap()).await;
            })+
        }

        mod vault {
            use crate::support::vault::TestVault;
            use spapi_sidecar::store::vault::VaultStore;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                let Some(vault) = TestVault::start().await else { return };
                super::contract::$sentence(&VaultStore::new(&vault.root_config()).unwrap()).await;
            })+
        }
    };
}

contract! {
    what_was_written_is_read_back
    a_write_replaces_the_whole_record
    an_unwritten_record_is_absent
    a_version_grows_with_every_write
    a_stale_version_is_a_conflict_and_changes_nothing
    absent_is_a_conflict_where_a_record_is
    version_zero_never_holds
    ids_are_listed_sorted_and_once
    odd_bytes_survive
    of_a_hundred_writers_of_one_version_one_wins
}
