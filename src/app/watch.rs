//! The configuration file, watched.
//!
//! Job: look at the file when something happens in its folder, and now and then all the same.
//! Invariants: the folder is watched and not the file, because editors and Kubernetes replace a file rather than write it
//! (a `ConfigMap` is a chain of symbolic links, of which one is swapped); a look reads the file whole and compares what it
//! holds, so that nothing depends on what was seen of the change.
//! Failure mode: where the folder cannot be watched, or the file is a link to another one, a change is noticed within
//! [`AT_LEAST`].

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::reload::Reload;

/// Quiet after a change before the file is read: an editor writes in several steps.
const QUIET: Duration = Duration::from_millis(300);

/// Longest wait for quiet: a folder may be written all the time.
const LONGEST_NOISE: Duration = Duration::from_secs(3);

/// Longest time between two looks.
const AT_LEAST: Duration = Duration::from_secs(30);

/// Watches for as long as it is polled. Never ends.
pub(super) async fn watch(reload: Arc<Reload>, path: PathBuf) {
    let changed = Arc::new(Notify::new());
    let _watcher = match watcher(&path, &changed) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "the configuration's folder cannot be watched; the file is looked at every 30 s");
            None
        }
    };
    // what has changed before the folder was watched
    reload.look();
    loop {
        if tokio::time::timeout(AT_LEAST, changed.notified())
            .await
            .is_ok()
        {
            let noise = async {
                while tokio::time::timeout(QUIET, changed.notified())
                    .await
                    .is_ok()
                {}
            };
            let _still_noisy = tokio::time::timeout(LONGEST_NOISE, noise).await;
        }
        reload.look();
    }
}

fn watcher(path: &Path, changed: &Arc<Notify>) -> notify::Result<notify::RecommendedWatcher> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let name = path.file_name().map(OsStr::to_owned);
    let changed = Arc::clone(changed);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let concerns = event.is_ok_and(|event| concerns(&event, name.as_deref()));
        if concerns {
            changed.notify_one();
        }
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Whether an event may be about the file: not what merely reads it, nor what happens to a neighbour. The links that
/// Kubernetes swaps begin with two dots.
fn concerns(event: &notify::Event, name: Option<&OsStr>) -> bool {
    let is_ours = |path: &PathBuf| {
        let found = path.file_name();
        found == name || found.is_some_and(|found| found.as_encoded_bytes().starts_with(b".."))
    };
    !event.kind.is_access() && (event.paths.is_empty() || event.paths.iter().any(is_ours))
}
