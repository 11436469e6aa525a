//! Egress mode `tunnel`: an opaque copy both ways.
//!
//! Job: check that the ClientHello asks for the host that policy allowed, then copy until one side is done or silent.
//! Invariants: not a byte leaves before the name was checked; the addresses dialled are the ones that were checked; the copy
//! is bounded by silence, never by size; bytes are counted as they pass, so that a tunnel that breaks off is counted too.
//! Failure mode: the connection closes; the record says why.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

use super::Worker;
use super::hello;
use super::pulse::Pulse;
use crate::config::EgressMode;
use crate::name::{Authority, Host};
use crate::outcome::Reason;
use crate::telemetry::record::{self, Outcome, Record};

/// Size of a copy buffer, each way, in bytes: four TLS records.
const BUFFER_BYTES: usize = 64 << 10;

/// A tunnel that policy allowed, with the addresses that were checked for it.
#[derive(Debug)]
pub struct Tunnel {
    /// The host it is for.
    pub target: Authority,
    /// Where it may lead; none when a next-hop proxy resolves.
    pub addresses: Option<Vec<SocketAddr>>,
}

/// Reads the ClientHello and carries the tunnel.
pub async fn serve<T>(
    worker: Arc<Worker>,
    tunnel: Tunnel,
    mut io: T,
    pulse: &Pulse,
    mut record: Box<Record>,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let hello = match hello::read(&mut io).await {
        Ok(hello) => hello,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return hello::note(&hello::unusable(&error), &mut record);
        }
        // it went away, or said nothing
        Err(error) => {
            return tracing::info!(request_id = %record.id, host = %record.host, %error, "a tunnel ended before its ClientHello");
        }
    };
    carry(&worker, tunnel, hello, &mut io, pulse, &mut record).await;
    let _closed = io.shutdown().await;
}

/// Carries a tunnel whose ClientHello was read already.
pub async fn carry<T>(
    worker: &Worker,
    tunnel: Tunnel,
    hello: hello::Hello,
    io: &mut T,
    pulse: &Pulse,
    record: &mut Record,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    if !asks_for(&hello, &tunnel.target) {
        hello::not_here(io).await;
        return hello::note(&hello::misnamed(&record.host), record);
    }
    if !is_allowed(worker, &tunnel.target) {
        return note(record, Reason::EgressDenied, &lost_its_rule());
    }
    let dialer = worker.client.dialer();
    let dialled = match &tunnel.addresses {
        Some(addresses) => dialer.tcp_to(addresses).await,
        None => dialer.tcp(&tunnel.target).await,
    };
    let upstream = match dialled {
        Ok(upstream) => upstream,
        Err(error) => {
            return note(
                record,
                Reason::UpstreamUnreachable,
                &io::Error::other(error),
            );
        }
    };
    pulse.no_heads();
    let counted = Counted {
        io,
        bytes: Arc::clone(&record.bytes),
    };
    let ended = tokio::select! {
        ended = copy(counted, upstream, &hello) => ended,
                () = taken_away(worker, &tunnel.target) => Err(lost_its_rule()),
    };
    record.status = 200;
    match ended {
        Ok(()) => record.outcome = Outcome::Tunnelled,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            note(record, Reason::EgressDenied, &error);
        }
        Err(error) => note(record, Reason::UpstreamUnreachable, &error),
    }
}

/// Completes when a reload has taken the tunnel's rule away.
async fn taken_away(worker: &Worker, target: &Authority) {
    let mut generation = worker.shared.generation.subscribe();
    // asked before the first wait too: a reload may have come since the tunnel was allowed; the sender is the process's own
    while is_allowed(worker, target) && generation.changed().await.is_ok() {}
}

fn is_allowed(worker: &Worker, target: &Authority) -> bool {
    worker.shared.world.load().policy.egress(target) == Ok(EgressMode::Tunnel)
}

fn lost_its_rule() -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        "a reload took the tunnel's rule away",
    )
}

/// SNI has to be the host; a client that names an IP literal sends none (RFC 6066 section 3).
fn asks_for(hello: &hello::Hello, target: &Authority) -> bool {
    match (&target.host, hello.sni.as_deref()) {
        (Host::Name(name), Some(sni)) => {
            crate::name::HostName::parse(sni).is_ok_and(|sni| sni == *name)
        }
        (Host::Ip(_), None) => true,
        (Host::Name(_), None) | (Host::Ip(_), Some(_)) => false,
    }
}

async fn copy<T>(
    mut io: Counted<'_, T>,
    mut upstream: TcpStream,
    hello: &hello::Hello,
) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    upstream.write_all(&hello.bytes).await?;
    io.bytes
        .inward
        .fetch_add(count(hello.bytes.len()), Ordering::Relaxed);
    tokio::io::copy_bidirectional_with_sizes(&mut io, &mut upstream, BUFFER_BYTES, BUFFER_BYTES)
        .await?;
    Ok(())
}

/// The client's side, with its bytes counted as they pass: however the tunnel ends, the record has them.
struct Counted<'a, T> {
    io: &'a mut T,
    bytes: Arc<record::Bytes>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<'_, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut *self.io).poll_read(cx, buffer);
        let read = buffer.filled().len() - before;
        self.bytes.inward.fetch_add(count(read), Ordering::Relaxed);
        poll
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<'_, T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut *self.io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = &poll {
            self.bytes
                .outward
                .fetch_add(count(*written), Ordering::Relaxed);
        }
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_shutdown(cx)
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn note(record: &mut Record, reason: Reason, error: &io::Error) {
    record.reason = Some(reason);
    record.outcome = if reason == Reason::EgressDenied {
        Outcome::Refused
    } else {
        Outcome::Failed
    };
    tracing::info!(request_id = %record.id, host = %record.host, reason = reason.code(), %error, "a tunnel ended");
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_tunnel_asks_for_its_own_host_by_name_and_for_an_address_by_none() {
        for (target, sni, want) in [
            ("a.example:443", Some("a.example"), true),
            ("a.example:443", Some("A.Example"), true),
            ("a.example:443", Some("b.example"), false),
            ("a.example:443", Some("a.example.evil"), false),
            ("a.example:443", Some("not a name"), false),
            ("a.example:443", None, false),
            ("192.0.2.7:443", None, true),
            ("192.0.2.7:443", Some("a.example"), false),
            ("[2001:db8::1]:443", None, true),
        ] {
            let hello = hello::Hello {
                sni: sni.map(str::to_owned),
                bytes: Bytes::new(),
            };
            let target = Authority::parse(target).unwrap();
            assert_eq!(asks_for(&hello, &target), want, "{target} {sni:?}");
        }
    }
}
