//! An upstream that remembers every byte that reaches it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::peer::{Face, Origin, Served};
use crate::support::sidecar::{NA, Setup};

/// What came, in plain text, over all connections.
#[derive(Clone, Default)]
struct Seen {
    bytes: Arc<Mutex<Vec<u8>>>,
    requests: Arc<AtomicUsize>,
}

impl Seen {
    fn note(&self, bytes: &[u8]) {
        self.bytes.lock().unwrap().extend_from_slice(bytes);
    }
}

/// SP-API's place, and the place behind the tunnel.
pub(super) struct Upstream {
    origin: Origin,
    seen: Seen,
    behind: Behind,
}

/// How much has come so far: connections, bytes and requests at SP-API's place, connections behind the tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    connections: usize,
    bytes: usize,
    pub(super) requests: usize,
    tunnels: usize,
}

impl Upstream {
    pub(super) async fn start() -> Self {
        let seen = Seen::default();
        let note = seen.clone();
        let origin = Origin::start(NA, Face::speaking(&["http/1.1"]), move |_number, stream| {
            serve(BufReader::new(stream), note.clone())
        })
        .await;
        Self {
            origin,
            seen,
            behind: Behind::start().await,
        }
    }

    /// The usual world with this upstream in it.
    pub(super) fn setup(&self) -> Setup {
        Setup {
            connect_to: vec![
                self.origin.stands_for(NA),
                (
                    "tunnel.example:443".to_owned(),
                    self.behind.address.to_string(),
                ),
            ],
            trusted: self.origin.pem.clone(),
            ..Setup::default()
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            connections: self.origin.connections(),
            bytes: self.seen.bytes.lock().unwrap().len(),
            requests: self.seen.requests.load(Ordering::SeqCst),
            tunnels: self.behind.accepted.load(Ordering::SeqCst),
        }
    }

    /// What came since, as text.
    pub(super) fn since(&self, mark: Mark) -> String {
        String::from_utf8_lossy(&self.seen.bytes.lock().unwrap()[mark.bytes..]).into_owned()
    }
}

/// Reads one request after the other and answers each with an empty object.
async fn serve(mut stream: BufReader<Served>, seen: Seen) {
    while request(&mut stream, &seen).await.is_ok() {
        seen.requests.fetch_add(1, Ordering::SeqCst);
        let answer =
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        if stream.write_all(answer).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

async fn request(stream: &mut BufReader<Served>, seen: &Seen) -> std::io::Result<()> {
    let mut head = String::new();
    loop {
        let line = line(stream, seen).await?;
        if line.is_empty() {
            break;
        }
        head.push_str(&line.to_ascii_lowercase());
        head.push('\n');
    }
    if head.contains("\ntransfer-encoding: chunked\n") {
        return chunks(stream, seen).await;
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    take(stream, seen, length).await
}

async fn chunks(stream: &mut BufReader<Served>, seen: &Seen) -> std::io::Result<()> {
    loop {
        let size = usize::from_str_radix(&line(stream, seen).await?, 16).unwrap();
        if size == 0 {
            break;
        }
        take(stream, seen, size + 2).await?;
    }
    while !line(stream, seen).await?.is_empty() {}
    Ok(())
}

async fn line(stream: &mut BufReader<Served>, seen: &Seen) -> std::io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let byte = stream.read_u8().await?;
        seen.note(&[byte]);
        line.push(byte);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

async fn take(stream: &mut BufReader<Served>, seen: &Seen, length: usize) -> std::io::Result<()> {
    let mut part = vec![0; length];
    stream.read_exact(&mut part).await?;
    seen.note(&part);
    Ok(())
}

/// What stands behind the tunnel: it takes connections and holds them.
struct Behind {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Behind {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&accepted);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut held = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                held.push(stream);
            }
        });
        Self {
            address,
            accepted,
            _tasks: tasks,
        }
    }
}
