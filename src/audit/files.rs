//! The names of an audit's files, and how far it got.
//!
//! Job: FILE, its older parts FILE.1, FILE.2, … (the higher, the newer), FILE.head and FILE.torn.
//! Invariants: an older part is never renamed or removed by us: how long it is kept is the operator's decision. The head names
//! the last line that is safely in the file; it is written after that line, so that a file which ends before its head was cut.
//! Failure mode: what the file system says.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::chain::{Hash, LINE_BYTES, Line, Link};
use crate::durable::{self, folder_of};

/// Size of a head, in bytes: always the same, so that writing one is one write of one sector.
const HEAD_BYTES: usize = 128;

/// FILE with a dot and something behind its name.
#[must_use]
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    durable::beside(path, &format!(".{suffix}"))
}

/// The older parts that are there, the oldest first.
///
/// # Errors
/// When the folder cannot be read.
pub fn older(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder_of(path))? {
        let entry = entry?.file_name();
        let number = entry
            .as_encoded_bytes()
            .strip_prefix(name.as_encoded_bytes())
            .and_then(|rest| rest.strip_prefix(b"."))
            .filter(|digits| digits.iter().all(u8::is_ascii_digit))
            .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        if let Some(number) = number {
            found.push((number, path.with_file_name(entry)));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The last line that a head names; `None` where nothing readable stands in it.
///
/// # Errors
/// When it cannot be read.
pub fn head(file: &File) -> io::Result<Option<Link>> {
    #[derive(Deserialize)]
    struct Wire {
        seq: u64,
        hash: String,
    }
    let mut text = [0; HEAD_BYTES];
    let mut length = 0;
    while let Some(rest) = text.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, u64::try_from(length).unwrap_or(u64::MAX))? {
            0 => break,
            read => length += read,
        }
    }
    let wire: Option<Wire> = serde_json::from_slice(text.get(..length).unwrap_or_default()).ok();
    Ok(wire.and_then(|wire| {
        Some(Link {
            seq: wire.seq,
            hash: Hash::parse(&wire.hash)?,
        })
    }))
}

/// Writes the head.
pub(super) fn write_head(file: &File, link: Link) -> io::Result<()> {
    let Link { seq, hash } = link;
    let mut text = format!(r#"{{"seq":{seq},"hash":"{hash}"}}"#);
    let missing = (HEAD_BYTES - 1).saturating_sub(text.len());
    text.extend(std::iter::repeat_n(' ', missing));
    text.push('\n');
    file.write_all_at(text.as_bytes(), 0)
}

/// How a file ends.
#[derive(Debug)]
pub(super) struct End {
    /// Bytes up to and with the last newline.
    pub(super) whole: u64,
    /// What follows it: the beginning of a line whose writer was killed.
    pub(super) torn: Vec<u8>,
    /// Its last line's place; `None` where there is no line, or the last one cannot be believed.
    pub(super) link: Option<Link>,
}

/// Reads the end of a file.
///
/// # Errors
/// When it cannot be read.
pub(super) fn end(file: &mut File) -> io::Result<End> {
    let length = file.metadata()?.len();
    // a torn line and the whole one before it
    let reach = 2 * u64::try_from(LINE_BYTES).unwrap_or(u64::MAX);
    let from = length.saturating_sub(reach);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(length - from).read_to_end(&mut tail)?;
    let last_newline = tail.iter().rposition(|byte| *byte == b'\n');
    let torn = tail.split_off(last_newline.map_or(0, |at| at + 1));
    let before = tail.len().saturating_sub(1);
    let begin = tail
        .get(..before)
        .and_then(|bytes| bytes.iter().rposition(|byte| *byte == b'\n'))
        .map_or(0, |at| at + 1);
    let link = Line::read(tail.get(begin..).unwrap_or_default()).map(|(_, link)| link);
    Ok(End {
        whole: length.saturating_sub(u64::try_from(torn.len()).unwrap_or(0)),
        torn,
        link: link.ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_parts_are_those_with_a_number_in_the_order_of_the_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        for name in [
            "audit.jsonl",
            "audit.jsonl.10",
            "audit.jsonl.2",
            "audit.jsonl.head",
            "audit.jsonl.torn",
            "audit.jsonl.1x",
            "other.jsonl.3",
        ] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let numbers: Vec<u64> = older(&path).unwrap().into_iter().map(|(n, _)| n).collect();
        assert_eq!(numbers, [2, 10]);
    }

    #[test]
    fn a_head_reads_as_it_was_written_and_another_text_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create_new(folder.path().join("head")).unwrap();
        let mut line = Vec::new();
        let mut link = Link::START;
        let readable = File::open(folder.path().join("head")).unwrap();
        for _ in 0..12 {
            link = link.seal(
                std::time::SystemTime::UNIX_EPOCH,
                r#""kind":"x""#,
                &mut line,
            );
            write_head(&file, link).unwrap();
            assert_eq!(head(&readable).unwrap(), Some(link));
        }
        file.set_len(60).unwrap();
        assert_eq!(head(&readable).unwrap(), None);
    }
}
