//! SIGKILL at moments that are drawn: nothing is torn, and nothing is lost that was acknowledged.
//!
//! Each kind of write goes on in rounds: begin, kill at a drawn moment, look. Moments are drawn over the whole of a run, and more
//! often in the few milliseconds in which it writes. A failure names the round and the seed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use spapi_sidecar::store::{GrantStore, RecordKey};
use spapi_sidecar::tenant::{AppId, TenantId};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::audit::client;
use crate::support::admin::Admin;
use crate::support::child::{ChildSidecar, Process};
use crate::support::command::{begin, command, ended};
use crate::support::draw::{Draw, figure, size};
use crate::support::sidecar::{NA, Setup, Stage, open_store};

/// Kills of each kind in every run of the tests; `CRASH_KILLS` says how many in the long form.
const KILLS: usize = 20;

fn many() -> usize {
    size("CRASH_KILLS", 500)
}

/// The draws of a test, and what a failure has to say to have the same ones again.
fn drawn(kind: &str) -> (Draw, String) {
    let seed = size("CRASH_SEED", 1) as u64;
    (Draw::seeded(seed), format!("{kind}, CRASH_SEED={seed}"))
}

/// Waits for a drawn moment: any within the time that an undisturbed run takes, or, in two cases of three, just after a file has
/// begun to be written, one whose name holds one of these words.
fn wait_for_a_moment(draw: &mut Draw, whole: Duration, folder: &Path, words: &[&str]) {
    if draw.one_in(3) {
        std::thread::sleep(Duration::from_micros(
            draw.number() % u64::try_from(whole.as_micros().max(1)).unwrap(),
        ));
        return;
    }
    let word = words[draw.below(words.len())];
    let began = Instant::now();
    // where it is never seen, the run has ended, which is a moment too
    while began.elapsed() < whole * 3 && !names(folder).iter().any(|name| name.contains(word)) {
        std::thread::sleep(Duration::from_micros(50));
    }
    std::thread::sleep(Duration::from_micros(draw.number() % 3_000));
}

/// The names of what is in a folder; none where it is not there yet.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Removes a file that may not be there.
fn forget(path: &Path) {
    if path.symlink_metadata().is_ok() {
        std::fs::remove_file(path).unwrap();
    }
}

/// What was struck, and what came of it.
#[derive(Default)]
struct Tally {
    acknowledged: usize,
    written: usize,
    nothing: usize,
}

impl Tally {
    /// Takes what a secret was before, was to be, and is.
    fn take(&mut self, acknowledged: bool, [before, new, now]: [&str; 3], told: &str) {
        if acknowledged {
            assert_eq!(now, new, "{told}: acknowledged and lost");
            self.acknowledged += 1;
        } else if now == new {
            self.written += 1;
        } else {
            assert_eq!(now, before, "{told}");
            self.nothing += 1;
        }
    }

    fn figure(&self, kind: &str, kills: usize) {
        let Self {
            acknowledged,
            written,
            nothing,
        } = self;
        figure(&format!(
            "{kind}: {kills} kills; {acknowledged} were done before, {written} written though not acknowledged, {nothing} not begun; 0 torn, 0 lost"
        ));
    }
}

/// What the store holds of a secret.
async fn held(folder: &Path, key: &RecordKey, field: &str) -> String {
    let record = open_store(folder).read(key).await.unwrap().unwrap();
    record.fields[field].expose().to_owned()
}

/// Two commands write the store at the same time, and both are killed.
async fn store_writes(kills: usize) {
    let (mut draw, told) = drawn("store writes");
    let stage = Stage::set(&Setup::default()).await;
    let folder = stage.folder.path();
    let keys = [
        (
            RecordKey::Grant(TenantId::parse("acme").unwrap()),
            "refresh_token",
            &["tenant", "put-token", "acme"][..],
        ),
        (
            RecordKey::App(AppId::parse("erp").unwrap()),
            "client_secret",
            &["app", "put", "erp"],
        ),
    ];
    let mut before = [
        "Atzr|canary-acme".to_owned(),
        "amzn1.oa2-cs.v1.canary".to_owned(),
    ];
    let began = Instant::now();
    let (code, text) = command(folder, &["tenant", "put-token", "beta"], "Atzr|beta\n");
    assert_eq!(code, Some(0), "{text}");
    let usual = began.elapsed();
    let mut tally = Tally::default();
    let (mut struck, mut round) = (0, 0);
    while struck < kills {
        round += 1;
        let told = format!("{told}, round {round}");
        let new = [format!("Atzr|round-{round}"), format!("secret-{round}")];
        let inputs = [format!("{}\n", new[0]), format!("id-{round}\n{}\n", new[1])];
        let mut writers: Vec<_> = keys
            .iter()
            .zip(&inputs)
            .map(|((_, _, words), input)| begin(folder, words, input))
            .collect();
        for writer in &mut writers {
            // some are left to end, so that there is what later ones could lose
            if draw.one_in(4) {
                continue;
            }
            wait_for_a_moment(&mut draw, usual, folder, &["sealed.tmp"]);
            // it may have ended already: then it has acknowledged
            let _ended = writer.kill();
            struck += 1;
        }
        for (n, writer) in writers.into_iter().enumerate() {
            let (code, text) = ended(writer);
            assert!(matches!(code, None | Some(0)), "{told}: {code:?} {text}");
            let (key, field, _) = &keys[n];
            let now = held(folder, key, field).await;
            tally.take(code.is_some(), [&before[n], &new[n], &now], &told);
            before[n] = now;
        }
        let app = &keys[1].0;
        let pair = (held(folder, app, "client_id").await, before[1].clone());
        assert_eq!(
            pair.0.rsplit(['-', '.']).next(),
            pair.1.rsplit(['-', '.']).next(),
            "{told}: half of a record: {pair:?}"
        );
    }
    let beta = RecordKey::Grant(TenantId::parse("beta").unwrap());
    assert_eq!(
        held(folder, &beta, "refresh_token").await,
        "Atzr|beta",
        "{told}"
    );
    let (code, text) = command(folder, &["tenant", "put-token", "acme"], "Atzr|last\n");
    assert_eq!(code, Some(0), "{told}: {text}");
    assert!(
        names(folder).iter().all(|name| !name.ends_with(".tmp")),
        "{told}: {:?}",
        names(folder)
    );
    assert!(
        tally.acknowledged > 0 && tally.written + tally.nothing > 0,
        "{told}"
    );
    tally.figure("store writes", struck);
}

/// `run` makes its CA, its admin token and its audit, and is killed on the way.
async fn authorities(kills: usize) {
    let (mut draw, told) = drawn("CA creation");
    let stage = Stage::set(&Setup {
        ca: "mode: file, key_path: DIR/ca.key".to_owned(),
        ..Setup::default()
    })
    .await;
    let folder = stage.folder.path().to_owned();
    let mut stage = Some(stage);
    let made = [
        "ca.key",
        "ca.pem",
        "bundle.pem",
        "admin.token",
        "audit.jsonl",
        "audit.jsonl.head",
    ]
    .map(|name| folder.join(name));
    let began = Instant::now();
    let process = Process::start(&folder, &[]);
    process.listening().await;
    let usual = began.elapsed();
    drop(process);
    let mut tally = Tally::default();
    for round in 0..kills {
        let told = format!("{told}, round {round}");
        made.iter().for_each(|path| forget(path));
        let process = Process::start(&folder, &[]);
        wait_for_a_moment(
            &mut draw,
            usual,
            &folder,
            &["ca.key", "ca.pem", "bundle", "admin.token", "audit"],
        );
        process.kill();
        drop(process);
        let key = std::fs::read_to_string(&made[0]).ok();
        let root = std::fs::read_to_string(&made[1]).ok();
        match (&key, &root) {
            (Some(_), Some(_)) => tally.acknowledged += 1,
            (Some(_), None) => tally.written += 1,
            (None, root) => {
                assert!(
                    root.is_none(),
                    "{told}: a certificate is published whose key is not kept"
                );
                tally.nothing += 1;
            }
        }
        let token = std::fs::read_to_string(&made[3]).ok();
        // the next start mends what there is, without anybody's help, and programs that trust the root go on
        let again = ChildSidecar::again(stage.take().unwrap()).await;
        let now = std::fs::read_to_string(&made[1]).unwrap();
        assert!(
            root.is_none_or(|root| root == now),
            "{told}: the root that was published is another's"
        );
        let kept = std::fs::read_to_string(&made[0]).unwrap();
        assert!(
            key.is_none_or(|key| key == kept),
            "{told}: the key that was kept is another's"
        );
        assert!(
            kept.ends_with(&now),
            "{told}: the key file is not of the published root"
        );
        let bundle = std::fs::read_to_string(&made[2]).unwrap();
        assert!(bundle.contains(now.trim()), "{told}");
        assert!(
            token.is_none_or(|token| token == std::fs::read_to_string(&made[3]).unwrap()),
            "{told}"
        );
        // a program that trusts it gets its call through
        let _trusted = again.inside(NA).await;
        stage = Some(again.killed());
    }
    assert!(tally.acknowledged < kills, "{told}: nothing was struck");
    tally.figure("CA creation", kills);
}

/// What an operator was told of each tenant, and what was under way when the sidecar was killed.
#[derive(Default)]
struct Orders {
    told: HashMap<&'static str, String>,
    asked: Option<(&'static str, String)>,
    count: usize,
}

/// Changes states one after the other, until the sidecar is gone.
async fn order(admin: Admin, orders: Arc<Mutex<Orders>>, seed: u64) {
    let mut draw = Draw::seeded(seed);
    let client = reqwest::Client::new();
    loop {
        let tenant = ["acme", "beta"][draw.below(2)];
        let (action, state) = [
            ("kill", "killed"),
            ("quarantine", "quarantined"),
            ("resume", "active"),
        ][draw.below(3)];
        orders.lock().unwrap().asked = Some((tenant, state.to_owned()));
        let url = admin.url(&format!("/api/v1/tenants/{tenant}/{action}"));
        let asked = client
            .post(url)
            .bearer_auth(admin.token())
            .body(r#"{"reason":"INC-1","by":"ada"}"#);
        let Ok(answer) = asked.send().await else {
            return;
        };
        let status = answer.status();
        let Ok(body) = answer.json::<Value>().await else {
            return;
        };
        let mut orders = orders.lock().unwrap();
        // what is killed is not set aside: 409
        assert!(status == 200 || status == 409, "{action} {tenant}: {body}");
        if status == 200 {
            orders.told.insert(tenant, state.to_owned());
            orders.count += 1;
        }
        orders.asked = None;
    }
}

/// States are changed and restricted calls are audited, and the sidecar is killed.
async fn states(kills: usize) {
    let (mut draw, told) = drawn("states and audit");
    let address = format!("https://{NA}/orders/v0/orders/123-0000001-0000001/address");
    let mut sidecar = ChildSidecar::with(Setup::default(), &[]).await;
    let folder = sidecar.stage.folder.path().to_owned();
    let audit = folder.join("audit.jsonl").display().to_string();
    let (mut known, mut acknowledged, mut landed) = (HashMap::new(), 0, 0);
    for round in 0..kills {
        let told = format!("{told}, round {round}");
        let orders = Arc::new(Mutex::new(Orders {
            told: known.clone(),
            ..Orders::default()
        }));
        let mut busy = JoinSet::new();
        busy.spawn(order(
            Admin::new(sidecar.admin, &folder),
            Arc::clone(&orders),
            draw.number(),
        ));
        for _ in 0..2 {
            let (client, address) = (client(&sidecar), address.clone());
            busy.spawn(async move { while client.get(&address).send().await.is_ok() {} });
        }
        tokio::time::sleep(Duration::from_micros(draw.number() % 200_000)).await;
        let stage = sidecar.killed();
        while let Some(ended) = busy.join_next().await {
            ended.unwrap_or_else(|error| panic!("{told}: {error}"));
        }
        sidecar = ChildSidecar::again(stage).await;
        let (code, text) = command_on(&["audit", "verify", &audit]);
        assert_eq!(code, Some(0), "{told}: {text}");
        let status = Admin::new(sidecar.admin, &folder).status().await;
        let orders = orders.lock().unwrap();
        acknowledged += orders.count;
        for tenant in ["acme", "beta"] {
            let now = status["fleet"]["states"][tenant]["state"]
                .as_str()
                .unwrap_or("active")
                .to_owned();
            let was = orders.told.get(tenant).map_or("active", String::as_str);
            let asked = orders
                .asked
                .as_ref()
                .filter(|(asked, _)| *asked == tenant)
                .map(|(_, state)| &**state);
            assert!(
                now == was || Some(&*now) == asked,
                "{told}: {tenant} is {now}; acknowledged was {was}, asked for {asked:?}"
            );
            landed += usize::from(now != was);
            known.insert(tenant, now);
        }
    }
    assert!(acknowledged > 0, "{told}");
    let left = sidecar
        .stage
        .sandbox
        .received()
        .into_iter()
        .filter(|one| one.target.ends_with("/address"))
        .count();
    let text = std::fs::read_to_string(&audit).unwrap();
    let kinds = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].clone());
    let lines = kinds.filter(|kind| *kind == json!("request")).count();
    assert!(
        left > 0 && lines >= left,
        "{told}: {left} restricted calls left, {lines} have their line"
    );
    figure(&format!(
        "states and audit: {kills} kills; {acknowledged} changes acknowledged and 0 lost, {landed} kept though not acknowledged; {left} restricted calls left, {lines} lines of them, the chain held after every kill"
    ));
}

/// A command that reads no configuration.
fn command_on(arguments: &[&str]) -> (Option<i32>, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_spapi-sidecar"))
        .args(arguments)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// `init` is killed: a directory from which the sidecar runs, or a refusal that says what stands in the way.
fn beginnings(kills: usize) {
    let (mut draw, told) = drawn("init");
    let parent = tempfile::tempdir().unwrap();
    let folder = |n: usize| -> PathBuf { parent.path().join(n.to_string()) };
    let start = |folder: &Path| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_spapi-sidecar"));
        let quiet = command
            .arg("init")
            .arg(folder)
            .stdout(std::process::Stdio::null());
        quiet.spawn().unwrap()
    };
    let began = Instant::now();
    assert!(start(&folder(kills)).wait().unwrap().success());
    let usual = began.elapsed();
    let mut tally = Tally::default();
    for round in 0..kills {
        let told = format!("{told}, round {round}");
        let folder = folder(round);
        let mut child = start(&folder);
        wait_for_a_moment(&mut draw, usual, &folder, &["store.key", "proxy.yaml"]);
        let _ended = child.kill();
        let done = child.wait().unwrap().success();
        let there = |name: &str| folder.join(name).exists();
        let (key, config) = (there("store.key"), there("proxy.yaml"));
        assert!(!done || config, "{told}");
        if key {
            let key = std::fs::read_to_string(folder.join("store.key")).unwrap();
            assert_eq!(key.len(), 65, "{told}: half of a key");
        }
        if config {
            assert!(key, "{told}: a configuration without its key");
            let file = folder.join("proxy.yaml").display().to_string();
            let (code, text) = command_on(&["check", "--config", &file]);
            assert_eq!(code, Some(0), "{told}: {text}");
        } else {
            let (code, text) = command_on(&["init", folder.to_str().unwrap()]);
            if key {
                assert_eq!(code, Some(2), "{told}: {text}");
                assert!(
                    text.contains("store.key: exists already; name another directory"),
                    "{told}: {text}"
                );
            } else {
                assert_eq!(code, Some(0), "{told}: {text}");
            }
        }
        match (done, config) {
            (true, _) => tally.acknowledged += 1,
            (false, true) => tally.written += 1,
            (false, false) => tally.nothing += 1,
        }
    }
    tally.figure("init", kills);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_writers_are_killed_holds_every_secret_that_was_acknowledged() {
    store_writes(KILLS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_whose_maker_is_killed_is_whole_or_missing_and_the_next_start_mends_the_rest() {
    authorities(KILLS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_was_acknowledged_and_the_chain_of_the_audit_outlive_every_kill() {
    states(KILLS).await;
}

#[test]
fn an_init_that_is_killed_leaves_no_half_of_a_file() {
    beginnings(KILLS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; .ci/nightly runs it"]
async fn five_hundred_kills_of_each_kind_tear_and_lose_nothing() {
    store_writes(many()).await;
    beginnings(many());
    authorities(many()).await;
    states(many()).await;
}
