//! `spapi-sidecar store`: a store that is a sealed file, copied and put back.

use std::path::PathBuf;

use crate::config::{self, FileStore as Place};
use crate::store::file::{self, FileStore};

use super::{Complaint, ConfigArg, Exit, store};

/// What can be done with a store that is a sealed file.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum StoreCommand {
    /// Write a copy of the store to a new file, while the sidecar runs.
    ///
    /// The copy is sealed with the store's own key, like the store: keep that key too, in another place.
    #[command(
        after_help = "Example:\n  spapi-sidecar store backup /backup/store-$(date +%F).sealed"
    )]
    Backup(BackupArgs),
    /// Put a backup in the store's place. Stop the sidecars of the store first.
    ///
    /// The key file has to be the one of the day of the backup. What was written since then is gone: tokens that Amazon has
    /// replaced, and kills, which have to be given again.
    #[command(
        after_help = "Example:\n  spapi-sidecar store restore /backup/store-2026-11-30.sealed --force"
    )]
    Restore(RestoreArgs),
}

/// `store backup FILE`.
#[derive(clap::Args, Clone, Debug)]
pub struct BackupArgs {
    /// The file to write; it must not exist yet.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Which configuration.
    #[command(flatten)]
    config: ConfigArg,
}

/// `store restore FILE`.
#[derive(clap::Args, Clone, Debug)]
pub struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace a store that is there.
    #[arg(long)]
    force: bool,
    /// Which configuration.
    #[command(flatten)]
    config: ConfigArg,
}

/// Does it.
///
/// # Errors
/// When the configuration is not usable, or its store is no file.
pub fn run(command: &StoreCommand) -> Result<Exit, Complaint> {
    let (StoreCommand::Backup(BackupArgs { config, .. })
    | StoreCommand::Restore(RestoreArgs { config, .. })) = command;
    let config = super::load(&config.config)?;
    let place = place(&config.store)?;
    store::finish(match command {
        StoreCommand::Backup(args) => FileStore::open(place).and_then(|store| store.back_up(&args.file)).map(|records| {
            format!(
                "{records} records of {} written to {}\nThey are sealed: nothing but the key in {} opens them. Keep a copy of it, not beside them.\n",
                place.path.display(),
                args.file.display(),
                place.key_file.display()
            )
        }),
        StoreCommand::Restore(args) => file::restore(place, &args.file, args.force).map(|records| {
            format!("{records} records of {} are in {} now\n", args.file.display(), place.path.display())
        }),
    })
}

fn place(store: &config::Store) -> Result<&Place, Complaint> {
    match store {
        config::Store::File(place) => Ok(place),
        config::Store::Vault(_) => Err(Complaint(
            "the store of this configuration is Vault, which has backups of its own: `vault operator raft snapshot save FILE`".to_owned(),
        )),
    }
}
