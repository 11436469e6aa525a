//! Writing a file whole or not at all.
//!
//! Invariants: a reader sees the old bytes or the new ones, never a part; the mode holds from the first byte on, so a
//! key is at no moment readable by others.
//! Failure mode: the target is untouched and no temporary file stays behind; what a killed process left is swept up by the next
//! one that writes the same file, once it is older than any write takes.

use std::fs;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use crate::durable::folder_of;

/// Age from which a temporary file is nobody's any more.
const LEFT_BEHIND: Duration = Duration::from_mins(10);

/// Whether a file has to outlive the machine's power.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Durability {
    /// It is on disk when [`replace`] returns: a key that nothing could make again.
    Synced,
    /// The kernel writes it when it likes: every start makes it anew, and waiting for a disk is most of what a start costs.
    Unsynced,
}

/// Replaces `path` by `bytes` with the given permission bits, creating the folders above it.
///
/// # Errors
/// What the file system says.
pub(super) fn replace(
    path: &Path,
    mode: u32,
    durability: Durability,
    bytes: &[u8],
) -> io::Result<()> {
    let folder = folder_of(path);
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    fs::create_dir_all(folder)?;
    let name = name.to_string_lossy();
    sweep(folder, &name);
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_unspecified| io::Error::other("no randomness"))?;
    let temporary = folder.join(format!(".{name}.{:016x}.tmp", u64::from_be_bytes(random)));
    let written =
        write_new(&temporary, mode, durability, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        drop(fs::remove_file(&temporary));
        return written;
    }
    match durability {
        Durability::Synced => fs::File::open(folder)?.sync_all(),
        Durability::Unsynced => Ok(()),
    }
}

/// Removes what writers of a file left behind that were killed: it may hold a key.
fn sweep(folder: &Path, name: &str) {
    let (front, end) = (format!(".{name}."), ".tmp");
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|found| {
            let random = found
                .strip_prefix(&front)
                .and_then(|rest| rest.strip_suffix(end));
            random.is_some_and(|random| {
                random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit())
            })
        });
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if is_ours && age().is_some_and(|age| age > LEFT_BEHIND) {
            // whoever removed it first has done the same
            let _gone = fs::remove_file(entry.path());
        }
    }
}

fn write_new(path: &Path, mode: u32, durability: Durability, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    // set, not asked for at creation: the process's umask must not decide who can read a public file
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    match durability {
        Durability::Synced => file.sync_all(),
        Durability::Unsynced => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_stays_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/file");
        replace(&path, 0o644, Durability::Unsynced, b"old").unwrap();
        replace(&path, 0o600, Durability::Synced, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_writer_left_is_swept_up_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.key");
        let old = [
            ".ca.key.0123456789abcdef.tmp",
            ".ca.key.1.tmp",
            ".other.0123456789abcdef.tmp",
            "ca.key.tmp",
        ];
        for name in old {
            let file = fs::File::create(folder.path().join(name)).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH)
                .unwrap();
        }
        fs::write(
            folder.path().join(".ca.key.fedcba9876543210.tmp"),
            "being written",
        )
        .unwrap();
        replace(&path, 0o600, Durability::Synced, b"key").unwrap();
        let left = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let mut left: Vec<String> = left.map(|name| name.into_string().unwrap()).collect();
        left.sort();
        assert_eq!(
            left,
            [
                ".ca.key.1.tmp",
                ".ca.key.fedcba9876543210.tmp",
                ".other.0123456789abcdef.tmp",
                "ca.key",
                "ca.key.tmp"
            ]
        );
    }

    #[test]
    fn a_failed_replacement_leaves_the_folder_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(replace(&path, 0o644, Durability::Synced, b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
