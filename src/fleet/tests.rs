//! The fleet over an in-memory store: what holds, when, and what is said of it.

use std::sync::atomic::AtomicBool;

use tokio::runtime::Handle;

use super::why::Why;
use super::*;
use crate::store::memory::MemoryStore;
use crate::store::{Expect, Fields, Folder, Record, RecordKey};
use crate::telemetry::event::{Event, Observer};

/// A store that can be away.
#[derive(Debug, Default)]
struct Store {
    records: MemoryStore,
    away: AtomicBool,
}

impl Store {
    fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    fn answers(&self) -> Result<(), StoreError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("away".to_owned()));
        }
        Ok(())
    }
}

impl GrantStore for Store {
    fn read<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        Box::pin(async move {
            self.answers()?;
            self.records.read(key).await
        })
    }

    fn write<'a>(
        &'a self,
        key: &'a RecordKey,
        fields: Fields,
        expect: Expect,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            self.answers()?;
            self.records.write(key, fields, expect).await
        })
    }

    fn list(&self, folder: Folder) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        self.records.list(folder)
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}

/// What a tenant holds, and what became of it.
#[derive(Debug, Default)]
struct Tokens(Mutex<Vec<String>>);

impl Tokens {
    fn note(&self, what: &str) {
        self.0.lock().unwrap().push(what.to_owned());
    }
}

impl Holdings for Tokens {
    fn forget(&self, tenant: &TenantId) {
        self.note(&format!("forgot {tenant}"));
    }

    fn empty<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.note(&format!("emptied {tenant}"));
            Ok(())
        })
    }
}

/// Events, as lines.
#[derive(Debug, Default)]
struct Said(Mutex<Vec<String>>);

impl Observer for Said {
    fn note(&self, event: &Event<'_>) {
        let line = if let Event::State {
            tenant,
            state,
            reason,
            by,
        } = event
        {
            format!("{tenant} {} ({reason}) by {by}", state.as_str())
        } else if let Event::BreakGlass { what, by, .. } = event {
            format!("break-glass {what:?} by {by}")
        } else {
            format!("{event:?}")
        };
        self.0.lock().unwrap().push(line);
    }
}

struct World {
    store: Arc<Store>,
    tokens: Arc<Tokens>,
    said: Arc<Said>,
    fleet: Arc<Fleet>,
}

/// A sidecar that has read the record of a store once.
async fn sidecar(store: &Arc<Store>) -> World {
    let (tokens, said) = (Arc::<Tokens>::default(), Arc::<Said>::default());
    let events = Events::default();
    events.observe(vec![Arc::clone(&said) as _]);
    let tasks = Tasks::new(Handle::current());
    let fleet = Arc::new(Fleet::new(Arc::clone(store) as _, tasks, events));
    fleet.set_holdings(Arc::clone(&tokens) as _);
    fleet.look().await;
    World {
        store: Arc::clone(store),
        tokens,
        said,
        fleet,
    }
}

async fn world() -> World {
    sidecar(&Arc::default()).await
}

impl World {
    fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.said.0.lock().unwrap())
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.tokens.0.lock().unwrap())
    }

    /// Lets what runs beside come to an end, without time passing.
    async fn settle(&self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
}

fn acme() -> TenantId {
    TenantId::parse("acme").unwrap()
}

fn kill() -> Change {
    Change::Kill(acme(), Why::new("leaked", "ada").unwrap())
}

fn resume() -> Change {
    Change::Resume(acme(), Why::new("mended", "bob").unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_kill_takes_the_tokens_at_once_and_is_said_once() {
    let world = world().await;
    assert!(world.fleet.change(kill()).await.unwrap());
    assert_eq!(world.fleet.state(&acme()), TenantState::Killed);
    assert_eq!(world.taken(), ["forgot acme", "emptied acme"]);
    world.fleet.look().await;
    assert_eq!(world.said(), ["acme killed (leaked) by ada"]);
    // an exchange that was being begun has landed since
    tokio::time::sleep(LANDED * 2).await;
    world.fleet.look().await;
    assert_eq!(world.taken(), ["forgot acme", "emptied acme"]);
    world.fleet.look().await;
    assert!(world.taken().is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_sidecar_follows_at_its_next_look_and_a_new_one_from_its_start() {
    let one = world().await;
    let two = sidecar(&one.store).await;
    one.fleet.change(kill()).await.unwrap();
    assert_eq!(two.fleet.state(&acme()), TenantState::Active);
    two.fleet.look().await;
    assert_eq!(two.fleet.state(&acme()), TenantState::Killed);
    assert_eq!(two.taken(), ["forgot acme"]);
    let three = sidecar(&one.store).await;
    assert_eq!(three.fleet.state(&acme()), TenantState::Killed);
    two.fleet.change(resume()).await.unwrap();
    one.fleet.look().await;
    assert_eq!(one.fleet.state(&acme()), TenantState::Active);
    assert_eq!(two.said().last().unwrap(), "acme active (mended) by bob");
    assert!(one.said().last().unwrap().starts_with("acme active"));
}

#[tokio::test(start_paused = true)]
async fn a_look_comes_within_ten_seconds() {
    let one = world().await;
    let two = sidecar(&one.store).await;
    let fleet = Arc::clone(&two.fleet);
    let _polled = two
        .fleet
        .tasks
        .control("fleet", async move { fleet.keep().await });
    for _ in 0..20 {
        one.fleet.change(kill()).await.unwrap();
        let asked = Instant::now();
        while two.fleet.state(&acme()) != TenantState::Killed {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(asked.elapsed() < Duration::from_secs(8));
        one.fleet.change(resume()).await.unwrap();
        while two.fleet.state(&acme()) != TenantState::Active {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_that_cannot_be_written_holds_here_and_is_written_when_the_store_is_back() {
    let world = world().await;
    world.store.set_away(true);
    let error = world.fleet.change(kill()).await.unwrap_err();
    assert!(matches!(error, ChangeError::Store(_)), "{error}");
    assert_eq!(world.fleet.state(&acme()), TenantState::Killed);
    assert_eq!(world.taken(), ["forgot acme"]);
    world.fleet.look().await;
    assert_eq!(world.fleet.state(&acme()), TenantState::Killed);
    world.store.set_away(false);
    world.fleet.look().await;
    let other = sidecar(&world.store).await;
    assert_eq!(other.fleet.state(&acme()), TenantState::Killed);
    assert_eq!(world.taken(), ["emptied acme"]);
    assert_eq!(world.said(), ["acme killed (leaked) by ada"]);
}

#[tokio::test(start_paused = true)]
async fn a_resume_that_cannot_be_written_serves_nobody() {
    let world = world().await;
    world.fleet.change(kill()).await.unwrap();
    world.store.set_away(true);
    world.fleet.change(resume()).await.unwrap_err();
    assert_eq!(world.fleet.state(&acme()), TenantState::Killed);
    world.store.set_away(false);
    world.fleet.look().await;
    assert_eq!(world.fleet.state(&acme()), TenantState::Killed);
}

#[tokio::test(start_paused = true)]
async fn with_the_store_away_the_last_record_stays_in_force() {
    let world = world().await;
    world.fleet.change(kill()).await.unwrap();
    world.store.set_away(true);
    world.fleet.look().await;
    assert_eq!(world.fleet.state(&acme()), TenantState::Killed);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_known_before_the_record_has_been_read() {
    let store = Arc::<Store>::default();
    store.set_away(true);
    let world = sidecar(&store).await;
    assert!(!world.fleet.is_known());
    store.set_away(false);
    world.fleet.look().await;
    assert!(world.fleet.is_known());
    world.fleet.known().await;
}

#[tokio::test(start_paused = true)]
async fn what_came_by_itself_goes_by_itself_with_its_own_cause_alone() {
    use QuarantineCause::{ChargeMethodLapsed, GrantRevoked};
    let world = world().await;
    let _started = world.said();
    world.fleet.quarantine_automatically(&acme(), GrantRevoked);
    // at once, before anything was written
    assert_eq!(world.fleet.state(&acme()), TenantState::Quarantined);
    world.settle().await;
    world
        .fleet
        .release_automatically(&acme(), ChargeMethodLapsed);
    world.settle().await;
    world.fleet.look().await;
    assert_eq!(world.fleet.state(&acme()), TenantState::Quarantined);
    world.fleet.release_automatically(&acme(), GrantRevoked);
    world.settle().await;
    assert_eq!(world.fleet.state(&acme()), TenantState::Active);
    assert_eq!(
        world.said(),
        [
            "acme quarantined (grant_revoked) by automatic",
            "acme active (grant_revoked) by automatic"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_person_did_is_not_undone_by_a_cause_that_is_gone() {
    let world = world().await;
    let quarantine = Change::Quarantine(acme(), Why::new("grant_revoked", "ada").unwrap());
    world.fleet.change(quarantine).await.unwrap();
    world
        .fleet
        .release_automatically(&acme(), QuarantineCause::GrantRevoked);
    world.settle().await;
    assert_eq!(world.fleet.state(&acme()), TenantState::Quarantined);
    world
        .fleet
        .quarantine_automatically(&acme(), QuarantineCause::GrantRevoked);
    world.settle().await;
    assert_eq!(world.fleet.standing(&acme()).unwrap().by, "ada");
}

#[tokio::test(start_paused = true)]
async fn a_break_glass_is_opened_everywhere_and_its_end_says_who_ended_it() {
    let one = world().await;
    let two = sidecar(&one.store).await;
    let (_, _) = (one.said(), two.said());
    let why = Why::new("outage", "ada").unwrap();
    let lasts = Duration::from_secs(600);
    let allow = ["GET /a".to_owned()];
    let glass = glass::new_break_glass(acme(), &allow, lasts, &why, telemetry::now()).unwrap();
    one.fleet.change(Change::Open(glass.clone())).await.unwrap();
    two.fleet.look().await;
    for world in [&one, &two] {
        assert_eq!(world.fleet.openings(&acme()).unwrap().len(), 1);
    }
    let revoke = Change::Revoke {
        id: glass.id,
        by: "bob".to_owned(),
    };
    two.fleet.change(revoke.clone()).await.unwrap();
    one.fleet.look().await;
    for world in [&one, &two] {
        assert!(world.fleet.openings(&acme()).is_none());
        let said = ["break-glass Opened by ada", "break-glass Revoked by bob"];
        assert_eq!(world.said(), said);
    }
    assert!(!one.fleet.change(revoke).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_break_glass_ends_by_itself_also_while_the_store_is_away() {
    let world = world().await;
    let why = Why::new("outage", "ada").unwrap();
    // opened on another machine, whose clock is an hour behind this one
    let then = telemetry::now() - Duration::from_secs(3600);
    let allow = ["GET /a".to_owned()];
    let lasts = Duration::from_secs(3601);
    let glass = glass::new_break_glass(acme(), &allow, lasts, &why, then).unwrap();
    let until = glass.until;
    world.fleet.change(Change::Open(glass)).await.unwrap();
    world.store.set_away(true);
    while telemetry::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    world.fleet.look().await;
    assert!(world.fleet.openings(&acme()).is_none());
    let said = world.said();
    assert_eq!(said.last().unwrap(), "break-glass Expired by ada");
}
