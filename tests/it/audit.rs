//! Who read what for whom: a line on disk before the call leaves, whatever becomes of the process and the disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::child::ChildSidecar;
use crate::support::peer::Origin;
use crate::support::sidecar::{NA, Setup, TestSidecar, eventually, refusal};

const ADDRESS: &str = "/orders/v0/orders/902-3159896-1390916/address";
const PLAIN: &str = "/sellers/v1/marketplaceParticipations";

fn url(target: &str) -> String {
    format!("https://{NA}{target}")
}

fn file(folder: &Path) -> PathBuf {
    folder.join("audit.jsonl")
}

/// The audit's lines so far.
fn lines(folder: &Path) -> Vec<Value> {
    std::fs::read_to_string(file(folder))
        .unwrap_or_default()
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn of_kind<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

/// The lines of a kind, once there are this many.
async fn lines_of(folder: &Path, kind: &str, count: usize) -> Vec<Value> {
    let found = || {
        let lines = lines(folder);
        of_kind(&lines, kind)
            .into_iter()
            .cloned()
            .collect::<Vec<_>>()
    };
    eventually(&format!("{count} lines of {kind}"), || {
        found().len() >= count
    })
    .await;
    found()
}

fn requests(what: &'static str) -> Setup {
    Setup {
        audit_requests: what,
        ..Setup::default()
    }
}

/// A client of a sidecar that is a process of its own.
pub(crate) fn client(sidecar: &ChildSidecar) -> reqwest::Client {
    let proxy = reqwest::Proxy::all(format!("http://{}", sidecar.proxy())).unwrap();
    reqwest::Client::builder()
        .tls_backend_preconfigured(sidecar.tls(&["http/1.1"]))
        .proxy(proxy)
        .build()
        .unwrap()
}

/// `audit verify` on a folder's audit: its exit code and what it printed.
fn verify(folder: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_spapi-sidecar"))
        .args(["audit", "verify"])
        .arg(file(folder))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_line_of_a_restricted_call_is_in_the_file_when_amazon_gets_the_call() {
    let place = Arc::new(Mutex::new(PathBuf::new()));
    let (seen, from) = (Arc::new(Mutex::new(Vec::new())), Arc::clone(&place));
    let keep = Arc::clone(&seen);
    let origin = Origin::raw(NA, move |_head| {
        let lines = lines(&from.lock().unwrap());
        keep.lock().unwrap().push(lines);
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_vec()
    })
    .await;
    let routes = "\n  - { allow: \"GET /orders/v0/orders/{orderId}/address\", scope: inventory-and-order-tracking }\n";
    let sidecar = TestSidecar::with(Setup {
        routes: routes.to_owned(),
        connect_to: vec![origin.stands_for(NA)],
        trusted: origin.pem.clone(),
        ..Setup::default()
    })
    .await;
    *place.lock().unwrap() = sidecar.folder.path().to_owned();
    let answer = sidecar.client().get(url(ADDRESS)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let id = answer.headers()["x-spapi-sidecar-request-id"]
        .to_str()
        .unwrap();
    let seen = seen.lock().unwrap();
    let told = of_kind(&seen[0], "request");
    assert_eq!(told.len(), 1);
    for (member, want) in [
        ("request_id", json!(id)),
        ("tenant", json!("acme")),
        ("app", json!("erp")),
        ("client", json!("127.0.0.1")),
        ("login", json!(false)),
        ("operation", json!("getOrderAddress")),
        ("template", json!("/orders/v0/orders/{orderId}/address")),
        ("rdt", json!(false)),
    ] {
        assert_eq!(told[0][member], want, "{member}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restricted_all_and_none_say_which_calls_have_a_line_and_each_has_one_of_its_end() {
    for (what, want) in [
        ("restricted", vec![ADDRESS]),
        ("all", vec![PLAIN, ADDRESS]),
        ("none", vec![]),
    ] {
        let sidecar = TestSidecar::with(requests(what)).await;
        let mut asked = Vec::new();
        for target in [PLAIN, ADDRESS] {
            let answer = sidecar.client().get(url(target)).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{what} {target}");
            let id = answer.headers()["x-spapi-sidecar-request-id"]
                .to_str()
                .unwrap()
                .to_owned();
            answer.bytes().await.unwrap();
            if want.contains(&target) {
                asked.push(id);
            }
        }
        let folder = sidecar.folder.path();
        let ended = lines_of(folder, "outcome", want.len()).await;
        let all = lines(folder);
        for told in [of_kind(&all, "request"), ended.iter().collect()] {
            let ids: Vec<&str> = told
                .iter()
                .map(|line| line["request_id"].as_str().unwrap())
                .collect();
            assert_eq!(ids, asked, "{what}");
        }
        for line in ended {
            assert_eq!(
                (&line["outcome"], &line["status"]),
                (&json!("forwarded"), &json!(200))
            );
        }
        assert_eq!(verify(folder).0, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_elements_are_told_and_no_data_no_parameter_no_value_and_no_token() {
    let sidecar = TestSidecar::start().await;
    let target = "/orders/v0/orders/canary-order?MarketplaceIds=ATVPDKIKX0DER&x=canary-query";
    let answer = sidecar.client().get(url(target)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap();
    let refused = "/orders/v0/orders/canary-order/regulatedInfo?x=canary-query";
    let answer = sidecar.client().get(url(refused)).send().await.unwrap();
    assert_eq!(refusal(answer).await.1, "route_denied");
    let folder = sidecar.folder.path().to_owned();
    lines_of(&folder, "outcome", 1).await;
    let refusals = lines_of(&folder, "refusal", 1).await;
    assert_eq!(refusals[0]["reason"], "route_denied");
    assert_eq!(
        refusals[0]["template"],
        "/orders/v0/orders/{…}/regulatedInfo"
    );
    let requests = lines_of(&folder, "request", 1).await;
    assert_eq!(
        requests[0]["data_elements"],
        json!(["buyerInfo", "shippingAddress"])
    );
    let text = std::fs::read_to_string(file(&folder)).unwrap();
    for secret in ["canary", "Atza", "Atzr", "Atz.sprdt", "sp-api-body"] {
        assert!(!text.contains(secret), "{secret} is in the audit");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_exchanges_reloads_and_ends_have_lines_and_the_chain_goes_on_after_them() {
    let sidecar = ChildSidecar::with(Setup::default(), &[]).await;
    let folder = sidecar.stage.folder.path().to_owned();
    sidecar.hang_up();
    lines_of(&folder, "reload", 1).await;
    sidecar.terminate();
    let (stage, status, stdout, stderr) = sidecar.ended().await;
    assert!(status.success(), "{stdout}{stderr}");
    let told = lines(&folder);
    let kinds: Vec<&str> = told
        .iter()
        .map(|line| line["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.last(), Some(&"stopped"), "{kinds:?}");
    assert!(
        kinds.contains(&"start") && kinds.contains(&"stopping"),
        "{kinds:?}"
    );
    let exchanged = of_kind(&told, "exchange");
    assert!(
        exchanged
            .iter()
            .any(|line| line["tenant"] == "acme" && line["result"] == "ok")
    );
    let (code, text) = verify(&folder);
    assert_eq!(code, Some(0), "{text}");
    drop(stage);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_file_restricted_calls_are_refused_others_go_on_and_it_recovers_by_itself() {
    let stage = tempfile::tempdir().unwrap();
    let blocked = stage.path().join("disk");
    std::fs::write(&blocked, "no folder").unwrap();
    let sidecar = TestSidecar::with(Setup {
        audit_path: Some(file(&blocked)),
        ..Setup::default()
    })
    .await;
    let client = sidecar.client();
    assert_eq!(client.get(url(PLAIN)).send().await.unwrap().status(), 200);
    let answer = client.get(url(ADDRESS)).send().await.unwrap();
    assert_eq!(answer.headers()["retry-after"], "5");
    let (status, code, details) = refusal(answer).await;
    assert_eq!((status, &*code), (503, "audit_unavailable"), "{details}");
    assert_eq!(sidecar.received().len(), 1);
    std::fs::remove_file(&blocked).unwrap();
    std::fs::create_dir(&blocked).unwrap();
    eventually("the audit is written again", || {
        sidecar.app.shared().audit.state().unavailable.is_none()
    })
    .await;
    assert_eq!(client.get(url(ADDRESS)).send().await.unwrap().status(), 200);
    let told = lines(&blocked);
    let resumed = of_kind(&told, "resumed");
    assert_eq!(
        (resumed.len(), &resumed[0]["calls_refused"]),
        (1, &json!(1))
    );
    assert!(
        !of_kind(&told, "start").is_empty(),
        "what happened meanwhile is told"
    );
    assert_eq!(verify(&blocked).0, Some(0));
}

/// A file system of this size, where this user may mount one.
pub(crate) struct SmallDisk(pub(crate) PathBuf);

impl SmallDisk {
    /// `None` where this user may not.
    pub(crate) fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k,mode=700", "small"])
            .arg(at)
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then(|| Self(at.to_owned()))
    }

    /// Changes an option of it, as `ro`.
    pub(crate) fn remount(&self, option: &str) {
        let options = format!("remount,{option}");
        let status = Command::new("mount")
            .args(["-o", &options])
            .arg(&self.0)
            .status();
        assert!(status.unwrap().success(), "{option}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // lazily: the sidecar may hold its files a moment longer
        let _status = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_and_a_full_disk_refuse_restricted_calls_alone_and_leave_whole_lines() {
    let stage = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&stage.path().join("disk")) else {
        return eprintln!("*** SKIPPED: this user may not mount a file system");
    };
    disk.remount("ro");
    let sidecar = TestSidecar::with(Setup {
        audit_path: Some(file(&disk.0)),
        ..Setup::default()
    })
    .await;
    let client = sidecar.client();
    let answered = async |target| client.get(url(target)).send().await.unwrap();
    let is_back = async |what| {
        let audit = &sidecar.app.shared().audit;
        eventually(what, || audit.state().unavailable.is_none()).await;
    };
    let (status, code, details) = refusal(answered(ADDRESS).await).await;
    assert_eq!((status, &*code), (503, "audit_unavailable"));
    assert!(details.contains("read_only"), "{details}");
    assert_eq!(answered(PLAIN).await.status(), 200);
    disk.remount("rw");
    is_back("the disk can be written").await;
    assert_eq!(answered(ADDRESS).await.status(), 200);
    let ballast = disk.0.join("ballast");
    // as much as there is room for
    let _full = std::fs::write(&ballast, vec![0; 1 << 20]);
    let (status, code, details) = loop {
        let answer = answered(ADDRESS).await;
        if answer.status() != 200 {
            break refusal(answer).await;
        }
    };
    assert_eq!((status, &*code), (503, "audit_unavailable"));
    assert!(details.contains("disk_full"), "{details}");
    assert_eq!(answered(PLAIN).await.status(), 200);
    std::fs::remove_file(&ballast).unwrap();
    is_back("there is room again").await;
    assert_eq!(answered(ADDRESS).await.status(), 200);
    let (code, text) = verify(&disk.0);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(of_kind(&lines(&disk.0), "resumed").len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_that_left_lacks_its_line_after_any_number_of_kills() {
    let mut sidecar = ChildSidecar::with(Setup::default(), &[]).await;
    let folder = sidecar.stage.folder.path().to_owned();
    for round in 0_u64..4 {
        let mut callers = JoinSet::new();
        for _ in 0..4 {
            let client = client(&sidecar);
            // until the sidecar is gone
            callers.spawn(async move { while client.get(url(ADDRESS)).send().await.is_ok() {} });
        }
        // another moment in each round
        let some = arrived(&sidecar) + 1 + usize::try_from(round * 7 % 5).unwrap();
        eventually("calls arrive", || arrived(&sidecar) >= some).await;
        sidecar = sidecar.killed_and_started_again().await;
        drop(callers);
        let (code, text) = verify(&folder);
        assert_eq!(code, Some(0), "round {round}: {text}");
        let left = arrived(&sidecar);
        let told = of_kind(&lines(&folder), "request").len();
        assert!(told >= left, "round {round}: {left} left, {told} told");
    }
}

/// How many of the restricted calls have reached Amazon.
fn arrived(sidecar: &ChildSidecar) -> usize {
    let received = sidecar.stage.sandbox.received();
    let ours = |one: &&spapi_sidecar::sandbox::Received| one.target == ADDRESS;
    received.iter().filter(ours).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_torn_by_a_kill_is_reported_and_repaired_at_the_next_start() {
    let sidecar = ChildSidecar::with(Setup::default(), &[]).await;
    let folder = sidecar.stage.folder.path().to_owned();
    sidecar.terminate();
    let (stage, ..) = sidecar.ended().await;
    let whole = std::fs::read(file(&folder)).unwrap();
    let torn = [&*whole, br#"{"seq":99,"ts":"2026"#].concat();
    std::fs::write(file(&folder), torn).unwrap();
    let (code, text) = verify(&folder);
    assert_eq!(code, Some(1));
    let number = whole.split(|byte| *byte == b'\n').count();
    assert!(text.contains(&format!("audit.jsonl:{number}: ")), "{text}");
    let sidecar = ChildSidecar::again(stage).await;
    assert!(
        sidecar
            .stdout()
            .contains("the audit was not as it was left")
    );
    lines_of(&folder, "repaired", 1).await;
    assert_eq!(verify(&folder).0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_sidecar_does_not_write_the_first_ones_file_and_takes_over_when_that_ends() {
    let first = TestSidecar::start().await;
    let path = file(first.folder.path());
    let second = TestSidecar::with(Setup {
        audit_path: Some(path),
        ..Setup::default()
    })
    .await;
    let client = second.client();
    let answer = client.get(url(ADDRESS)).send().await.unwrap();
    let (_, code, details) = refusal(answer).await;
    assert_eq!(code, "audit_unavailable");
    assert!(details.contains("locked"), "{details}");
    let folder = first.ended().await;
    eventually("the second takes over", || {
        second.app.shared().audit.state().unavailable.is_none()
    })
    .await;
    assert_eq!(client.get(url(ADDRESS)).send().await.unwrap().status(), 200);
    assert_eq!(verify(folder.path()).0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_may_be_a_restricted_report_has_a_line_too() {
    let sidecar = TestSidecar::start().await;
    let answer: Value = sidecar
        .client()
        .get(url("/reports/2021-06-30/documents/amzn1.spdoc.1"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let document = answer["url"].as_str().unwrap().to_owned();
    let answer = sidecar.client().get(&document).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let told = lines(sidecar.folder.path());
    let told = of_kind(&told, "request");
    assert_eq!(told.last().unwrap()["operation"], "document");
    let text = std::fs::read_to_string(file(sidecar.folder.path())).unwrap();
    assert!(!text.contains("X-Amz") && !text.contains("/doc/"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auditor_gets_the_lines_of_one_tenant_and_time_as_table_json_and_csv() {
    let sidecar = TestSidecar::start().await;
    let answer = sidecar.client().get(url(ADDRESS)).send().await.unwrap();
    answer.bytes().await.unwrap();
    lines_of(sidecar.folder.path(), "outcome", 1).await;
    lines_of(sidecar.folder.path(), "exchange", 2).await;
    let export = async |arguments: &[&str]| {
        let all = [&["audit", "export"], arguments].concat();
        sidecar.command(&all).await
    };
    let today = &lines(sidecar.folder.path())[0]["ts"].as_str().unwrap()[..10].to_owned();
    let json = export(&["--tenant", "acme", "--from", today, "--json"]).await;
    let told: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(told.iter().all(|line| line["tenant"] == "acme"), "{json}");
    assert_eq!(of_kind(&told, "request").len(), 1);
    assert!(
        !export(&["--tenant", "beta", "--json"])
            .await
            .contains("acme")
    );
    assert_eq!(
        export(&["--tenant", "acme", "--to", "2026-01-01", "--json"]).await,
        ""
    );
    let csv = export(&["--tenant", "acme", "--csv"]).await;
    let head = csv.lines().next().unwrap();
    assert!(head.starts_with("seq,ts,kind,tenant,request_id,"), "{head}");
    assert!(csv.contains(",request,acme,"), "{csv}");
    assert!(
        export(&["--tenant", "acme"])
            .await
            .contains("operation=getOrderAddress")
    );
    assert!(sidecar.command(&["audit", "verify"]).await.contains("good"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_party_checks_a_file_with_the_script_of_the_documentation() {
    let sidecar = TestSidecar::start().await;
    let answer = sidecar.client().get(url(ADDRESS)).send().await.unwrap();
    answer.bytes().await.unwrap();
    let kept = sidecar.ended().await;
    let folder = kept.path().to_owned();
    let source = include_str!("../../src/audit/chain.rs");
    let script: String = source
        .lines()
        .skip_while(|line| *line != "//! ```python")
        .skip(1)
        .take_while(|line| *line != "//! ```")
        .map(|line| format!("{}\n", line.strip_prefix("//! ").unwrap()))
        .collect();
    std::fs::write(folder.join("check.py"), script).unwrap();
    let check = |path: &Path| {
        Command::new("python3")
            .arg(folder.join("check.py"))
            .arg(path)
            .output()
            .unwrap()
    };
    let good = check(&file(&folder));
    assert!(good.status.success(), "{good:?}");
    let last = lines(&folder).last().unwrap()["hash"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        String::from_utf8_lossy(&good.stdout).contains(&last),
        "{good:?}"
    );
    let text = std::fs::read_to_string(file(&folder)).unwrap();
    std::fs::write(folder.join("edited"), text.replacen("acme", "beta", 1)).unwrap();
    assert!(!check(&folder.join("edited")).status.success());
}
