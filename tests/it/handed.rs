//! Listening sockets that systemd hands over (socket activation).

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use crate::support::child::{ChildSidecar, Process};
use crate::support::sidecar::{Setup, Stage};
use crate::support::wire::Door;

/// Hands standard input and standard error on as systemd does: from descriptor 3, counted, for this process id.
const TWO: [&str; 4] = [
    "/bin/sh",
    "-c",
    "export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$@\" 3<&0 4<&2 0</dev/null 2>/dev/null",
    "sh",
];

/// The same with standard input alone.
const ONE: [&str; 4] = [
    "/bin/sh",
    "-c",
    "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\" 3<&0 0</dev/null",
    "sh",
];

/// One for another process.
const ANOTHERS: [&str; 4] = [
    "/bin/sh",
    "-c",
    "export LISTEN_PID=1 LISTEN_FDS=1; exec \"$@\" 3<&0 0</dev/null",
    "sh",
];

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A world whose sidecar is to listen where these do.
async fn stage_of(proxy: &TcpListener, admin: &TcpListener) -> Stage {
    let setup = Setup {
        proxy: proxy.local_addr().unwrap().to_string(),
        admin: admin.local_addr().unwrap().to_string(),
        ..Setup::default()
    };
    Stage::set(&setup).await
}

#[tokio::test]
async fn a_sidecar_serves_on_the_sockets_that_it_was_handed_and_a_client_that_comes_during_a_restart_waits()
 {
    let sockets = [listener(), listener()];
    let both = || sockets.each_ref().map(|socket| socket.try_clone().unwrap());
    let stage = stage_of(&sockets[0], &sockets[1]).await;
    let sidecar = ChildSidecar::handed(&TWO, stage, both()).await;
    assert_eq!(sidecar.proxy(), sockets[0].local_addr().unwrap());
    assert_eq!(sidecar.admin, sockets[1].local_addr().unwrap());
    // more than there are cores, so that each has its turn
    for _ in 0..8 {
        assert_eq!(sidecar.call("/orders/v0/orders", &[]).await.status, 200);
    }
    sidecar.terminate();
    let door = Door {
        proxy: sidecar.proxy(),
        transparent: sidecar.proxy(),
        ca_file: sidecar.ca_file().to_owned(),
    };
    let (stage, status, stdout, _) = sidecar.ended().await;
    assert_eq!(status.code(), Some(0), "{stdout}");
    // the call is begun first, while nobody is there to take it
    let (waited, sidecar) = tokio::join!(
        door.call("/orders/v0/orders", &[]),
        ChildSidecar::handed(&TWO, stage, both())
    );
    assert_eq!(waited.status, 200, "{}", waited.text());
    assert_eq!(sidecar.call("/orders/v0/orders", &[]).await.status, 200);
}

#[tokio::test]
async fn a_socket_that_no_listener_of_the_configuration_is_for_is_refused_by_its_address() {
    let socket = listener();
    let address = socket.local_addr().unwrap();
    let stage = Stage::set(&Setup::default()).await;
    let input = Stdio::from(OwnedFd::from(socket));
    let process = Process::spawn(&ONE, stage.folder.path(), &[], input, None);
    let (status, _, stderr) = process.ended().await;
    assert_eq!(status.code(), Some(2), "{stderr}");
    for part in [&address.to_string(), "listen.proxy", "socket unit"] {
        assert!(stderr.contains(part), "{stderr}");
    }
}

#[tokio::test]
async fn what_is_no_listening_tcp_socket_is_refused_with_what_a_socket_unit_has_to_hold() {
    let stage = Stage::set(&Setup::default()).await;
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listener = listener();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    for handed in [OwnedFd::from(datagrams), OwnedFd::from(connected)] {
        let process = Process::spawn(&ONE, stage.folder.path(), &[], handed.into(), None);
        let (status, _, stderr) = process.ended().await;
        assert_eq!(status.code(), Some(2), "{stderr}");
        for part in ["descriptor 3", "ListenStream=", "Accept=no"] {
            assert!(stderr.contains(part), "{stderr}");
        }
    }
}

#[tokio::test]
async fn sockets_that_are_for_another_process_are_left_alone() {
    let socket = listener();
    let stage = Stage::set(&Setup::default()).await;
    let input = Stdio::from(OwnedFd::from(socket));
    let process = Process::spawn(&ANOTHERS, stage.folder.path(), &[], input, None);
    process.listening().await;
}
