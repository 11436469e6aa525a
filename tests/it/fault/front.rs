//! A listener in front of a peer, that spoils what passes in the way it is told.
//!
//! Job: take connections, open TLS where the peer has it, so that an answer can be cut at a byte of its head or body, and
//! pass the rest on to the real peer.
//! Invariants: every answer that passes says `connection: close`, so that each request is a connection of its own and none
//! is left from the row before; a new mode ends all connections of the old one.
//! Failure mode: a peer that is away ends the connection, which is what a test then sees.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector, server};

use super::kind::Fault;
use crate::support::peer::read_head;

/// Between two bytes of a slow answer: some tens of them outlast every bound that a test sets.
const DRIP: Duration = Duration::from_millis(100);

/// Lets what was sent be read before the connection is reset: a reset overtakes what waits.
const READ_FIRST: Duration = Duration::from_millis(100);

const GARBAGE: &[u8] = b"\x7f\x00\xff canary of the garbage \x01\x02\r\n\r\n\x00\x00";

/// What a front speaks to whoever connects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// HTTP in the clear.
    Plain,
    /// HTTP inside TLS.
    Tls,
    /// CONNECT in the clear, and TLS behind it.
    Connect,
}

/// Where the real peer is, and the CA to trust where it speaks TLS.
type Beyond = Option<(SocketAddr, Option<String>)>;

/// The certificates of one host: one good, one for another name, one past its end, one that nobody trusts.
struct Faces {
    good: TlsAcceptor,
    wrong: TlsAcceptor,
    expired: TlsAcceptor,
    stranger: TlsAcceptor,
}

struct Way {
    host: String,
    speaks: Speaks,
    faces: Faces,
    beyond: watch::Sender<Beyond>,
    accepted: AtomicUsize,
}

/// A listener whose mode is switched while it runs.
pub(super) struct Front {
    pub(super) address: SocketAddr,
    /// The certificates that are to be trusted, as PEM: all but the stranger's.
    pub(super) pem: String,
    way: Arc<Way>,
    serving: JoinSet<()>,
}

impl Front {
    /// Passes everything on, as soon as it is told whereto. `host` is the name that TLS is asked for, or an address.
    pub(super) async fn open(host: &str, speaks: Speaks) -> Self {
        Self::open_at("127.0.0.1:0", host, speaks).await
    }

    /// The same, at an address of the test's own.
    pub(super) async fn open_at(at: &str, host: &str, speaks: Speaks) -> Self {
        crate::support::crypto();
        let listener = TcpListener::bind(at).await.unwrap();
        let ((good, a), (wrong, b), (expired, c), (stranger, _)) = (
            face(host, false),
            face("somebody-else.example", false),
            face(host, true),
            face(host, false),
        );
        let mut front = Self {
            address: listener.local_addr().unwrap(),
            pem: a + &b + &c,
            way: Arc::new(Way {
                host: host.to_owned(),
                speaks,
                faces: Faces {
                    good,
                    wrong,
                    expired,
                    stranger,
                },
                beyond: watch::Sender::new(None),
                accepted: AtomicUsize::new(0),
            }),
            serving: JoinSet::new(),
        };
        front
            .serving
            .spawn(serve(listener, Arc::clone(&front.way), None));
        front
    }

    /// The real peer; `ca` is to be trusted where it speaks TLS.
    pub(super) fn leads_to(&self, address: SocketAddr, ca: Option<&str>) {
        let beyond = Some((address, ca.map(str::to_owned)));
        self.way.beyond.send_replace(beyond);
    }

    /// A `connect_to` entry that leads here.
    pub(super) fn stands_for(&self, host: &str) -> (String, String) {
        (format!("{host}:443"), self.address.to_string())
    }

    /// How many connections it took since the mode was last set.
    pub(super) fn accepted(&self) -> usize {
        self.way.accepted.load(Ordering::SeqCst)
    }

    /// From now on, and for every connection that is open.
    pub(super) async fn set(&mut self, fault: Option<Fault>) {
        self.serving.shutdown().await;
        self.way.accepted.store(0, Ordering::SeqCst);
        if fault == Some(Fault::Down) {
            return;
        }
        let listener = listen(self.address).await;
        self.serving
            .spawn(serve(listener, Arc::clone(&self.way), fault));
    }
}

async fn listen(address: SocketAddr) -> TcpListener {
    for _try in 0..400 {
        if let Ok(listener) = TcpListener::bind(address).await {
            return listener;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{address} is taken");
}

async fn serve(listener: TcpListener, way: Arc<Way>, fault: Option<Fault>) {
    let mut connections = JoinSet::new();
    loop {
        let (near, _from) = listener.accept().await.unwrap();
        while connections.try_join_next().is_some() {}
        near.set_nodelay(true).unwrap();
        let number = way.accepted.fetch_add(1, Ordering::SeqCst) + 1;
        let way = Arc::clone(&way);
        connections.spawn(async move {
            let fault = match fault {
                // a next hop has heard whereto, and no more
                Some(Fault::Flaps) if way.speaks == Speaks::Connect => {
                    (number % 2 == 1).then_some(Fault::ResetsMidHead)
                }
                Some(Fault::Flaps) => (number % 2 == 1).then_some(Fault::Refuses),
                other => other,
            };
            one(near, &way, fault).await;
        });
    }
}

/// A connection, from its beginning to its end.
async fn one(mut near: TcpStream, way: &Way, fault: Option<Fault>) {
    match fault {
        Some(Fault::Refuses) => return near.set_zero_linger().unwrap(),
        Some(Fault::Hangs) => return swallow(&mut near).await,
        Some(Fault::NoTls) if way.speaks == Speaks::Tls => return babble(&mut near).await,
        _ => {}
    }
    if way.speaks == Speaks::Connect && !agree(&mut near, fault).await {
        return;
    }
    if way.speaks == Speaks::Plain {
        return relay(near, way, fault).await;
    }
    let acceptor = match fault {
        Some(Fault::WrongCertificate) => &way.faces.wrong,
        Some(Fault::ExpiredCertificate) => &way.faces.expired,
        Some(Fault::UnknownIssuer) => &way.faces.stranger,
        _ => &way.faces.good,
    };
    // whoever does not like the certificate goes away
    if let Ok(near) = acceptor.accept(near).await {
        relay(near, way, fault).await;
    }
}

/// Reads and says nothing, until the other side goes away.
async fn swallow(near: &mut (impl AsyncRead + Unpin)) {
    let _ended = tokio::io::copy(near, &mut tokio::io::sink()).await;
}

/// Says what is no answer, once it was spoken to, and closes.
async fn babble(near: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let _heard = near.read(&mut [0; 1024]).await;
    let _said = near.write_all(GARBAGE).await;
    let _flushed = near.flush().await;
    tokio::time::sleep(READ_FIRST).await;
}

/// Answers a CONNECT, well or badly; whether a tunnel is open.
async fn agree(near: &mut TcpStream, fault: Option<Fault>) -> bool {
    const AGREES: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
    if read_head(near).await.is_err() {
        return false;
    }
    match fault {
        Some(Fault::Silent) => swallow(near).await,
        Some(Fault::Slow) => {
            let _ended = drip(near, AGREES).await;
        }
        Some(Fault::ResetsMidHead) => {
            let _said = near.write_all(&AGREES[..9]).await;
            tokio::time::sleep(READ_FIRST).await;
            near.set_zero_linger().unwrap();
        }
        Some(Fault::Garbage) => babble(near).await,
        Some(Fault::NoTls) => {
            let _said = near.write_all(AGREES).await;
            babble(near).await;
        }
        Some(Fault::Truncated) => {
            let _said = near.write_all(&AGREES[..9]).await;
        }
        _ => return near.write_all(AGREES).await.is_ok(),
    }
    false
}

/// How a spoilt answer ends.
#[derive(PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

/// A connection that has a socket below.
trait Near: AsyncRead + AsyncWrite + Unpin + Send {
    fn socket(&self) -> &TcpStream;
}

impl Near for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Near for server::TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Passes a request on, and its answer back, spoilt.
async fn relay(mut near: impl Near, way: &Way, fault: Option<Fault>) {
    if fault == Some(Fault::Silent) {
        return swallow(&mut near).await;
    }
    if fault == Some(Fault::Garbage) {
        return babble(&mut near).await;
    }
    let mut beyond = way.beyond.subscribe();
    let known = beyond.wait_for(Option::is_some).await.unwrap().clone();
    let (address, ca) = known.unwrap();
    let Ok(far) = TcpStream::connect(address).await else {
        return;
    };
    far.set_nodelay(true).unwrap();
    let Some(ca) = ca else {
        return between(near, far, fault).await;
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let mut config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(way.host.clone()).unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    if let Ok(far) = connector.connect(name, far).await {
        between(near, far, fault).await;
    }
}

async fn between(near: impl Near, far: impl AsyncRead + AsyncWrite, fault: Option<Fault>) {
    let (mut from_near, mut to_near) = tokio::io::split(near);
    let (mut from_far, mut to_far) = tokio::io::split(far);
    let up = async {
        let _ended = tokio::io::copy(&mut from_near, &mut to_far).await;
        let _closed = to_far.shutdown().await;
        std::future::pending::<()>().await;
    };
    let end = tokio::select! {
        end = spoil(&mut from_far, &mut to_near, fault) => end,
        () = up => unreachable!("it is pending"),
    };
    // how it ends is for the other side to see
    if matches!(end, Ok(End::Reset)) {
        tokio::time::sleep(READ_FIRST).await;
        let near = from_near.unsplit(to_near);
        near.socket().set_zero_linger().unwrap();
    } else if fault.is_none() {
        let _closed = to_near.shutdown().await;
    }
}

async fn spoil(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    fault: Option<Fault>,
) -> std::io::Result<End> {
    let head = read_head(from).await?;
    let closing = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    let head = closing.as_bytes();
    match fault {
        Some(Fault::Slow) => drip(to, head).await?,
        Some(Fault::ResetsMidHead) => {
            to.write_all(&head[..9]).await?;
            to.flush().await?;
            return Ok(End::Reset);
        }
        _ => to.write_all(head).await?,
    }
    to.flush().await?;
    let mut part = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut part).await?;
        let part = &part[..read];
        match fault {
            _ if read == 0 => return Ok(End::Closed),
            Some(Fault::ResetsMidBody | Fault::Truncated) => {
                to.write_all(&part[..1]).await?;
                to.flush().await?;
                return Ok(if fault == Some(Fault::Truncated) {
                    End::Closed
                } else {
                    End::Reset
                });
            }
            Some(Fault::Slow | Fault::SlowBody) => drip(to, part).await?,
            _ => {
                to.write_all(part).await?;
                to.flush().await?;
            }
        }
    }
}

/// Byte by byte; a long text ends quickly once every bound that a test sets is over.
async fn drip(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    const DROPS: usize = 40;
    for byte in &bytes[..bytes.len().min(DROPS)] {
        to.write_all(&[*byte]).await?;
        to.flush().await?;
        tokio::time::sleep(DRIP).await;
    }
    to.write_all(&bytes[bytes.len().min(DROPS)..]).await?;
    to.flush().await
}

/// A certificate for a name or an address, and its PEM.
fn face(host: &str, expired: bool) -> (TlsAcceptor, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
    let (now, day) = (spapi_sidecar::telemetry::now(), Duration::from_hours(24));
    params.not_before = (now - day).into();
    params.not_after = (now + day).into();
    if expired {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    }
    let certificate = params.self_signed(&key).unwrap();
    let pem = certificate.pem();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], key.into())
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // a session that is resumed looks at no certificate
    config.send_tls13_tickets = 0;
    (TlsAcceptor::from(Arc::new(config)), pem)
}
