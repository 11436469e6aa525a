//! Accept loops: CONNECT and transparent.
//!
//! Job: one runtime for each core, each with its own listening sockets on the same ports and its own pool of upstream
//! connections, so that nothing on the request path changes threads.
//! Invariants: a connection that is served holds a permit; beyond `max_connections` accepting stops (a loop that finds no
//! permit keeps the one client that it has accepted waiting); an accept error never ends the loop;
//! `TCP_NODELAY` is on; a socket that was handed over is used or refused, never left; a port that another program listens on is refused at the start, although `SO_REUSEPORT` would share it.
//! Failure mode: [`ListenError`] at the start; back-off while descriptors are exhausted.

use std::io;
use std::net::{SocketAddr, TcpListener as Bound};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::OwnedSemaphorePermit;

use super::crowd::Seat;
use super::hello::{self, Rewound};
use super::login::Login;
use super::pulse::Pulse;
use super::socket::Socket;
use super::tunnel::{self, Tunnel};
use super::{Connection, Shared, Worker, connect, crowd, intercept, respond};
use crate::config::EgressMode;
use crate::name::{Authority, Host};
use crate::outcome::{Failure, Reason};
use crate::telemetry::record::Record;

/// Connections that the kernel may hold for us while all cores are busy.
const BACKLOG: u32 = 1024;

/// Pause after an accept error, as when descriptors run out: long enough not to spin, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listener could not be bound.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {error}; choose another address in `{key}`, or stop what listens there"
)]
pub struct ListenError {
    address: SocketAddr,
    key: &'static str,
    error: io::Error,
}

/// Listening sockets that whoever started the sidecar has bound for it (systemd's socket activation, `sd_listen_fds(3)`).
#[derive(Debug, Default)]
pub struct Inherited(Vec<Bound>);

/// A socket was handed over that no listener of the configuration is for.
#[derive(Debug, thiserror::Error)]
#[error(
    "a socket that listens on {0} was handed over, and the configuration has no listener there; name that address in `listen.proxy`, `listen.transparent` or `listen.admin`, or take it out of the socket unit"
)]
pub struct Unclaimed(SocketAddr);

impl Inherited {
    /// Takes sockets over. They listen already.
    ///
    /// # Errors
    /// When one cannot be made non-blocking.
    pub fn of(sockets: Vec<Bound>) -> io::Result<Self> {
        for socket in &sockets {
            socket.set_nonblocking(true)?;
        }
        Ok(Self(sockets))
    }

    /// The socket that listens on an address, if one was handed over.
    pub fn take(&mut self, address: SocketAddr) -> Option<Bound> {
        let is_it = |socket: &Bound| socket.local_addr().is_ok_and(|at| at == address);
        let place = self.0.iter().position(is_it)?;
        Some(self.0.swap_remove(place))
    }

    /// Checks that every socket has found its listener. To leave one lie would be to let its clients wait for ever.
    ///
    /// # Errors
    /// Names the first that has not.
    pub fn all_taken(&self) -> Result<(), Unclaimed> {
        match self.0.first().map(Bound::local_addr) {
            Some(Ok(address)) => Err(Unclaimed(address)),
            Some(Err(_)) | None => Ok(()),
        }
    }
}

/// What kind of client a listener expects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// CONNECT (RFC 9110 section 9.3.6).
    Proxy,
    /// Raw TLS; SNI names the host.
    Transparent,
}

/// The sockets of one core.
#[derive(Debug)]
pub struct Sockets(Vec<(Kind, Bound)>);

/// Binds every address once for each core, unless a socket for it was handed over. Returns the sockets by core, and the addresses
/// as bound (a port 0 is chosen once).
///
/// # Errors
/// When an address is in use or not ours.
pub fn bind(
    proxy: &[SocketAddr],
    transparent: &[SocketAddr],
    cores: usize,
    inherited: &mut Inherited,
) -> Result<(Vec<Sockets>, Vec<SocketAddr>), ListenError> {
    let mut by_core: Vec<Vec<(Kind, Bound)>> = (0..cores).map(|_| Vec::new()).collect();
    let mut bound = Vec::new();
    let wanted = proxy.iter().map(|address| (Kind::Proxy, *address)).chain(
        transparent
            .iter()
            .map(|address| (Kind::Transparent, *address)),
    );
    for (kind, address) in wanted {
        let key = match kind {
            Kind::Proxy => "listen.proxy",
            Kind::Transparent => "listen.transparent",
        };
        let failed = |error| ListenError {
            address,
            key,
            error,
        };
        if let Some(socket) = inherited.take(address) {
            // one queue that the cores share: whichever is idle takes the next connection, where SO_REUSEPORT would spread
            // them by their ports; and what waits in it outlives this process
            for sockets in &mut by_core {
                sockets.push((kind, socket.try_clone().map_err(failed)?));
            }
            bound.push(address);
            continue;
        }
        if address.port() != 0 {
            // without SO_REUSEPORT this fails where anybody listens; with it, two programs would share the port in silence
            drop(socket(address, false).map_err(failed)?);
        }
        let mut chosen = address;
        for sockets in &mut by_core {
            let listener = socket(chosen, true).map_err(failed)?;
            chosen = listener.local_addr().map_err(failed)?;
            sockets.push((kind, listener));
        }
        bound.push(chosen);
    }
    Ok((by_core.into_iter().map(Sockets).collect(), bound))
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Bound> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(shared)?;
    socket.bind(address)?;
    // std's listener can be handed to the core that will serve it
    socket.listen(BACKLOG)?.into_std()
}

/// Starts serving one core's sockets, until the drain begins. Has to be called on the core's runtime.
pub fn serve(worker: &Arc<Worker>, sockets: Sockets) {
    for (kind, socket) in sockets.0 {
        let listener = match TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "a listening socket could not be registered");
                continue;
            }
        };
        let tasks = worker.shared.tasks.clone();
        let worker = Arc::clone(worker);
        let _owned = tasks.here("accept", accept(worker, kind, listener));
    }
}

async fn accept(worker: Arc<Worker>, kind: Kind, listener: TcpListener) {
    let tasks = worker.shared.tasks.clone();
    let mut stopping = std::pin::pin!(tasks.stopping());
    loop {
        let next = tokio::select! {
            next = next(&worker.shared, kind, &listener) => next,
            () = stopping.as_mut() => return,
        };
        let Some((stream, permit)) = next else {
            continue;
        };
        let worker = Arc::clone(&worker);
        let _owned = tasks.here("connection", async move {
            match kind {
                Kind::Proxy => connect::serve(worker, stream, permit).await,
                Kind::Transparent => transparent(worker, stream, permit).await,
            }
        });
    }
}

/// A connection and its permit; `None` after an error, which has been waited out, and after a client that holds enough.
async fn next(
    shared: &Arc<Shared>,
    kind: Kind,
    listener: &TcpListener,
) -> Option<(TcpStream, Permit)> {
    match listener.accept().await {
        Ok((stream, client)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY could not be set");
            }
            // not sooner: a loop without a client must not keep a permit from one that has a client
            let Some(seat) = Seat::take(shared, client.ip()) else {
                crowd::refuse(shared, stream, kind == Kind::Proxy);
                return None;
            };
            let permit = Arc::clone(&shared.permits).acquire_owned().await.ok()?;
            Some((stream, Arc::new((permit, seat))))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// The right to hold a connection. Shared by the parts of one connection's life: the CONNECT and what follows the upgrade.
pub type Permit = Arc<(OwnedSemaphorePermit, Seat)>;

/// Serves a connection whose host is named by SNI alone.
async fn transparent(worker: Arc<Worker>, stream: TcpStream, permit: Permit) {
    let world = worker.shared.world.load_full();
    let limits = world.config.listen.limits;
    let pulse = Pulse::new(limits.idle_timeout, limits.header_timeout);
    let client = connect::client(&stream);
    let mut io = Socket::pulsed(stream, Arc::clone(&pulse));
    let hello = match hello::read(&mut io).await {
        Ok(hello) => hello,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return hello::refuse(&worker.shared, &"".into(), &hello::unusable(&error));
        }
        Err(error) => {
            tracing::info!(%error, "a transparent connection ended before its ClientHello");
            return;
        }
    };
    let mut record = Record::open(
        Arc::clone(&worker.shared.recorder),
        worker.shared.next_id(),
        "".into(),
        http::Method::CONNECT,
    );
    let decided = named(&hello).and_then(|target| {
        record.host = target.host.to_string().into();
        let mode = world.policy.egress(&target).map_err(Failure::from)?;
        Ok((target, mode))
    });
    match decided {
        Err(failure) => {
            // there is no certificate to say more with
            hello::not_here(&mut io).await;
            hello::note(&failure, &mut record);
        }
        Ok((target, EgressMode::Tunnel)) => match worker.client.dialer().look_up(&target).await {
            Ok(addresses) => {
                tunnel::carry(
                    &worker,
                    Tunnel { target, addresses },
                    hello,
                    &mut io,
                    &pulse,
                    &mut record,
                )
                .await
            }
            Err(error) => drop(respond::refuse(
                &respond::not_sent(error, &target.host.to_string()),
                &mut record,
            )),
        },
        Ok((target, mode @ (EgressMode::Inject | EgressMode::Lwa | EgressMode::Document))) => {
            record.forget();
            let host = Arc::clone(&record.host);
            let connection = Connection {
                worker,
                target,
                host,
                mode,
                generation: world.generation,
                client,
                login: Login::Missing,
                pulse,
            };
            intercept::serve(connection, Rewound::new(hello.bytes, io)).await;
        }
    }
    drop(permit);
}

fn named(hello: &hello::Hello) -> Result<Authority, Failure> {
    let sni = hello.sni.as_deref().ok_or_else(|| {
        Failure::new(Reason::BadRequest, "The ClientHello names no server.", "The transparent listener takes the host from SNI; a client that sends none has to use CONNECT.")
    })?;
    let host = Host::parse(sni).map_err(|error| {
        Failure::new(
            Reason::BadRequest,
            "The ClientHello names no usable server.",
            error.to_string(),
        )
    })?;
    Ok(Authority::new(host, 443))
}
