//! A listener in front of a server, that is closed and opened again.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How a server is away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Away {
    /// Nobody listens: connections are refused.
    Refuses,
    /// Connections are accepted by the kernel, and nobody reads them.
    Hangs,
}

/// Copies bytes both ways while it is open.
pub(crate) struct Gate {
    address: SocketAddr,
    to: SocketAddr,
    open: JoinSet<()>,
    silent: Option<TcpListener>,
}

impl Gate {
    /// An open gate in front of a server.
    pub(crate) async fn before(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut gate = Self {
            address: listener.local_addr().unwrap(),
            to,
            open: JoinSet::new(),
            silent: None,
        };
        gate.open.spawn(serve(listener, to));
        gate
    }

    /// Where it listens, open or not.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener and breaks every connection off.
    pub(crate) async fn shut(&mut self, how: Away) {
        // the listener and its connections fall with their task
        self.open.shutdown().await;
        if how == Away::Hangs {
            self.silent = Some(listen(self.address).await);
        }
    }

    /// Listens again.
    pub(crate) async fn open(&mut self) {
        self.silent = None;
        let listener = listen(self.address).await;
        self.open.spawn(serve(listener, self.to));
    }
}

async fn listen(address: SocketAddr) -> TcpListener {
    for _try in 0..200 {
        if let Ok(listener) = TcpListener::bind(address).await {
            return listener;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{address} is taken");
}

async fn serve(listener: TcpListener, to: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        let (mut near, _from) = listener.accept().await.unwrap();
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            let mut far = TcpStream::connect(to).await.unwrap();
            // how a connection ends is the business of those at its ends
            let _ended = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
    }
}
