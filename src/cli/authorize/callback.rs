//! The loopback listener to which the consent page sends the browser.
//!
//! Invariants: loopback alone; one path; the page it answers with names nothing of the answer, is kept by no cache and hands
//! no referrer on, because the address of the page holds the code; the command waits until the browser has its page.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use maud::{DOCTYPE, html};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use url::Url;
use zeroize::Zeroizing;

use crate::cli::Complaint;
use crate::onboard::consent::CallbackError;
use crate::task::Tasks;

/// Longest that the command waits for a browser to take its page.
const TAKES: Duration = Duration::from_secs(2);

/// A bound listener.
pub(super) struct Listener {
    socket: TcpListener,
    /// Where it is reached.
    pub(super) redirect_uri: Url,
}

/// A query that arrived, and whom to tell what became of it.
pub(super) struct Arrived {
    pub(super) query: Zeroizing<String>,
    browser: Option<Browser>,
}

/// Where a query came from.
struct Browser {
    tell: oneshot::Sender<Result<(), String>>,
    /// Ends with the connection.
    connection: watch::Receiver<()>,
}

impl Arrived {
    /// One that was pasted.
    pub(super) const fn typed(query: Zeroizing<String>) -> Self {
        Self {
            query,
            browser: None,
        }
    }

    /// Tells the browser, where there is one, and waits until it has been told: the command may end after this.
    pub(super) async fn told(self, error: Option<&CallbackError>) {
        let Some(mut browser) = self.browser else {
            return;
        };
        let outcome = error.map_or(Ok(()), |error| Err(error.to_string()));
        if browser.tell.send(outcome).is_ok() {
            // a browser that does not take its page is not waited for
            let _taken = tokio::time::timeout(TAKES, browser.connection.changed()).await;
        }
    }
}

/// Binds.
pub(super) async fn bind(address: SocketAddr) -> Result<Listener, Complaint> {
    if !address.ip().is_loopback() {
        return Err(Complaint(
            "--listen takes a loopback address: the answer holds an authorization code".to_owned(),
        ));
    }
    let failed = |error| Complaint::while_doing(&format!("listening on {address}"), error);
    let socket = TcpListener::bind(address).await.map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    let redirect_uri = Url::parse(&format!("http://{bound}/callback"))
        .map_err(|error| Complaint::while_doing("the redirect URI", error))?;
    Ok(Listener {
        socket,
        redirect_uri,
    })
}

/// The next answer; never, where there is no listener.
pub(super) async fn next(arrived: &mut Option<mpsc::Receiver<Arrived>>) -> Option<Arrived> {
    match arrived {
        Some(arrived) => arrived.recv().await,
        None => std::future::pending().await,
    }
}

impl Listener {
    /// Serves until nobody listens to it any more.
    pub(super) fn serve(self) -> mpsc::Receiver<Arrived> {
        let (send, receive) = mpsc::channel(4);
        let tasks = Tasks::new(tokio::runtime::Handle::current());
        let connections = tasks.clone();
        let _accepts = tasks.here("callback", async move {
            while let Ok((stream, _)) = self.socket.accept().await {
                let send = send.clone();
                let (open, connection) = watch::channel(());
                let _connection = connections.here("callback-connection", async move {
                    let service = service_fn(move |request| {
                        answer(request, send.clone(), connection.clone())
                    });
                    // a browser that breaks off says so to nobody
                    let _broken = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .keep_alive(false)
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                    drop(open);
                });
            }
        });
        receive
    }
}

async fn answer(
    request: Request<Incoming>,
    send: mpsc::Sender<Arrived>,
    connection: watch::Receiver<()>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::GET || request.uri().path() != "/callback" {
        return Ok(page(
            StatusCode::NOT_FOUND,
            "There is nothing here",
            "Only Amazon's answer is taken, at /callback.",
        ));
    }
    let query = Zeroizing::new(request.uri().query().unwrap_or_default().to_owned());
    let (tell, told) = oneshot::channel();
    let arrived = Arrived {
        query,
        browser: Some(Browser { tell, connection }),
    };
    if send.send(arrived).await.is_err() {
        return Ok(page(
            StatusCode::GONE,
            "Too late",
            "The command that asked has ended.",
        ));
    }
    Ok(match told.await {
        Ok(Ok(())) => page(
            StatusCode::OK,
            "Thank you",
            "The authorization has arrived. The terminal says how it goes on; this page can be closed.",
        ),
        Ok(Err(why)) => page(StatusCode::BAD_REQUEST, "This was not taken", &why),
        Err(_ended) => page(
            StatusCode::GONE,
            "Too late",
            "The command that asked has ended.",
        ),
    })
}

fn page(status: StatusCode, title: &str, text: &str) -> Response<Full<Bytes>> {
    let body = html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; meta name="viewport" content="width=device-width"; meta name="color-scheme" content="light dark"; title { (title) } }
            body { main { h1 { (title) } p { (text) } } }
        }
    };
    let mut response = Response::new(Full::from(body.into_string()));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    response
}
