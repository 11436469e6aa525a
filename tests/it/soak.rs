//! A long time at six tenths of what can be served, while something happens every few seconds: no wrong answer, and what the
//! process holds stays as it was.
//!
//! A wrong answer is another tenant's token or body, an expired token at Amazon, a success with a body that is not its own, a
//! success of a tenant that is killed, and a failure that nothing explains which happened at its time. `SOAK_MINUTES` and
//! `SOAK_SEED` change the long form.

mod arrival;
mod caller;
mod gauge;
mod happening;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use spapi_sidecar::phantom::Kind as PhantomKind;
use spapi_sidecar::sandbox::{GrantRegistration, Options, Sandbox};
use spapi_sidecar::secret::RefreshToken;
use spapi_sidecar::store::record::phantom_key;
use spapi_sidecar::tenant::TenantId;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::arrival::Arrivals;
use self::caller::{Called, Line, Outcome, Protocol, Rate};
use self::gauge::Gauge;

use self::happening::{ALL, Happening, Pace};
use crate::support::admin::Admin;
use crate::support::child::ChildSidecar;
use crate::support::draw::{Draw, figure, size};
use crate::support::kernel::descriptors;
use crate::support::sidecar::{Setup, open_store};

const TENANTS: usize = 6;
const MARKETPLACE: &str = "ATVPDKIKX0DER";
/// Connections of HTTP/1.1 and of HTTP/2: more than the rate takes, so that a slow answer holds up no other call.
const CONNECTIONS: [usize; 2] = [24, 4];
/// Callers that share a connection of HTTP/2.
const STREAMS: usize = 8;
/// How long every token lives.
const LIFE: Duration = Duration::from_secs(10);
/// Of a second of calls as fast as they come, this is asked for.
const SHARE: f64 = 0.6;
/// How long it may take until nothing is left of a load that has ended: an idle connection's longest life and some.
const SETTLES: Duration = Duration::from_secs(90);

/// What a run may rise by in a minute.
struct Bounds {
    kib: f64,
    descriptors: f64,
}

/// In seconds a process still fills its caches and rings, and a pool that breathes looks like growth: nothing is asserted of them.
/// Over half an hour that is over: the last to fill is what is remembered of reports, 4,096 ids a tenant, after some ten minutes. At
/// ten thousand calls a minute this is 50 bytes of each, less than any object on the heap with what the allocator adds, and a
/// descriptor of every thousandth.
const LONG: Bounds = Bounds {
    kib: 512.0,
    descriptors: 10.0,
};

struct World {
    sidecar: ChildSidecar,
    phantoms: Vec<String>,
    issued: AtomicU64,
    reopened: AtomicUsize,
    happenings: Mutex<Vec<Happening>>,
    outcomes: Mutex<HashMap<Outcome, usize>>,
    wrong: Mutex<Vec<String>>,
}

fn id(tenant: usize) -> String {
    format!("s{tenant}")
}

fn setup() -> Setup {
    let ids: Vec<&'static str> = (0..TENANTS).map(|n| &*id(n).leak()).collect();
    let grant =
        |id: &&str| GrantRegistration::new(RefreshToken::new(format!("Atzr|canary-{id}")), id);
    let tenant = |id: &&str| {
        format!(
            "  - {{ id: {id}, app: erp, region: na, scopes: [inventory-and-order-tracking, direct-to-consumer-shipping] }}\n"
        )
    };
    Setup {
        sandbox: Options {
            grants: ids.iter().map(grant).collect(),
            expires_in: LIFE,
            ..Options::default()
        },
        tenants: format!("\n{}", ids.iter().map(tenant).collect::<String>()),
        default_tenant: ids[0].to_owned(),
        grants: ids,
        upstream: "  connect_timeout: 2s\n  response_timeout: 2s".to_owned(),
        sections: "lwa: { timeout: 2s }".to_owned(),
        ..Setup::default()
    }
}

impl World {
    async fn start() -> Self {
        let sidecar = ChildSidecar::with(setup(), &[]).await;
        let key = phantom_key(&open_store(sidecar.stage.folder.path()))
            .await
            .unwrap();
        let phantom = |n| {
            let tenant = TenantId::parse(&id(n)).unwrap();
            key.mint(PhantomKind::Access, Some(&tenant), 7)
        };
        Self {
            phantoms: (0..TENANTS).map(phantom).collect(),
            sidecar,
            issued: AtomicU64::new(0),
            reopened: AtomicUsize::new(0),
            happenings: Mutex::default(),
            outcomes: Mutex::default(),
            wrong: Mutex::default(),
        }
    }

    fn operator(&self) -> Admin {
        Admin::new(self.sidecar.admin, self.sidecar.stage.folder.path())
    }

    fn phantom(&self, tenant: usize) -> &str {
        &self.phantoms[tenant]
    }

    fn next(&self) -> u64 {
        self.issued.fetch_add(1, Ordering::Relaxed)
    }

    fn reopened(&self) {
        self.reopened.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps what must not be.
    fn found(&self, text: String) {
        self.wrong.lock().unwrap().push(text);
    }

    fn judge(&self, called: &Called) {
        let wrong = happening::wrong(&self.happenings.lock().unwrap(), called);
        wrong.into_iter().for_each(|text| self.found(text));
        let mut outcomes = self.outcomes.lock().unwrap();
        *outcomes.entry(called.outcome.clone()).or_default() += 1;
    }

    /// Keeps something that happens; its place.
    fn note(&self, happening: Happening) -> usize {
        let mut happenings = self.happenings.lock().unwrap();
        happenings.push(happening);
        happenings.len() - 1
    }

    fn amend(&self, place: usize, change: impl FnOnce(&mut Happening)) {
        change(&mut self.happenings.lock().unwrap()[place]);
    }

    /// How many tasks of each name run.
    async fn tasks(&self) -> BTreeMap<String, u64> {
        let status = self.operator().status().await;
        let tasks = status["tasks"].as_object().unwrap().iter();
        tasks
            .map(|(name, count)| (name.clone(), count.as_u64().unwrap()))
            .collect()
    }

    /// Everybody calls until then.
    async fn load(
        self: &Arc<Self>,
        lines: Vec<(Protocol, Line)>,
        draw: &mut Draw,
        rate: Rate,
        until: Instant,
    ) -> Vec<(Protocol, Line)> {
        let mut callers = JoinSet::new();
        for line in lines {
            let draw = Draw::seeded(draw.number());
            callers.spawn(caller::call(Arc::clone(self), line, draw, rate, until));
        }
        callers.join_all().await
    }
}

/// What of the tasks is more than it was before.
fn left(before: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let more = now.iter().filter_map(|(name, count)| {
        let more = count.saturating_sub(before.get(name).copied().unwrap_or(0));
        (more > 0).then(|| (name.clone(), more))
    });
    more.collect()
}

/// Waits until nothing is left of the load: Amazon has gone away, and with it every connection to it.
async fn settles(mut world: World, tasks: &BTreeMap<String, u64>, open: usize) -> ChildSidecar {
    world.sidecar.stage.sandbox = Sandbox::start(Options::default()).await.unwrap();
    let from = Instant::now();
    loop {
        let (now, more) = (
            descriptors(world.sidecar.id()),
            left(tasks, &world.tasks().await),
        );
        if now <= open && more.is_empty() {
            figure(&format!(
                "after the load: {now} descriptors ({open} before it), no task more of any name, after {} s",
                from.elapsed().as_secs()
            ));
            return world.sidecar;
        }
        assert!(
            from.elapsed() < SETTLES,
            "{now} descriptors are open and {open} were; tasks left: {more:?}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn soaks(length: Duration, pace: Pace, bounds: Option<&Bounds>) {
    let seed = size("SOAK_SEED", 1) as u64;
    figure(&format!("seed {seed}"));
    let mut draw = Draw::seeded(seed);
    let world = Arc::new(World::start().await);
    let child = world.sidecar.id();
    let (open, tasks) = (descriptors(child), world.tasks().await);
    let began = Instant::now();
    let (measuring, until) = (
        began + Duration::from_secs(3),
        began + Duration::from_secs(3) + length,
    );
    let watched = Arc::clone(&world);
    let mut arrivals = JoinSet::new();
    arrivals.spawn(async move { arrival::watch(&watched, until).await });
    let lines = caller::lines(&world).await;
    let (callers, from) = (lines.len(), Instant::now());
    let lines = world.load(lines, &mut draw, Rate::Full, measuring).await;
    let measured = world.issued.load(Ordering::Relaxed);
    let capacity = measured as f64 / from.elapsed().as_secs_f64();
    let every = Duration::from_secs_f64(callers as f64 / (capacity * SHARE));

    let mut aside = JoinSet::new();
    let (happens, number) = (Arc::clone(&world), draw.number());
    aside.spawn(async move {
        happening::carry_on(&happens, Draw::seeded(number), pace, until).await;
    });
    let mut gauges = JoinSet::new();
    gauges.spawn(Gauge::of(child).watch(until));
    let from = Instant::now();
    let lines = world
        .load(lines, &mut draw, Rate::Every(every), until)
        .await;
    let rate =
        (world.issued.load(Ordering::Relaxed) - measured) as f64 / from.elapsed().as_secs_f64();
    drop(lines);
    aside.join_all().await;
    let gauge = gauges.join_next().await.unwrap().unwrap();
    let mut arrived = arrivals.join_next().await.unwrap().unwrap();
    arrived.end(&world);
    report(&world, &arrived, [capacity, rate], from.elapsed());
    let (memory, handles) = (gauge.memory(), gauge.descriptors());
    figure(&format!(
        "memory {:.1} to {:.1} MiB, slope {:+.0} KiB/min; descriptors {} to {}, slope {:+.1}/min",
        memory.least / 1024.0,
        memory.most / 1024.0,
        memory.a_minute,
        handles.least,
        handles.most,
        handles.a_minute
    ));
    let wrong = world.wrong.lock().unwrap().clone();
    assert!(
        wrong.is_empty(),
        "{} wrong answers: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(20)]
    );
    if let Some(bounds) = bounds {
        assert!(memory.a_minute < bounds.kib, "{memory:?}");
        assert!(handles.a_minute < bounds.descriptors, "{handles:?}");
    }
    let world = Arc::into_inner(world).expect("nobody else holds the world any more");
    let sidecar = settles(world, &tasks, open).await;
    sidecar.terminate();
    let (_stage, status, stdout, stderr) = sidecar.ended().await;
    assert!(status.success(), "{stderr}");
    let last: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["message"], "drained", "{last}");
}

/// Says what was done and what came of it, and that none of it was done to nobody.
fn report(world: &World, arrived: &Arrivals, [capacity, rate]: [f64; 2], took: Duration) {
    figure(&format!(
        "{:.0} s at {rate:.0} calls/s, {:.0} % of the {capacity:.0} that were served a second; {} calls, of which {} reached Amazon, beside {} exchanges; {} connections opened again",
        took.as_secs_f64(),
        100.0 * rate / capacity,
        world.issued.load(Ordering::Relaxed),
        arrived.calls,
        arrived.exchanges,
        world.reopened.load(Ordering::Relaxed),
    ));
    let happenings = world.happenings.lock().unwrap();
    let happened = ALL.map(|kind| {
        let times = happenings.iter().filter(|one| one.kind == kind).count();
        assert!(times > 0, "{kind:?} never happened");
        format!("{kind:?} {times}")
    });
    figure(&happened.join(", "));
    let outcomes = world.outcomes.lock().unwrap();
    let mut counts: Vec<String> = outcomes
        .iter()
        .map(|(outcome, count)| format!("{outcome:?} {count}"))
        .collect();
    counts.sort();
    let wrong = world.wrong.lock().unwrap().len();
    figure(&format!("{wrong} wrong answers; {}", counts.join(", ")));
    let killed = Outcome::Refused("tenant_killed".to_owned());
    for seen in [
        Outcome::Served,
        killed,
        Outcome::Passed(503),
        Outcome::Passed(429),
    ] {
        assert!(outcomes.contains_key(&seen), "never {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "wants the machine for itself; .ci/nightly runs it"]
async fn seconds_of_faults_reloads_and_kills_under_load_bring_no_wrong_answer_and_leave_nothing() {
    soaks(Duration::from_secs(22), Pace::Brisk, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "half an hour; .ci/nightly runs it"]
async fn half_an_hour_of_faults_reloads_and_kills_under_load_brings_no_wrong_answer_and_leaves_nothing()
 {
    let length = Duration::from_secs(60 * size("SOAK_MINUTES", 30) as u64);
    soaks(length, Pace::Lasting, Some(&LONG)).await;
}
