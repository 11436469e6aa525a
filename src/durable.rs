//! Files that are whole or not there.
//!
//! Job: write a file that is not there yet; the names beside a file.
//! Invariants: nothing that exists is replaced; whatever ends the process on the way leaves no part of a file under its name;
//! what was written is on disk when this returns, its folder's entry included.
//! Failure mode: the system's own error; the temporary file is removed where that can be done.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Writes these parts, one after the other, to a file that is not there yet. `mode` is narrowed by the process's umask.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] when it is there, or what the file system says.
pub fn write_new(path: &Path, mode: u32, parts: &[&[u8]]) -> io::Result<()> {
    // asked first for the sake of the answer; the link below decides
    if path.symlink_metadata().is_ok() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    let temporary = beside(path, &format!(".{}.tmp", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()?;
        // unlike a rename, a link replaces nothing
        std::fs::hard_link(&temporary, path)
    })();
    let removed = std::fs::remove_file(&temporary);
    written.and(removed)?;
    File::open(folder_of(path))?.sync_all()
}

/// The path with a suffix to its last name, in the same folder.
#[must_use]
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The folder that holds a file.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_is_whole_and_alone_and_one_that_exists_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_new(&path, 0o600, &[b"head ", b"rest"]).unwrap();
        let again = write_new(&path, 0o600, &[b"other"]).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"head rest");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (folder.path().join("link"), folder.path().join("elsewhere"));
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        let refused = write_new(&path, 0o600, &[b"secret"]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert!(!elsewhere.exists());
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/file");
        assert_eq!(
            write_new(&path, 0o600, &[b"x"]).unwrap_err().kind(),
            ErrorKind::NotFound
        );
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    }

    #[test]
    fn a_name_alone_is_in_the_working_folder() {
        assert_eq!(folder_of(Path::new("file")), Path::new("."));
        assert_eq!(folder_of(Path::new("a/file")), Path::new("a"));
        assert_eq!(beside(Path::new("a/file"), ".tmp"), Path::new("a/file.tmp"));
    }
}
