//! Connections: TCP to a checked address, through the next-hop proxy where one is configured, and TLS on top.
//!
//! Job: one connection, within `connect_timeout`, with `TCP_NODELAY`.
//! Invariants: the address comes from [`Resolver`]; TLS verifies the name that policy allowed, wherever `connect_to` or a
//! next-hop proxy leads.
//! Failure mode: [`SendError`]; addresses are tried in order until one accepts.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::SendError;
use super::resolve::Resolver;
use crate::name::{Authority, Host};
use crate::tls::client::UpstreamTls;

/// Makes connections. Shared by all cores.
#[derive(Debug)]
pub struct Dialer {
    /// Resolves and checks.
    pub resolver: Resolver,
    /// What we believe.
    pub tls: UpstreamTls,
    /// Bound on TCP, next-hop CONNECT and TLS together.
    pub connect_timeout: Duration,
    /// Next-hop proxy.
    pub proxy: Option<Authority>,
}

impl Dialer {
    /// Opens TCP towards an authority, resolved and checked here.
    ///
    /// # Errors
    /// When no address may be dialled, or none accepts.
    pub async fn tcp(&self, authority: &Authority) -> Result<TcpStream, SendError> {
        if let Some(proxy) = &self.proxy
            && !self.resolver.is_redirected(authority)
        {
            return self.through(proxy, authority).await;
        }
        let addresses = self.resolver.resolve(authority).await?;
        self.tcp_to(&addresses).await
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
        Err(SendError::Connect(last))
    }

    /// Opens TLS towards an authority, offering `h2` only when asked to.
    ///
    /// # Errors
    /// As [`Dialer::tcp`], and when the handshake fails.
    pub async fn tls(
        &self,
        authority: &Authority,
        http2: bool,
    ) -> Result<TlsStream<TcpStream>, SendError> {
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
        bounded(self.connect_timeout, connector.connect(name, stream))
            .await
            .map_err(SendError::Tls)
    }

    /// Asks the next-hop proxy for a tunnel (RFC 9110 section 9.3.6).
    async fn through(
        &self,
        proxy: &Authority,
        authority: &Authority,
    ) -> Result<TcpStream, SendError> {
        let addresses: Vec<SocketAddr> =
            tokio::net::lookup_host((host_text(&proxy.host), proxy.port))
                .await
                .map_err(SendError::Resolve)?
                .collect();
        let stream = self.tcp_to(&addresses).await?;
        bounded(self.connect_timeout, ask_for_tunnel(stream, authority))
            .await
            .map_err(SendError::Connect)
    }
}

fn host_text(host: &Host) -> String {
    match host {
        Host::Name(name) => name.as_str().to_owned(),
        Host::Ip(ip) => ip.to_string(),
    }
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

/// Longest answer to CONNECT that is read: a status line and a few fields.
const TUNNEL_ANSWER_BYTES: usize = 8 << 10;

async fn ask_for_tunnel(mut stream: TcpStream, authority: &Authority) -> io::Result<TcpStream> {
    stream
        .write_all(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n").as_bytes())
        .await?;
    let mut answer = Vec::with_capacity(256);
    // byte by byte: what follows the blank line belongs to the tunnel
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() > TUNNEL_ANSWER_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the next-hop proxy's answer is too long",
            ));
        }
        answer.push(stream.read_u8().await?);
    }
    let status = answer.get(9..12);
    if answer.starts_with(b"HTTP/1.") && status.is_some_and(|status| status.starts_with(b"2")) {
        return Ok(stream);
    }
    let status = String::from_utf8_lossy(status.unwrap_or_default()).into_owned();
    Err(io::Error::new(
        io::ErrorKind::ConnectionRefused,
        format!("the next-hop proxy answered CONNECT with {status}"),
    ))
}
