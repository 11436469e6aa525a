//! `fleet`: what all sidecars of a store have in common.
//!
//! Job: a typed view over one small record that operators read and write with Vault's own tools as well.
//! Invariants: what this version does not understand is kept as it was found when the record is written again; a state that
//! it does not know is a quarantine, since not knowing is refusing; the generation grows with every write.
//! Failure mode: [`StoreError::Local`] when the record is not what it has to be; one unreadable break-glass is left out.
//! Source: CONTRACT section 4, store layout.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::{Expect, Fields, GrantStore, Record, RecordKey, StoreError};
use crate::secret::Opaque;
use crate::tenant::{TenantId, TenantState};

/// Why a tenant is not active.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// What it is.
    pub state: TenantState,
    /// Why; the cause's word where it came by itself.
    pub reason: String,
    /// Since when (RFC 3339).
    pub since: String,
    /// Who did it: a person's name, or [`AUTOMATIC`].
    pub by: String,
}

/// Who does what nobody did.
pub const AUTOMATIC: &str = "automatic";

/// Routes that one tenant has for a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BreakGlass {
    /// Its id.
    pub id: String,
    /// Whose.
    pub tenant: TenantId,
    /// `METHOD /template` each.
    pub allow: Vec<String>,
    /// Why.
    pub reason: String,
    /// Who opened it.
    pub by: String,
    /// Since when (RFC 3339).
    pub since: String,
    /// Until when, by each sidecar's own clock.
    pub until: SystemTime,
    /// Who ended it before its time.
    pub revoked_by: Option<String>,
}

/// The `fleet` record.
#[derive(Clone, Debug, Default)]
pub struct FleetRecord {
    generation: u64,
    states: Map<String, Value>,
    break_glass: Vec<Value>,
    others: Fields,
}

impl FleetRecord {
    /// Gives the record its types.
    ///
    /// # Errors
    /// When `states` is no object or `break_glass` no list.
    pub fn from_record(record: &Record) -> Result<Self, StoreError> {
        let mut others = record.fields.clone();
        let mut take = |name: &str| others.remove(name).map(|value| parsed(&value));
        let generation = take("generation").and_then(|value| value.as_u64());
        let states = match take("states") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(states)) => states,
            Some(_) => return Err(unreadable("states", "an object of tenants")),
        };
        let break_glass = match take("break_glass") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(unreadable("break_glass", "a list")),
        };
        Ok(Self {
            generation: generation.unwrap_or(0),
            states,
            break_glass,
            others,
        })
    }

    /// Reads the record, and says what a write of it has to expect. One that was never written is empty.
    ///
    /// # Errors
    /// The store's, and those of [`Self::from_record`].
    pub async fn load(store: &dyn GrantStore) -> Result<(Self, Expect), StoreError> {
        Ok(match store.read(&RecordKey::Fleet).await? {
            None => (Self::default(), Expect::Absent),
            Some(record) => (Self::from_record(&record)?, Expect::Version(record.version)),
        })
    }

    /// How often it was written.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The tenants that are not active.
    pub fn standings(&self) -> impl Iterator<Item = (TenantId, Standing)> {
        self.states.iter().filter_map(|(id, value)| {
            let standing = standing(value)?;
            Some((TenantId::parse(id).ok()?, standing))
        })
    }

    /// Why a tenant is not active, where it is not.
    #[must_use]
    pub fn standing(&self, tenant: &TenantId) -> Option<Standing> {
        self.states.get(tenant.as_str()).and_then(standing)
    }

    /// Sets a tenant aside, or makes it active.
    pub fn set(&mut self, tenant: &TenantId, to: Option<&Standing>) {
        match to {
            None => {
                self.states.remove(tenant.as_str());
            }
            Some(Standing {
                state,
                reason,
                since,
                by,
            }) => {
                let entry =
                    json!({"state": state.as_str(), "reason": reason, "since": since, "by": by});
                self.states.insert(tenant.as_str().to_owned(), entry);
            }
        }
    }

    /// The break-glasses that can be read, ended ones too.
    pub fn break_glasses(&self) -> impl Iterator<Item = BreakGlass> {
        self.break_glass.iter().filter_map(break_glass)
    }

    /// Adds a break-glass, or replaces the one with its id.
    pub fn put(&mut self, glass: &BreakGlass) {
        self.break_glass
            .retain(|value| value.get("id").and_then(Value::as_str) != Some(&glass.id));
        self.break_glass.push(json!({
            "id": glass.id, "tenant": glass.tenant.as_str(), "allow": glass.allow,
            "reason": glass.reason, "by": glass.by, "since": glass.since,
            "until": humantime::format_rfc3339_seconds(glass.until).to_string(),
            "revoked_by": glass.revoked_by,
        }));
    }

    /// Takes out the break-glasses whose time is over.
    pub fn prune(&mut self, now: SystemTime) {
        self.break_glass
            .retain(|value| break_glass(value).is_none_or(|glass| glass.until > now));
    }

    /// Counts the write that is about to be made.
    pub const fn step(&mut self) {
        self.generation = self.generation.saturating_add(1);
    }

    /// The fields to write.
    #[must_use]
    pub fn into_fields(self) -> Fields {
        let mut fields = self.others;
        let mut put =
            |name: &str, value: String| fields.insert(name.to_owned(), Opaque::new(value));
        put("generation", self.generation.to_string());
        put("states", Value::Object(self.states).to_string());
        put("break_glass", Value::Array(self.break_glass).to_string());
        fields
    }
}

fn unreadable(field: &str, wanted: &str) -> StoreError {
    StoreError::Local(format!(
        "`{field}` of the record `fleet` in the store is not {wanted}; mend it with `vault kv put`, or delete the record \
         (every tenant is active then)"
    ))
}

/// A field's JSON; what is none is text.
pub(super) fn parsed(value: &Opaque) -> Value {
    serde_json::from_str(value.expose()).unwrap_or_else(|_text| value.expose().into())
}

/// A text in an object; nothing where there is none.
pub(super) fn word(value: &Value, key: &str) -> String {
    let text = value.get(key).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// `None` for an entry that says that the tenant is active.
fn standing(value: &Value) -> Option<Standing> {
    let state = TenantState::parse(&word(value, "state")).unwrap_or(TenantState::Quarantined);
    (state != TenantState::Active).then(|| Standing {
        state,
        reason: word(value, "reason"),
        since: word(value, "since"),
        by: word(value, "by"),
    })
}

fn break_glass(value: &Value) -> Option<BreakGlass> {
    let allow = value.get("allow")?.as_array()?;
    let allow: Option<Vec<String>> = allow
        .iter()
        .map(|one| one.as_str().map(str::to_owned))
        .collect();
    Some(BreakGlass {
        id: value.get("id")?.as_str()?.to_owned(),
        tenant: TenantId::parse(value.get("tenant")?.as_str()?).ok()?,
        allow: allow?,
        reason: word(value, "reason"),
        by: word(value, "by"),
        since: word(value, "since"),
        until: humantime::parse_rfc3339(value.get("until")?.as_str()?).ok()?,
        revoked_by: value
            .get("revoked_by")
            .and_then(Value::as_str)
            .map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn record(fields: &[(&str, &str)]) -> Record {
        Record {
            fields: fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Opaque::new((*value).to_owned())))
                .collect(),
            version: 1,
        }
    }

    fn id(text: &str) -> TenantId {
        TenantId::parse(text).unwrap()
    }

    #[test]
    fn what_this_version_does_not_know_survives_a_write_and_is_no_permission() {
        let found = record(&[
            ("generation", "7"),
            (
                "states",
                r#"{"acme":{"state":"suspended","ticket":"X-1"},"beta":{"state":"active"},"NO ID":{}}"#,
            ),
            ("break_glass", r#"[{"id":"a","from":"the future"}]"#),
            ("colour", "green"),
        ]);
        let mut fleet = FleetRecord::from_record(&found).unwrap();
        assert_eq!(fleet.generation(), 7);
        assert_eq!(
            fleet.standing(&id("acme")).unwrap().state,
            TenantState::Quarantined
        );
        assert_eq!(fleet.standing(&id("beta")), None);
        assert_eq!(fleet.standings().count(), 1);
        assert_eq!(fleet.break_glasses().count(), 0);
        fleet.set(&id("beta"), None);
        fleet.step();
        let fields = fleet.into_fields();
        assert_eq!(fields["generation"].expose(), "8");
        assert_eq!(fields["colour"].expose(), "green");
        assert!(fields["states"].expose().contains("X-1"));
        assert!(fields["break_glass"].expose().contains("the future"));
    }

    #[test]
    fn a_record_that_is_no_fleet_is_refused_by_field() {
        for (field, value) in [("states", "[]"), ("states", "x"), ("break_glass", "{}")] {
            let error = FleetRecord::from_record(&record(&[(field, value)])).unwrap_err();
            assert!(error.to_string().contains(field), "{error}");
        }
    }

    #[test]
    fn standings_and_break_glasses_survive_being_written_and_read() {
        let killed = Standing {
            state: TenantState::Killed,
            reason: "leaked".to_owned(),
            since: "2026-11-23T10:00:00Z".to_owned(),
            by: "ada".to_owned(),
        };
        let glass = BreakGlass {
            id: "1f".to_owned(),
            tenant: id("acme"),
            allow: vec!["GET /a".to_owned()],
            reason: "outage".to_owned(),
            by: "ada".to_owned(),
            since: "2026-11-23T10:00:00Z".to_owned(),
            until: SystemTime::UNIX_EPOCH + Duration::from_secs(100),
            revoked_by: None,
        };
        let mut fleet = FleetRecord::default();
        fleet.set(&id("acme"), Some(&killed));
        fleet.put(&glass);
        let fields = fleet.into_fields();
        let mut again = FleetRecord::from_record(&Record { fields, version: 1 }).unwrap();
        assert_eq!(again.standing(&id("acme")), Some(killed));
        assert_eq!(again.break_glasses().next().as_ref(), Some(&glass));
        let revoked = BreakGlass {
            revoked_by: Some("bob".to_owned()),
            ..glass
        };
        again.put(&revoked);
        assert_eq!(again.break_glasses().collect::<Vec<_>>(), [revoked]);
        again.prune(SystemTime::UNIX_EPOCH + Duration::from_secs(100));
        assert_eq!(again.break_glasses().count(), 0);
    }
}
