//! The board: what fires now.
//!
//! Job: open an episode when something begins to be wrong, close it when it is not wrong any more, and hand out one notice for
//! each.
//! Invariants: an episode is announced once when it begins, once more only where it grows worse, and once when it ends; the
//! number of episodes is bounded; time is an argument.
//! Failure mode: beyond the bound a new episode is not opened.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::AlertKind;

/// Most episodes at a time: some for each of a thousand tenants.
const MOST: usize = 5_000;

/// A moment, by both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Since the process began to watch; never goes back.
    pub at: Duration,
    /// What people call it.
    pub wall: SystemTime,
}

/// Something that fires.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alert {
    /// What.
    pub kind: AlertKind,
    /// Whom or what it is about: a tenant's or an app's id, `ca`, `audit`, `sidecar`, `amazon`.
    pub subject: Arc<str>,
    /// Tells episodes of one kind and subject apart, as a route does; mostly empty.
    pub about: Arc<str>,
    /// Since when.
    pub since: SystemTime,
    /// What a person reads.
    pub detail: String,
}

/// Which way an episode turned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// It fires, or fires more.
    Firing,
    /// It is over.
    Cleared,
}

impl Turn {
    /// The word of the webhook and the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Cleared => "cleared",
        }
    }
}

/// What somebody is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Of what.
    pub alert: Alert,
    /// Whether it begins or ends.
    pub turn: Turn,
}

/// What begins to be wrong, or still is.
#[derive(Clone, Debug)]
pub(super) struct Raise {
    pub(super) kind: AlertKind,
    pub(super) subject: Arc<str>,
    pub(super) about: Arc<str>,
    pub(super) detail: String,
    /// Grows as it gets worse.
    pub(super) stage: u32,
    /// How long it fires after it was last raised; `None` where something else ends it.
    pub(super) quiet: Option<Duration>,
}

impl Raise {
    pub(super) fn new(kind: AlertKind, subject: &str, detail: impl Into<String>) -> Self {
        Self {
            kind,
            subject: subject.into(),
            about: "".into(),
            detail: detail.into(),
            stage: 1,
            quiet: None,
        }
    }

    pub(super) fn about(mut self, about: &str) -> Self {
        self.about = about.into();
        self
    }

    pub(super) const fn stage(mut self, stage: u32) -> Self {
        self.stage = stage;
        self
    }

    pub(super) const fn until_quiet_for(mut self, quiet: Duration) -> Self {
        self.quiet = Some(quiet);
        self
    }
}

type Key = (AlertKind, Arc<str>, Arc<str>);

#[derive(Debug)]
struct Episode {
    since: SystemTime,
    detail: String,
    stage: u32,
    ends: Option<Duration>,
}

/// Everything that fires.
#[derive(Debug, Default)]
pub(super) struct Board {
    episodes: BTreeMap<Key, Episode>,
    notices: Vec<Notice>,
}

impl Board {
    /// Something is wrong.
    pub(super) fn raise(&mut self, raise: Raise, now: Moment) {
        let Raise {
            kind,
            subject,
            about,
            detail,
            stage,
            quiet,
        } = raise;
        let ends = quiet.map(|quiet| now.at + quiet);
        let is_full = self.episodes.len() >= MOST;
        let key = (kind, subject, about);
        let (key, episode) = match self.episodes.entry(key) {
            Entry::Occupied(mut there) => {
                let episode = there.get_mut();
                episode.ends = ends;
                episode.detail = detail;
                let is_worse = stage > episode.stage;
                episode.stage = stage;
                if !is_worse {
                    return;
                }
                (there.key().clone(), &*there.into_mut())
            }
            Entry::Vacant(_) if is_full => return,
            Entry::Vacant(free) => {
                let key = free.key().clone();
                let episode = free.insert(Episode {
                    since: now.wall,
                    detail,
                    stage,
                    ends,
                });
                (key, &*episode)
            }
        };
        let alert = alert(&key, episode);
        self.notices.push(Notice {
            alert,
            turn: Turn::Firing,
        });
    }

    /// It is over: every episode of this kind and subject for which `which` says so of what it is about. `detail` says why.
    pub(super) fn clear(
        &mut self,
        kind: AlertKind,
        subject: &str,
        which: impl Fn(&str) -> bool,
        detail: &str,
    ) {
        self.close(
            |(of, whom, about), _| *of == kind && &**whom == subject && which(about),
            detail,
        );
    }

    /// Closes the episodes of a kind whose subject is not one of these.
    pub(super) fn keep(
        &mut self,
        kind: AlertKind,
        about: &str,
        stays: impl Fn(&str) -> bool,
        detail: &str,
    ) {
        self.close(
            |(of, whom, what), _| *of == kind && &**what == about && !stays(whom),
            detail,
        );
    }

    /// Closes the episodes of a kind, whatever they are about, whose subject is not one of these.
    pub(super) fn drop_others(
        &mut self,
        kind: AlertKind,
        stays: impl Fn(&str) -> bool,
        detail: &str,
    ) {
        self.close(|(of, whom, _), _| *of == kind && !stays(whom), detail);
    }

    /// Closes what was quiet for long enough.
    pub(super) fn expire(&mut self, now: Moment) {
        self.close(
            |_, episode| episode.ends.is_some_and(|ends| now.at >= ends),
            "it has not happened again since",
        );
    }

    fn close(&mut self, over: impl Fn(&Key, &Episode) -> bool, detail: &str) {
        let notices = &mut self.notices;
        self.episodes.retain(|key, episode| {
            let is_over = over(key, episode);
            if is_over {
                let alert = Alert {
                    detail: detail.to_owned(),
                    ..alert(key, episode)
                };
                notices.push(Notice {
                    alert,
                    turn: Turn::Cleared,
                });
            }
            !is_over
        });
    }

    /// What has turned since this was last asked.
    pub(super) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Whether something of this kind fires for this subject.
    pub(super) fn fires(&self, kind: AlertKind, subject: &str) -> bool {
        let of = |(of, whom, _): &Key| *of == kind && &**whom == subject;
        self.episodes.keys().any(of)
    }

    /// What fires, by kind and subject.
    pub(super) fn active(&self) -> Vec<Alert> {
        self.episodes
            .iter()
            .map(|(key, episode)| alert(key, episode))
            .collect()
    }
}

fn alert((kind, subject, about): &Key, episode: &Episode) -> Alert {
    Alert {
        kind: *kind,
        subject: Arc::clone(subject),
        about: Arc::clone(about),
        since: episode.since,
        detail: episode.detail.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: AlertKind = AlertKind::AuthErrors;

    fn at(seconds: u64) -> Moment {
        let at = Duration::from_secs(seconds);
        Moment {
            at,
            wall: SystemTime::UNIX_EPOCH + at,
        }
    }

    fn turns(board: &mut Board) -> Vec<(String, &'static str, String)> {
        let notices = board.take_notices();
        let said = notices.into_iter();
        said.map(|notice| {
            let since = notice.alert.since.duration_since(SystemTime::UNIX_EPOCH);
            (
                format!("{}@{}", notice.alert.subject, since.unwrap().as_secs()),
                notice.turn.as_str(),
                notice.alert.detail,
            )
        })
        .collect()
    }

    fn said(subject: &str, turn: &'static str, detail: &str) -> (String, &'static str, String) {
        (subject.to_owned(), turn, detail.to_owned())
    }

    #[test]
    fn an_episode_is_announced_once_when_it_begins_and_once_when_it_ends() {
        let mut board = Board::default();
        for (second, detail) in [(1, "one"), (2, "two"), (3, "three")] {
            board.raise(Raise::new(KIND, "acme", detail), at(second));
        }
        board.raise(Raise::new(KIND, "beta", "other"), at(4));
        assert_eq!(
            turns(&mut board),
            [
                said("acme@1", "firing", "one"),
                said("beta@4", "firing", "other")
            ]
        );
        assert_eq!(board.active()[0].detail, "three");
        board.clear(KIND, "acme", |_| true, "over");
        board.clear(KIND, "acme", |_| true, "over");
        assert_eq!(turns(&mut board), [said("acme@1", "cleared", "over")]);
        board.raise(Raise::new(KIND, "acme", "again"), at(9));
        assert_eq!(turns(&mut board), [said("acme@9", "firing", "again")]);
        assert!(board.fires(KIND, "beta") && !board.fires(AlertKind::CaDue, "beta"));
    }

    #[test]
    fn what_grows_worse_is_said_again_with_its_beginning() {
        let mut board = Board::default();
        for (second, stage) in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 1), (6, 2)] {
            let raise = Raise::new(KIND, "acme", stage.to_string()).stage(stage);
            board.raise(raise, at(second));
        }
        assert_eq!(
            turns(&mut board),
            [
                said("acme@1", "firing", "1"),
                said("acme@1", "firing", "2"),
                said("acme@1", "firing", "2")
            ]
        );
    }

    #[test]
    fn what_nothing_else_ends_ends_when_it_was_quiet_for_long_enough() {
        let mut board = Board::default();
        let again = || Raise::new(KIND, "acme", "x").until_quiet_for(Duration::from_secs(10));
        board.raise(again(), at(0));
        board.raise(again(), at(8));
        board.raise(Raise::new(KIND, "beta", "y"), at(0));
        board.expire(at(17));
        assert_eq!(turns(&mut board).len(), 2);
        board.expire(at(18));
        let over = "it has not happened again since";
        assert_eq!(turns(&mut board), [said("acme@0", "cleared", over)]);
        board.expire(at(1_000_000));
        assert_eq!(turns(&mut board), []);
    }

    #[test]
    fn the_number_of_episodes_is_bounded() {
        let mut board = Board::default();
        for n in 0..MOST + 10 {
            board.raise(Raise::new(KIND, "acme", "x").about(&n.to_string()), at(0));
        }
        assert_eq!(
            (board.active().len(), turns(&mut board).len()),
            (MOST, MOST)
        );
    }
}
