use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Mutex;

use super::*;
use crate::alert::{Alert, AlertKind, Turn};

/// Answers with what it is told to, in order, and keeps what it got.
#[derive(Debug, Default)]
struct Stub {
    answers: Mutex<Vec<Result<u16, String>>>,
    got: Mutex<Vec<(Vec<u8>, String)>>,
}

impl Carrier for Stub {
    fn post(&self, body: Vec<u8>, signature: String) -> Posting<'_> {
        self.got.lock().unwrap().push((body, signature));
        let mut answers = self.answers.lock().unwrap();
        let answer = match answers.len() {
            0 => Ok(200),
            1 => answers[0].clone(),
            _ => answers.remove(0),
        };
        Box::pin(std::future::ready(answer))
    }
}

fn notice(subject: &str) -> Notice {
    Notice {
        alert: Alert {
            kind: AlertKind::AuthErrors,
            subject: subject.into(),
            about: "".into(),
            since: UNIX_EPOCH + Duration::from_secs(1_790_000_000),
            detail: "12 answers".to_owned(),
        },
        turn: Turn::Firing,
    }
}

fn secret_file(folder: &Path, text: &str, mode: u32) -> PathBuf {
    use std::io::Write as _;
    let path = folder.join(format!("secret-{mode:o}-{}", text.len()));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.set_permissions(std::fs::Permissions::from_mode(mode))
        .unwrap();
    path
}

type Dead = Arc<Mutex<Vec<(String, u32, String)>>>;

fn courier(stub: &Arc<Stub>, secret_file: PathBuf) -> (Courier, Dead) {
    let dead = Dead::default();
    let kept = Arc::clone(&dead);
    let courier = Courier {
        carrier: Arc::clone(stub) as Arc<dyn Carrier>,
        secret_file,
        patience: Patience::default(),
        dead_letters: Box::new(move |notice, tries, error| {
            let letter = (notice.alert.subject.to_string(), tries, error.to_owned());
            kept.lock().unwrap().push(letter);
        }),
    };
    (courier, dead)
}

fn letters(subjects: &[&str]) -> mpsc::Receiver<Letter> {
    let (sender, receiver) = mpsc::channel(10);
    for subject in subjects {
        let letter = Letter {
            notice: notice(subject),
            written: Instant::now(),
        };
        sender.try_send(letter).unwrap();
    }
    receiver
}

#[test]
fn a_notice_is_json_with_the_members_of_the_contract() {
    let json: serde_json::Value = serde_json::from_slice(&body(&notice("acme"))).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "alert": "auth_errors", "subject": "acme", "state": "firing", "since": "2026-09-21T14:13:20Z",
            "detail": "12 answers", "runbook": "deploy/runbooks/auth_errors.md",
        })
    );
}

#[test]
fn the_signature_is_the_hmac_of_time_dot_body() {
    let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    // python: hmac.new(b"Jefe", b"1700000000.{}", "sha256").hexdigest()
    let want = "t=1700000000,v1=d3793e2b4103edfbd98cc19591832f5fad701d413db9fcae0ae7dab8184ed207";
    assert_eq!(signature(b"Jefe", at, b"{}"), want);
    assert_ne!(signature(b"Jefe", at + Duration::from_secs(1), b"{}"), want);
}

#[test]
fn a_secret_that_is_missing_empty_or_everybodys_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let good = secret_file(folder.path(), "s3cret\r\n", 0o640);
    assert_eq!(secret(&good).unwrap().as_slice(), b"s3cret");
    for (path, want) in [
        (folder.path().join("none"), "cannot be read"),
        (secret_file(folder.path(), "\n", 0o600), "is empty"),
        (secret_file(folder.path(), "s3cret", 0o644), "chmod o="),
    ] {
        let error = secret(&path).unwrap_err().to_string();
        assert!(error.contains(want) && !error.contains("s3cret"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_notice_is_tried_until_it_is_taken_and_the_next_one_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Arc::new(Stub::default());
    *stub.answers.lock().unwrap() = vec![Err("refused".to_owned()), Ok(503), Ok(204)];
    let (courier, dead) = courier(&stub, secret_file(folder.path(), "key", 0o600));
    courier
        .run(letters(&["acme", "beta"]), std::future::pending())
        .await;
    let got = stub.got.lock().unwrap();
    let subjects: Vec<String> = got
        .iter()
        .map(|(body, signature)| {
            let unix = signature.split(['=', ',']).nth(1).unwrap();
            let at = UNIX_EPOCH + Duration::from_secs(unix.parse().unwrap());
            assert_eq!(super::signature(b"key", at, body), *signature);
            let json: serde_json::Value = serde_json::from_slice(body).unwrap();
            json["subject"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(subjects, ["acme", "acme", "acme", "beta"]);
    assert!(dead.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_never_taken_becomes_a_dead_letter_and_holds_nothing_up_after_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Arc::new(Stub::default());
    *stub.answers.lock().unwrap() = vec![Ok(500)];
    let (courier, dead) = courier(&stub, secret_file(folder.path(), "key", 0o600));
    let from = Instant::now();
    courier
        .run(letters(&["acme", "beta"]), std::future::pending())
        .await;
    assert!(
        from.elapsed() < Duration::from_mins(17),
        "{:?}",
        from.elapsed()
    );
    let dead = dead.lock().unwrap();
    let told: Vec<(&str, &str)> = dead.iter().map(|(s, _, e)| (&**s, &**e)).collect();
    let error = "the webhook answered 500";
    // by then the second was as old as the first, and was not tried for another quarter of an hour
    assert_eq!(told, [("acme", error), ("beta", error)]);
    assert!(dead[0].1 > dead[1].1, "{dead:?}");
}

#[tokio::test(start_paused = true)]
async fn at_the_end_what_waits_is_tried_once_more_while_somebody_takes_it() {
    for (answers, want) in [
        (vec![Ok(200)], vec![]),
        (
            vec![Ok(500)],
            vec![
                ("acme", "the webhook answered 500"),
                ("beta", "the sidecar has ended"),
            ],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let stub = Arc::new(Stub::default());
        *stub.answers.lock().unwrap() = answers;
        let (courier, dead) = courier(&stub, secret_file(folder.path(), "key", 0o600));
        let stop = tokio::time::sleep(Duration::from_millis(100));
        courier.run(letters(&["acme", "beta"]), stop).await;
        let dead = dead.lock().unwrap();
        let told: Vec<(&str, &str)> = dead.iter().map(|(s, _, e)| (&**s, &**e)).collect();
        assert_eq!(told, want);
    }
}
