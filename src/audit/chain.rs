//! The form of the audit: lines that each hold the hash of the one before.
//!
//! Job: seal a line, read one, and say whether it follows another.
//! Invariants: a line is one JSON object on one line, `{"seq":N,"ts":"…","kind":"…",…,"prev":"HEX","hash":"HEX"}`. `hash` is the
//! SHA-256 of the line's own bytes before `,"hash":`, and `prev` (the hash of the line before; 64 zeros in the first of all)
//! is among them: who edits a line has to write every later one anew. `seq` counts from 1 without a gap. Pure: no file, no clock.
//! Failure mode: [`Fault`], in words for whoever has to explain it.
//!
//! A third party checks a file without us:
//!
//! ```python
//! import hashlib, json, sys
//! prev = None
//! for number, line in enumerate(open(sys.argv[1], "rb"), 1):
//!     body, _, tail = line.rpartition(b',"hash":"')
//!     told = json.loads(line)
//!     assert hashlib.sha256(body).hexdigest() == told["hash"] and tail == told["hash"].encode() + b'"}\n', f"line {number} was edited"
//!     assert prev in (None, (told["seq"] - 1, told["prev"])), f"line {number} does not follow the one before"
//!     prev = told["seq"], told["hash"]
//! print(prev)
//! ```

use std::fmt;
use std::time::SystemTime;

use serde::Deserialize;

/// What stands between a line's hashed part and its hash.
const HASH_KEY: &[u8] = br#","hash":""#;

/// Most bytes of one line: its longest texts are a reason and a list of routes.
pub const LINE_BYTES: usize = 64 << 10;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; 32]);

impl Hash {
    /// What the first line of all names as the one before it.
    pub const NONE: Self = Self([0; 32]);

    fn of(bytes: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(hash)
    }

    /// Reads 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |byte: &u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return None;
        }
        let mut hash = [0; 32];
        for (to, [high, low]) in hash.iter_mut().zip(pairs) {
            *to = digit(high)? << 4 | digit(low)?;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A place in the chain: the last line that was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Link {
    /// Before the first line.
    pub const START: Self = Self {
        seq: 0,
        hash: Hash::NONE,
    };

    /// Appends the line that follows to `out`: `body` are its members from `kind` on, without braces. Returns its own place.
    pub fn seal(self, at: SystemTime, body: &str, out: &mut Vec<u8>) -> Self {
        use std::io::Write as _;
        let from = out.len();
        let (seq, ts) = (self.seq + 1, humantime::format_rfc3339_micros(at));
        // writing to a Vec cannot fail
        let _infallible = write!(
            out,
            r#"{{"seq":{seq},"ts":"{ts}",{body},"prev":"{}""#,
            self.hash
        );
        let hash = Hash::of(out.get(from..).unwrap_or_default());
        out.extend_from_slice(HASH_KEY);
        let _infallible = writeln!(out, r#"{hash}"}}"#);
        Self { seq, hash }
    }
}

/// What is wrong with a line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// No newline at its end.
    #[error(
        "the line is not complete: it was cut off, or its writer was killed (the next start repairs that)"
    )]
    Incomplete,
    /// Not one of ours at all.
    #[error("this is no line of an audit: seq, ts, kind, prev and hash have to be there")]
    NotALine,
    /// The hash is another.
    #[error("the line was edited: its hash is not that of its text")]
    Edited,
    /// Numbers are missing.
    #[error("lines were removed: seq {found} follows seq {before}")]
    Gap {
        /// The number of the line before.
        before: u64,
        /// This one's.
        found: u64,
    },
    /// A number that was there already.
    #[error("lines were put in another order or written twice: seq {found} follows seq {before}")]
    Disorder {
        /// The number of the line before.
        before: u64,
        /// This one's.
        found: u64,
    },
    /// The number fits, the hash of the line before does not.
    #[error("the line does not follow the one before it: that one was replaced")]
    Unlinked,
    /// The first line, of a file that is not the continuation of another.
    #[error(
        "the file begins with seq {0}, and not as the continuation of another: what came before was removed"
    )]
    Beheaded(u64),
}

/// What every line has.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Line {
    /// Its number.
    pub seq: u64,
    /// When (RFC 3339, UTC).
    pub ts: String,
    /// What it tells.
    pub kind: String,
    /// Whose, where it is somebody's.
    #[serde(default)]
    pub tenant: Option<String>,
    prev: String,
    hash: String,
}

/// The kind of the line that a file begins with when it continues another.
pub const CONTINUED: &str = "continued";

impl Line {
    /// Reads a line with its newline, and checks its own hash.
    ///
    /// # Errors
    /// When it is incomplete, no line of ours, or edited.
    pub fn read(bytes: &[u8]) -> Result<(Self, Link), Fault> {
        let text = bytes.strip_suffix(b"\n").ok_or(Fault::Incomplete)?;
        let line: Self = serde_json::from_slice(text).map_err(|_malformed| Fault::NotALine)?;
        let hash = Hash::parse(&line.hash).ok_or(Fault::NotALine)?;
        // the end is as long as a hash is: what follows it would be outside of what is hashed
        let end = format!(r#"{}{hash}"}}"#, String::from_utf8_lossy(HASH_KEY));
        let body = text.strip_suffix(end.as_bytes()).ok_or(Fault::Edited)?;
        if Hash::of(body) != hash {
            return Err(Fault::Edited);
        }
        let link = Link {
            seq: line.seq,
            hash,
        };
        Ok((line, link))
    }

    /// Whether this line, the first of a file or not, may follow `before`; nothing is known before the first of all.
    ///
    /// # Errors
    /// When lines are missing, in another order, or replaced.
    pub fn follows(&self, before: Option<Link>) -> Result<(), Fault> {
        let prev = Hash::parse(&self.prev).ok_or(Fault::NotALine)?;
        let Some(before) = before else {
            let is_first = self.seq == 1 && prev == Hash::NONE;
            return if is_first || self.kind == CONTINUED {
                Ok(())
            } else {
                Err(Fault::Beheaded(self.seq))
            };
        };
        let (before_seq, found) = (before.seq, self.seq);
        if found > before_seq + 1 {
            return Err(Fault::Gap {
                before: before_seq,
                found,
            });
        }
        if found <= before_seq {
            return Err(Fault::Disorder {
                before: before_seq,
                found,
            });
        }
        if prev == before.hash {
            Ok(())
        } else {
            Err(Fault::Unlinked)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(kinds: &[&str]) -> Vec<Vec<u8>> {
        let mut link = Link::START;
        kinds
            .iter()
            .map(|kind| {
                let mut line = Vec::new();
                link = link.seal(
                    SystemTime::UNIX_EPOCH,
                    &format!(r#""kind":"{kind}""#),
                    &mut line,
                );
                line
            })
            .collect()
    }

    /// The first fault of a file, with the number of its line.
    fn fault(lines: &[Vec<u8>]) -> Option<(usize, Fault)> {
        let mut before = None;
        for (number, line) in lines.iter().enumerate() {
            match Line::read(line).and_then(|(line, link)| line.follows(before).map(|()| link)) {
                Ok(link) => before = Some(link),
                Err(fault) => return Some((number + 1, fault)),
            }
        }
        None
    }

    #[test]
    fn a_line_reads_as_documented_and_its_hash_is_that_of_what_stands_before_it() {
        let lines = chain(&["start", "stop"]);
        let text = String::from_utf8(lines[1].clone()).unwrap();
        let (body, hash) = text.split_once(r#","hash":""#).unwrap();
        assert!(
            body.starts_with(
                r#"{"seq":2,"ts":"1970-01-01T00:00:00.000000Z","kind":"stop","prev":""#
            ),
            "{text}"
        );
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes());
        let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hash, format!("{hex}\"}}\n"));
        assert_eq!(fault(&lines), None);
    }

    #[test]
    fn what_was_edited_removed_reordered_or_cut_is_found_at_its_line() {
        let edit = |line: usize, from: &str, to: &str| {
            let mut lines = chain(&["a", "b", "c", "d"]);
            let text = String::from_utf8(lines[line].clone()).unwrap();
            assert!(text.contains(from));
            lines[line] = text.replacen(from, to, 1).into_bytes();
            lines
        };
        let mut removed = chain(&["a", "b", "c", "d"]);
        removed.remove(1);
        let mut beheaded = chain(&["a", "b", "c", "d"]);
        beheaded.remove(0);
        let mut swapped = chain(&["a", "b", "c", "d"]);
        swapped.swap(1, 2);
        let mut twice = chain(&["a", "b", "c", "d"]);
        twice.insert(2, twice[1].clone());
        let mut cut = chain(&["a", "b", "c", "d"]);
        cut[3].truncate(40);
        let mut other = chain(&["a", "x", "c", "d"]);
        other[2..].clone_from_slice(&chain(&["a", "b", "c", "d"])[2..]);
        for (what, lines, want) in [
            ("kind", edit(1, r#""b""#, r#""B""#), (2, Fault::Edited)),
            ("time", edit(0, "1970", "1971"), (1, Fault::Edited)),
            (
                "after the hash",
                edit(2, "\"}\n", "\" }\n"),
                (3, Fault::Edited),
            ),
            (
                "more members",
                edit(2, "\"}\n", "\",\"more\":1}\n"),
                (3, Fault::Edited),
            ),
            (
                "no JSON",
                edit(1, "{\"seq", "\u{0}{\"seq"),
                (2, Fault::NotALine),
            ),
            (
                "removed",
                removed,
                (
                    2,
                    Fault::Gap {
                        before: 1,
                        found: 3,
                    },
                ),
            ),
            ("beheaded", beheaded, (1, Fault::Beheaded(2))),
            (
                "swapped",
                swapped,
                (
                    2,
                    Fault::Gap {
                        before: 1,
                        found: 3,
                    },
                ),
            ),
            (
                "twice",
                twice,
                (
                    3,
                    Fault::Disorder {
                        before: 2,
                        found: 2,
                    },
                ),
            ),
            ("cut", cut, (4, Fault::Incomplete)),
            ("replaced whole", other, (3, Fault::Unlinked)),
        ] {
            assert_eq!(fault(&lines), Some(want), "{what}");
        }
    }

    #[test]
    fn a_hash_is_64_lower_case_digits_and_nothing_else() {
        let good = "0123456789abcdef".repeat(4);
        assert_eq!(
            Hash::parse(&good).map(|hash| hash.to_string()),
            Some(good.clone())
        );
        for bad in [
            "",
            good.strip_prefix('0').unwrap(),
            &format!("{good}0"),
            &good.to_uppercase(),
            &good.replace('0', "g"),
        ] {
            assert_eq!(Hash::parse(bad), None, "{bad}");
        }
    }
}
