//! Whether an audit is whole.
//!
//! Job: read an audit's files from the oldest to the newest, check every line and the chain between them, and hand each line on.
//! Invariants: the first broken line ends the check; a file that ends before its head names was cut; what a running sidecar is
//! just writing is not taken for a fault; a line is read whole or not at all, and never more of it than a line may have.
//! Failure mode: [`Broken`] with file and line; an I/O error says which file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::chain::{Fault, LINE_BYTES, Line, Link};
use super::files::{self, beside};
use super::line::{CUT, REPLACED, UNANCHORED};

/// How often the list of files is read again because a new file was begun meanwhile.
const LISTINGS: usize = 5;

/// What is wrong with an audit, beyond a line's own fault.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// A line that cannot stand here.
    #[error(transparent)]
    Line(#[from] Fault),
    /// The file ends before the head.
    #[error(
        "lines were cut off at the end: the last one has seq {last}, the head names seq {head}"
    )]
    Cut {
        /// The last line's number; 0 where there is none.
        last: u64,
        /// What the head names.
        head: u64,
    },
    /// The line that the head names is another.
    #[error("the line was replaced: the head names another one with seq {0}")]
    NotTheHeads(u64),
    /// The sidecar itself found lines missing when it opened the file.
    #[error("lines before this one were gone or replaced when the sidecar opened the file ({0})")]
    Told(String),
}

/// The first broken line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// In which file.
    pub file: PathBuf,
    /// Which line, from 1; the one after the last where lines are missing at the end.
    pub line: u64,
    /// What is wrong.
    pub problem: Problem,
}

/// What was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The files, from the oldest.
    pub files: Vec<PathBuf>,
    /// How many lines were good.
    pub lines: u64,
    /// The first line's number; `None` where there is no line.
    pub first: Option<u64>,
    /// The last good line.
    pub last: Option<Link>,
    /// Whether a head says where the audit ends.
    pub anchored: bool,
    /// Whether a sidecar writes it now.
    pub is_written: bool,
    /// What is wrong.
    pub broken: Option<Broken>,
}

/// Reads an audit. `each` is given every line with its text, up to the first broken one. A part (`audit.jsonl.3`) stands
/// alone: it has no head.
///
/// # Errors
/// When a file cannot be read, or `each` says so.
pub fn read(
    path: &Path,
    each: &mut dyn FnMut(&Line, &[u8]) -> io::Result<()>,
) -> io::Result<Report> {
    let (head, is_written) = anchor(path)?;
    let parts = open_all(path)?;
    let mut reading = Reading {
        report: Report {
            files: parts.iter().map(|(path, _)| path.clone()).collect(),
            lines: 0,
            first: None,
            last: None,
            anchored: head.is_some(),
            is_written,
            broken: None,
        },
        head,
        number: 0,
        each,
    };
    for (file, opened) in parts {
        reading.file(&file, opened)?;
        if reading.report.broken.is_some() {
            return Ok(reading.report);
        }
    }
    let last = reading.report.last.map_or(0, |link| link.seq);
    if let Some(head) = head.filter(|head| head.seq > last) {
        reading.report.broken = Some(Broken {
            file: path.to_owned(),
            line: reading.number + 1,
            problem: Problem::Cut {
                last,
                head: head.seq,
            },
        });
    }
    Ok(reading.report)
}

/// The head, read before the files so that it cannot be ahead of them, and whether somebody holds it.
fn anchor(path: &Path) -> io::Result<(Option<Link>, bool)> {
    let file = match File::open(beside(path, "head")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, false)),
        Err(error) => return Err(named(&beside(path, "head"), &error)),
    };
    let is_written = matches!(
        file.try_lock_shared(),
        Err(std::fs::TryLockError::WouldBlock)
    );
    let head = files::head(&file).map_err(|error| named(&beside(path, "head"), &error))?;
    Ok((head, is_written))
}

/// All files, opened: a sidecar may give the newest one its number while we look.
fn open_all(path: &Path) -> io::Result<Vec<(PathBuf, File)>> {
    let mut opened = Vec::new();
    for _ in 0..LISTINGS {
        let listed = files::older(path).map_err(|error| named(path, &error))?;
        let names: Vec<PathBuf> = listed.iter().map(|(_, path)| path.clone()).collect();
        opened = Vec::with_capacity(names.len() + 1);
        for name in names.iter().map(PathBuf::as_path).chain([path]) {
            match File::open(name) {
                Ok(file) => opened.push((name.to_owned(), file)),
                // between its number and the next file, or never begun after a crash there
                Err(error) if error.kind() == io::ErrorKind::NotFound && !opened.is_empty() => {}
                Err(error) => return Err(named(name, &error)),
            }
        }
        if files::older(path).is_ok_and(|again| again == listed) {
            break;
        }
    }
    Ok(opened)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

struct Reading<'a> {
    report: Report,
    head: Option<Link>,
    /// The line of the file that was read last.
    number: u64,
    each: &'a mut dyn FnMut(&Line, &[u8]) -> io::Result<()>,
}

impl Reading<'_> {
    fn file(&mut self, path: &Path, file: File) -> io::Result<()> {
        let mut file = BufReader::new(file);
        let mut text = Vec::new();
        self.number = 0;
        loop {
            text.clear();
            let most = u64::try_from(LINE_BYTES).unwrap_or(u64::MAX);
            let read = (&mut file).take(most).read_until(b'\n', &mut text);
            if read.map_err(|error| named(path, &error))? == 0 {
                return Ok(());
            }
            if !text.ends_with(b"\n") && self.is_being_written() {
                return Ok(());
            }
            self.number += 1;
            if let Err(problem) = self.line(&text)? {
                self.report.broken = Some(Broken {
                    file: path.to_owned(),
                    line: self.number,
                    problem,
                });
                return Ok(());
            }
        }
    }

    /// Whether an incomplete line is one that a running sidecar has begun: only after everything that its head names.
    fn is_being_written(&self) -> bool {
        let last = self.report.last.map_or(0, |link| link.seq);
        self.report.is_written && self.head.is_none_or(|head| last >= head.seq)
    }

    fn line(&mut self, text: &[u8]) -> io::Result<Result<(), Problem>> {
        let before = self.report.last;
        let checked =
            Line::read(text).and_then(|(line, link)| line.follows(before).map(|()| (line, link)));
        let (line, link) = match checked {
            Ok(checked) => checked,
            Err(fault) => return Ok(Err(fault.into())),
        };
        if [CUT, REPLACED, UNANCHORED].contains(&&*line.kind) {
            return Ok(Err(Problem::Told(line.kind)));
        }
        if self
            .head
            .is_some_and(|head| head.seq == link.seq && head != link)
        {
            return Ok(Err(Problem::NotTheHeads(link.seq)));
        }
        self.report.lines += 1;
        self.report.first.get_or_insert(link.seq);
        self.report.last = Some(link);
        (self.each)(&line, text).map(Ok)
    }
}
