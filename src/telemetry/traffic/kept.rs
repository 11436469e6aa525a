//! The traffic on disk: a small file beside the audit's, so that a review looks over restarts.
//!
//! Job: read it at the start, write it whole every few minutes and at the stop; give the same lines to whoever asks the
//! running sidecar.
//! Invariants: a reader sees a whole file or the one before (written beside, synced, renamed; mode 0600); what cannot be read
//! as such a file is not believed.
//! Failure mode: [`Standing::error`]; the sidecar serves on.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{Kind, MOST, MOST_OPENINGS, Opening, Seen, Traffic, lock};
use crate::outcome::Reason;
use crate::telemetry::clock;
use crate::telemetry::event::BreakGlassPhase;
use crate::tenant::TenantId;

/// The file's name, in the audit file's folder.
pub const NAME: &str = "traffic.json";

/// Largest file that is read: [`MOST`] lines of the longest templates, and some.
const BYTES: u64 = 32 << 20;

/// Where it is kept, and how that goes.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    error: Mutex<Option<String>>,
    /// Held while it is written: the stop must not write beside the last of the regular writes.
    writing: Mutex<()>,
}

/// How keeping goes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Standing {
    /// Which file; nothing where it is kept in memory alone.
    pub path: Option<PathBuf>,
    /// Why the file could not be read or written the last time.
    pub error: Option<String>,
}

/// What was seen, as it is written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// Of this shape.
    pub version: u8,
    /// From when on all was seen, RFC 3339.
    pub since: String,
    /// Kinds of calls.
    pub kinds: Vec<Line>,
    /// What was opened by break-glass.
    #[serde(default)]
    pub openings: Vec<OpeningLine>,
}

/// One kind of call, as it is written. Times are RFC 3339.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Whose.
    pub tenant: String,
    /// Method.
    pub method: String,
    /// Template, or the masked path of what no template names.
    pub template: String,
    /// How often.
    pub requests: u64,
    /// How often it was refused.
    pub refused: u64,
    /// How often it would have been.
    pub would_refuse: u64,
    /// Why, the last time.
    pub reason: Option<String>,
    /// When first.
    pub first_seen: String,
    /// When last.
    pub last_seen: String,
    /// When last it went to Amazon.
    pub last_sent: Option<String>,
}

/// One opening, as it is written. Times are RFC 3339.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OpeningLine {
    /// For whom.
    pub tenant: String,
    /// Its routes.
    pub allow: Vec<String>,
    /// Why.
    pub reason: String,
    /// Who did it.
    pub by: String,
    /// When.
    pub at: String,
    /// How many calls went by it.
    pub used: u64,
    /// When it ended.
    pub ended: Option<String>,
    /// Whether somebody ended it.
    pub revoked: bool,
}

/// The file beside an audit file.
#[must_use]
pub fn beside(audit: &Path) -> PathBuf {
    audit.with_file_name(NAME)
}

/// Reads a file; nothing where there is none.
///
/// # Errors
/// Why it cannot be read, or is no such file.
pub fn read(path: &Path) -> Result<Option<Snapshot>, String> {
    let length = match std::fs::metadata(path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if length > BYTES {
        return Err(format!("it has {length} bytes, more than it can have"));
    }
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let snapshot: Snapshot = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if snapshot.version != 1 {
        return Err(format!("its version is {}, not 1", snapshot.version));
    }
    Ok(Some(snapshot))
}

impl Traffic {
    /// What the file beside an audit file says, to be kept there. A file that cannot be read is begun anew.
    #[must_use]
    pub fn open(audit: &Path, now: SystemTime) -> Self {
        let path = beside(audit);
        let (snapshot, error) = match read(&path) {
            Ok(snapshot) => (snapshot, None),
            Err(error) => (None, Some(error)),
        };
        let mut traffic = snapshot
            .and_then(|snapshot| Self::of(&snapshot))
            .unwrap_or_else(|| Self::since(now));
        if let Some(error) = &error {
            tracing::warn!(path = %path.display(), error, "what was called before cannot be read; the file is begun anew");
        }
        traffic.file = Some(File {
            path,
            error: Mutex::new(error),
            writing: Mutex::default(),
        });
        traffic
    }

    /// Lines that name no tenant, method or time are left out.
    fn of(snapshot: &Snapshot) -> Option<Self> {
        let traffic = Self::since(moment(&snapshot.since)?);
        let kinds = snapshot.kinds.iter().take(MOST);
        lock(&traffic.seen).extend(kinds.filter_map(Line::parse));
        let openings = snapshot.openings.iter().take(MOST_OPENINGS);
        lock(&traffic.openings).extend(openings.filter_map(OpeningLine::parse));
        Some(traffic)
    }

    /// Everything seen, as it is written.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            version: 1,
            since: clock(self.since),
            kinds: self.seen().iter().map(Line::of).collect(),
            openings: self.openings().iter().map(OpeningLine::of).collect(),
        }
    }

    /// How keeping goes.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let file = self.file.as_ref();
        Standing {
            path: file.map(|file| file.path.clone()),
            error: file.and_then(|file| lock(&file.error).clone()),
        }
    }

    /// Writes the file. Blocks while the disk does; a failure is said once, and kept for whoever asks.
    pub fn save(&self, now: SystemTime) {
        let Some(file) = &self.file else {
            return;
        };
        let _turn = lock(&file.writing);
        self.forget_old(now);
        // strings and numbers can be written
        let text = serde_json::to_vec(&self.snapshot()).unwrap_or_default();
        let error = write(&file.path, &text)
            .err()
            .map(|error| error.to_string());
        let mut known = lock(&file.error);
        match &error {
            Some(error) if known.is_none() => {
                tracing::warn!(path = %file.path.display(), error, "what was called cannot be kept over a restart");
            }
            None if known.is_some() => {
                tracing::info!(path = %file.path.display(), "what was called is kept again");
            }
            Some(_) | None => {}
        }
        *known = error;
    }
}

/// Writes beside, syncs, and renames.
fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("json.new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

/// A moment from its text.
#[must_use]
pub fn moment(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}

impl Line {
    /// Writes a kind of call.
    #[must_use]
    pub fn of((kind, seen): &(Kind, Seen)) -> Self {
        Self {
            tenant: kind.tenant.to_string(),
            method: kind.method.to_string(),
            template: kind.template.to_string(),
            requests: seen.requests,
            refused: seen.refused,
            would_refuse: seen.would_refuse,
            reason: seen.reason.map(|reason| reason.code().to_owned()),
            first_seen: clock(seen.first),
            last_seen: clock(seen.last),
            last_sent: seen.last_sent.map(clock),
        }
    }

    /// Reads it back; nothing where it names no tenant, method or time.
    #[must_use]
    pub fn parse(&self) -> Option<(Kind, Seen)> {
        let kind = Kind {
            tenant: TenantId::parse(&self.tenant).ok()?,
            method: self.method.parse().ok()?,
            template: Arc::from(&*self.template),
        };
        let code = self.reason.as_deref();
        let reason = Reason::ALL.iter().find(|known| Some(known.code()) == code);
        let seen = Seen {
            requests: self.requests,
            refused: self.refused,
            would_refuse: self.would_refuse,
            reason: reason.copied(),
            first: moment(&self.first_seen)?,
            last: moment(&self.last_seen)?,
            last_sent: self.last_sent.as_deref().and_then(moment),
        };
        Some((kind, seen))
    }
}

impl OpeningLine {
    /// Writes an opening.
    #[must_use]
    pub fn of(opening: &Opening) -> Self {
        Self {
            tenant: opening.tenant.to_string(),
            allow: opening.allow.clone(),
            reason: opening.reason.clone(),
            by: opening.by.clone(),
            at: clock(opening.at),
            used: opening.used,
            ended: opening.ended.map(|(at, _)| clock(at)),
            revoked: opening
                .ended
                .is_some_and(|(_, how)| how == BreakGlassPhase::Revoked),
        }
    }

    /// Reads it back; nothing where it names no tenant or time.
    #[must_use]
    pub fn parse(&self) -> Option<Opening> {
        let how = if self.revoked {
            BreakGlassPhase::Revoked
        } else {
            BreakGlassPhase::Expired
        };
        let ended = self.ended.as_deref().and_then(moment);
        Some(Opening {
            tenant: TenantId::parse(&self.tenant).ok()?,
            allow: self.allow.clone(),
            reason: self.reason.clone(),
            by: self.by.clone(),
            at: moment(&self.at)?,
            used: self.used,
            ended: ended.map(|at| (at, how)),
        })
    }
}

#[cfg(test)]
mod tests;
