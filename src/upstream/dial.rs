//! Connections: TCP to a checked address, through the next-hop proxy where one is configured, and TLS on top.
//!
//! Job: one connection, its name looked up, TCP made and TLS begun each within `connect_timeout`, with `TCP_NODELAY`.
//! Invariants: the address comes from [`Resolver`]; TLS verifies the name that policy allowed, wherever `connect_to` or a
//! next-hop proxy leads. What a next hop resolves a name to cannot be seen from here, and so is not checked: it has to
//! keep its own rules, and the certificate is what is left of ours. Our own listeners are no next hop.
//! Failure mode: [`SendError`]; addresses are tried in order until one accepts.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::SendError;
use super::linger::Lingering;
use super::resolve::{Resolver, ResolverError};
use crate::config;
use crate::name::{Authority, Host};
use crate::tls::client::{TlsConfigError, UpstreamTls};

/// Makes connections. Shared by all cores.
#[derive(Debug)]
pub struct Dialer {
    resolver: Resolver,
    tls: UpstreamTls,
    /// Bound on each of looking a name up, TCP, the next hop's CONNECT and TLS.
    connect_timeout: Duration,
    proxy: Option<Authority>,
}

/// Why `upstream` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DialerError {
    /// `upstream.resolver`.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    /// `upstream.trust` and what else is TLS.
    #[error(transparent)]
    Tls(#[from] TlsConfigError),
}

impl Dialer {
    /// A dialer by `upstream`; `own` are the addresses we listen on.
    ///
    /// # Errors
    /// When there is no resolver or no trust to be had by these settings.
    pub fn new(upstream: &config::Upstream, own: Vec<SocketAddr>) -> Result<Self, DialerError> {
        Ok(Self {
            resolver: Resolver::new(upstream, own)?,
            tls: UpstreamTls::new(upstream)?,
            connect_timeout: upstream.connect_timeout,
            proxy: upstream.proxy.clone(),
        })
    }

    /// Whether `connect_to` says where an authority is.
    #[must_use]
    pub fn is_redirected(&self, authority: &Authority) -> bool {
        self.resolver.is_redirected(authority)
    }

    /// The checked addresses of an authority; `None` where the next hop looks it up.
    ///
    /// # Errors
    /// When it has none, none within the bound, or none that may be dialled.
    pub async fn look_up(
        &self,
        authority: &Authority,
    ) -> Result<Option<Vec<SocketAddr>>, SendError> {
        if self.proxy.is_some() && !self.resolver.is_redirected(authority) {
            return Ok(None);
        }
        let looked_up = self.resolver.resolve(authority);
        looked_up_within(self.connect_timeout, looked_up)
            .await
            .map(Some)
    }

    /// Opens TCP towards an authority, resolved and checked here.
    ///
    /// # Errors
    /// When no address may be dialled, or none accepts.
    pub async fn tcp(&self, authority: &Authority) -> Result<TcpStream, SendError> {
        match (self.look_up(authority).await?, &self.proxy) {
            (None, Some(proxy)) => self.through(proxy, authority).await,
            (addresses, _) => self.tcp_to(&addresses.unwrap_or_default()).await,
        }
    }

    /// Opens TCP to the first of these checked addresses that accepts.
    ///
    /// # Errors
    /// When none accepts within the bound.
    pub async fn tcp_to(&self, addresses: &[SocketAddr]) -> Result<TcpStream, SendError> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
        for address in addresses {
            match bounded(self.connect_timeout, TcpStream::connect(address)).await {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(SendError::Connect)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(match Errno::from_io_error(&last) {
            // of this process, or of the whole machine
            Some(Errno::MFILE | Errno::NFILE) => SendError::Exhausted(last),
            Some(_) | None => SendError::Connect(last),
        })
    }

    /// Opens TLS towards an authority, offering `h2` only when asked to.
    ///
    /// # Errors
    /// As [`Dialer::tcp`], and when the handshake fails.
    pub async fn tls(
        &self,
        authority: &Authority,
        http2: bool,
    ) -> Result<TlsStream<Lingering<TcpStream>>, SendError> {
        let stream = self.tcp(authority).await?;
        let name = match &authority.host {
            Host::Name(name) => {
                ServerName::try_from(name.as_str().to_owned()).map_err(|invalid| {
                    SendError::Tls(io::Error::new(io::ErrorKind::InvalidInput, invalid))
                })?
            }
            Host::Ip(ip) => ServerName::IpAddress((*ip).into()),
        };
        let connector = TlsConnector::from(self.tls.config(http2));
        bounded(
            self.connect_timeout,
            connector.connect(name, Lingering::new(stream)),
        )
        .await
        .map_err(no_handshake)
    }

    /// Asks the next-hop proxy for a tunnel (RFC 9110 section 9.3.6).
    async fn through(
        &self,
        proxy: &Authority,
        authority: &Authority,
    ) -> Result<TcpStream, SendError> {
        let looked_up = async {
            let found = tokio::net::lookup_host((host_text(&proxy.host), proxy.port)).await;
            let found = found.map_err(SendError::Resolve)?;
            Ok(found.collect::<Vec<SocketAddr>>())
        };
        let addresses = looked_up_within(self.connect_timeout, looked_up).await?;
        if addresses
            .iter()
            .any(|address| self.resolver.is_own(*address))
        {
            return Err(SendError::OwnListener);
        }
        let stream = self.tcp_to(&addresses).await?;
        bounded(self.connect_timeout, ask_for_tunnel(stream, authority))
            .await
            .map_err(SendError::Connect)
    }
}

/// What a handshake that came to nothing says: [`SendError::Tls`] where TLS itself found fault, and [`SendError::Connect`]
/// where the connection was reset, closed or silent meanwhile. Whether a reset is seen before TLS begins or a moment later is
/// chance, and must not change what a program is told.
fn no_handshake(error: io::Error) -> SendError {
    let cause = error.get_ref();
    if cause.is_some_and(|cause| cause.is::<rustls::Error>()) {
        SendError::Tls(error)
    } else {
        SendError::Connect(error)
    }
}

fn host_text(host: &Host) -> String {
    match host {
        Host::Name(name) => name.as_str().to_owned(),
        Host::Ip(ip) => ip.to_string(),
    }
}

/// A name server that says nothing holds a request no longer than an origin that says nothing.
async fn looked_up_within<T>(
    bound: Duration,
    looked_up: impl Future<Output = Result<T, SendError>>,
) -> Result<T, SendError> {
    tokio::time::timeout(bound, looked_up)
        .await
        .unwrap_or_else(|_elapsed| {
            Err(SendError::Resolve(io::Error::new(
                io::ErrorKind::TimedOut,
                "not within connect_timeout",
            )))
        })
}

async fn bounded<T>(bound: Duration, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(bound, future)
        .await
        .unwrap_or_else(|_elapsed| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "not within connect_timeout",
            ))
        })
}

/// Sends CONNECT and hands the connection over once the proxy has agreed (RFC 9110 section 9.3.6).
async fn ask_for_tunnel(stream: TcpStream, authority: &Authority) -> io::Result<TcpStream> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken_off)?;
    let request = Request::connect(authority.to_string())
        .header(header::HOST, authority.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken_off)?;
        let status = response.status();
        if !status.is_success() {
            let text = format!("the next-hop proxy answered CONNECT with {status}");
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, text));
        }
        hyper::upgrade::on(response).await.map_err(io::Error::other)
    };
    let upgraded = {
        let mut exchange = std::pin::pin!(exchange);
        let mut connection = std::pin::pin!(connection.with_upgrades());
        tokio::select! {
            upgraded = exchange.as_mut() => upgraded?,
            // hyper lets go of the connection with the upgrade, or the exchange says what is wrong
            _ended = connection.as_mut() => exchange.await?,
        }
    };
    let parts = upgraded
        .downcast::<TokioIo<TcpStream>>()
        .map_err(|_other_io| {
            io::Error::other("the tunnel is not the connection it was asked on")
        })?;
    if parts.read_buf.is_empty() {
        return Ok(parts.io.into_inner());
    }
    // nobody speaks before the ClientHello
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "the next-hop proxy sent bytes before the tunnel's first",
    ))
}

/// A next hop that breaks off is told from one that talks nonsense: the kind of the error says whether a new connection may
/// succeed.
fn broken_off(error: hyper::Error) -> io::Error {
    let cause = std::error::Error::source(&error);
    let kind = match cause.and_then(|cause| cause.downcast_ref::<io::Error>()) {
        Some(cause) => cause.kind(),
        None if error.is_incomplete_message() || error.is_canceled() => {
            io::ErrorKind::UnexpectedEof
        }
        None => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
