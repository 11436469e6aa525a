//! `members`: the sidecars that announce themselves.
//!
//! Job: a typed view over the record.
//! Invariants: the record stays below 1 MiB; what cannot be read of it is nobody.
//! Failure mode: the store's.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::fleet::{parsed, word};
use super::{Expect, Fields, GrantStore, RecordKey, StoreError};
use crate::secret::Opaque;

/// Most members that are kept: beyond it a sidecar does not announce itself.
const MOST_MEMBERS: usize = 5_000;

/// The `members` record: every sidecar's count of its own announcements. Clocks are never compared: who reads it watches
/// whose count still grows.
#[derive(Clone, Debug, Default)]
pub struct Roll {
    members: BTreeMap<String, Member>,
    others: Fields,
}

/// A sidecar that announces itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// How often it did.
    pub beats: u64,
    /// Since when (RFC 3339), for people.
    pub since: String,
}

impl Roll {
    /// Reads the record, and says what a write of it has to expect. What cannot be read of it is nobody.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(store: &dyn GrantStore) -> Result<(Self, Expect), StoreError> {
        let Some(record) = store.read(&RecordKey::Members).await? else {
            return Ok((Self::default(), Expect::Absent));
        };
        let mut others = record.fields;
        let members = others.remove("members").map(|value| parsed(&value));
        let members = members.iter().filter_map(Value::as_object).flatten();
        let members = members.filter_map(|(id, value)| {
            let beats = value.get("beats")?.as_u64()?;
            let since = word(value, "since");
            Some((id.clone(), Member { beats, since }))
        });
        let roll = Self {
            members: members.collect(),
            others,
        };
        Ok((roll, Expect::Version(record.version)))
    }

    /// Who is on it.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.members
            .iter()
            .map(|(id, member)| (id.as_str(), member))
    }

    /// Puts a member on it; says whether there was room.
    pub fn put(&mut self, id: &str, member: Member) -> bool {
        let room = self.members.len() < MOST_MEMBERS || self.members.contains_key(id);
        if room {
            self.members.insert(id.to_owned(), member);
        }
        room
    }

    /// Takes a member off it; says whether it was there.
    pub fn remove(&mut self, id: &str) -> bool {
        self.members.remove(id).is_some()
    }

    /// The fields to write.
    #[must_use]
    pub fn into_fields(self) -> Fields {
        let members: Map<String, Value> = self
            .members
            .into_iter()
            .map(|(id, member)| (id, json!({"beats": member.beats, "since": member.since})))
            .collect();
        let mut fields = self.others;
        let members = Opaque::new(Value::Object(members).to_string());
        fields.insert("members".to_owned(), members);
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_roll_takes_nobody_new_and_renews_whoever_is_on_it() {
        let member = |beats| Member {
            beats,
            since: String::new(),
        };
        let mut roll = Roll::default();
        for n in 0..MOST_MEMBERS {
            assert!(roll.put(&format!("m{n}"), member(1)));
        }
        assert!(!roll.put("late", member(1)));
        assert!(roll.put("m0", member(2)));
        assert_eq!(roll.members().count(), MOST_MEMBERS);
        let beats = roll.members().find(|(id, _)| *id == "m0");
        assert_eq!(beats.map(|(_, member)| member.beats), Some(2));
        assert!(roll.remove("m0"));
        assert!(roll.put("late", member(1)));
    }
}
