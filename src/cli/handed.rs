//! Sockets that whoever starts the sidecar hands over: systemd's socket activation.
//!
//! Invariants: asked for before any thread runs, and once; what was handed over is used or the start is refused. They are marked
//! close-on-exec, and the sidecar starts no programs that could inherit them or their variables.
//! Failure mode: a [`Complaint`] that says what a socket unit has to hold.
//! Source: `sd_listen_fds(3)`, `systemd.socket(5)`.

use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use super::Complaint;
use crate::proxy::listen::Inherited;

/// The first descriptor that is handed over (`SD_LISTEN_FDS_START`).
const FIRST: usize = 3;

/// Takes over the sockets that `LISTEN_FDS` counts, where `LISTEN_PID` says that they are for this process.
///
/// # Errors
/// When one of them is no listening TCP socket.
pub(super) fn sockets() -> Result<Inherited, Complaint> {
    let mut handed = ListenFd::from_env();
    let listeners = (0..handed.len()).map(|place| {
        listener(&mut handed, place).map_err(|error| {
            Complaint(format!(
                "descriptor {} was handed over (LISTEN_FDS) and is no listening TCP socket ({error}): a socket unit for the sidecar has ListenStream= with an IP address and a port, and Accept=no",
                FIRST + place
            ))
        })
    });
    let listeners: Result<Vec<_>, _> = listeners.collect();
    Inherited::of(listeners?)
        .map_err(|error| Complaint::while_doing("cannot take over the sockets", error))
}

fn listener(handed: &mut ListenFd, place: usize) -> io::Result<TcpListener> {
    let socket = handed.take_tcp_listener(place)?;
    let socket = socket.ok_or_else(|| io::Error::other("it is not there"))?;
    if !socket_acceptconn(&socket)? {
        return Err(io::Error::other("it does not listen"));
    }
    Ok(socket)
}
