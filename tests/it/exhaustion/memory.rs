//! More bodies at once than there is memory for.
//!
//! The limit is the one that is deployed. What counts is the peak of resident memory, which is what a container's limit kills for;
//! a limit on address space (`ulimit -v`) would count stacks and arenas that are never touched. Where a control group may be made,
//! the sidecar runs in one with that limit as well, and has to outlive it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::child::ChildSidecar;
use crate::support::draw::{figure, size};
use crate::support::kernel::{kib, raise_descriptors};
use crate::support::peer::{Face, Origin, Served, read_head};
use crate::support::sidecar::{NA, Setup};
use crate::support::wire::H2;

/// Of a body: the largest that is kept for a replay.
const BODY: usize = 1 << 20;

/// Streams that one connection carries.
const STREAMS: usize = 256;

/// The memory limit of the container that is deployed, in KiB.
fn deployed() -> u64 {
    let text = include_str!("../../../deploy/kubernetes/component/sidecar.yaml");
    let (_, rest) = text.split_once("limits: { memory: ").unwrap();
    let (mebibytes, _) = rest.split_once("Mi }").unwrap();
    mebibytes.parse::<u64>().unwrap() << 10
}

/// A control group with a memory limit; removed when dropped, by when nobody may be in it.
struct Cage(PathBuf);

impl Cage {
    /// `None` where this user may make none.
    fn of(limit: u64) -> Option<Self> {
        let name = format!("spapi-sidecar-test-{}", std::process::id());
        let kinds = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        kinds.into_iter().find_map(|(root, file)| {
            let folder = PathBuf::from(root).join(&name);
            std::fs::create_dir(&folder).ok()?;
            let cage = Self(folder);
            // the kernel has put it there, or this is a folder like any other
            let file = cage.0.join(file);
            let is_one = file.exists();
            (is_one && std::fs::write(file, (limit << 10).to_string()).is_ok()).then_some(cage)
        })
    }

    /// A command that goes in and becomes the one that is appended.
    fn wrapper(&self) -> String {
        format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.0.display())
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // the kernel takes a moment to see that it is empty
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Amazon, slow to answer.
struct Slow {
    arrived: AtomicUsize,
    go: watch::Sender<bool>,
}

impl Slow {
    /// Reads every body to its end and answers when it is told to; a small one is refused at first, as a token would be.
    async fn serve(&self, mut stream: Served) {
        let mut go = self.go.subscribe();
        while let Ok(head) = read_head(&mut stream).await {
            let head = head.to_ascii_lowercase();
            let (_, rest) = head.split_once("content-length: ").unwrap();
            let length: u64 = rest.lines().next().unwrap().parse().unwrap();
            let mut body = (&mut stream).take(length);
            let read = tokio::io::copy(&mut body, &mut tokio::io::sink()).await;
            if !matches!(read, Ok(read) if read == length) {
                return;
            }
            let number = self.arrived.fetch_add(1, Ordering::SeqCst);
            drop(go.wait_for(|go| *go).await.unwrap());
            let refused = length < BODY as u64 && number.is_multiple_of(2);
            let answer = if refused {
                "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"
            } else {
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// Status and code of a call with a body.
async fn post(mut client: H2, body: Bytes) -> hyper::Result<(u16, String)> {
    let request = Request::post(format!("https://{NA}/_sandbox/sink"))
        .header("content-length", body.len())
        .body(Full::new(body))
        .unwrap();
    client.ready().await?;
    let answer = client.send_request(request).await?;
    let status = answer.status().as_u16();
    let code = answer.headers().get("x-spapi-sidecar-error");
    let code = code.map_or_else(String::new, |code| code.to_str().unwrap().to_owned());
    let _body = answer.into_body().collect().await?;
    Ok((status, code))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_bodies_at_once_than_memory_are_shed_or_pass_unkept_and_the_limit_is_not_reached() {
    let (limit, most) = (deployed(), size("REQUESTS", 512));
    raise_descriptors(most as u64 * 3 + 1_000);
    let amazon = Arc::new(Slow {
        arrived: AtomicUsize::new(0),
        go: watch::Sender::new(false),
    });
    let slow = Arc::clone(&amazon);
    let origin = Origin::start(NA, Face::speaking(&["http/1.1"]), move |_number, stream| {
        let slow = Arc::clone(&slow);
        async move { slow.serve(stream).await }
    })
    .await;
    let setup = Setup {
        listen: format!("  limits: {{ max_connections: {most}, idle_timeout: 10m }}\n"),
        // that many connections at once wait in Amazon's queue
        upstream: "  connect_timeout: 2m\n  response_timeout: 10m".to_owned(),
        connect_to: vec![origin.stands_for(NA)],
        trusted: origin.pem.clone(),
        ..Setup::default()
    };
    let cage = Cage::of(limit);
    let wrapper = cage.as_ref().map(Cage::wrapper);
    let words: Vec<&str> = wrapper
        .iter()
        .flat_map(|text| ["/bin/sh", "-c", text, "sh"])
        .collect();
    let sidecar = ChildSidecar::under(&words, &setup).await;
    // every connection that may be open is
    let asked = most + most / 2;
    let idle = most - asked.div_ceil(STREAMS);
    let _idle = super::connections::held(&sidecar, idle).await;
    let (body, mut calls) = (Bytes::from(vec![b'x'; BODY]), JoinSet::new());
    let mut client = sidecar.inside_h2(NA).await;
    for n in 0..asked {
        if n > 0 && n % STREAMS == 0 {
            client = sidecar.inside_h2(NA).await;
        }
        calls.spawn(post(client.clone(), body.clone()));
    }
    let mut shed = 0;
    while shed < asked - most {
        let answer = calls.join_next().await.unwrap().unwrap();
        let answer = answer.unwrap_or_else(|error| panic!("{error}; was it killed?"));
        assert_eq!(answer, (503, "overloaded".to_owned()));
        shed += 1;
    }
    while amazon.arrived.load(Ordering::SeqCst) < most {
        tokio::select! {
            answer = calls.join_next() => panic!("an answer that Amazon has not given: {answer:?}"),
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    }
    amazon.go.send_replace(true);
    while let Some(answer) = calls.join_next().await {
        assert_eq!(answer.unwrap().unwrap(), (200, String::new()));
    }
    let peak = kib(sidecar.id(), "VmHWM");
    figure(&format!(
        "{most} bodies of 1 MiB at Amazon at once and {shed} shed, beside {idle} idle connections, peak {} MiB of {} MiB, {}",
        peak >> 10,
        limit >> 10,
        if cage.is_some() {
            "in a control group of that limit"
        } else {
            "measured, since no control group may be made here"
        }
    ));
    assert!(peak < limit, "{peak} KiB of {limit}");
    // there is room again to keep a body for the one replay
    amazon.arrived.store(0, Ordering::SeqCst);
    let replayed = post(client, Bytes::from_static(b"small")).await.unwrap();
    assert_eq!(replayed, (200, String::new()));
    assert_eq!(amazon.arrived.load(Ordering::SeqCst), 2);
    drop(sidecar);
}
