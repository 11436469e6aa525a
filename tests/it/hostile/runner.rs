//! Carries attacks out.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::attack::{Attack, Meets, Way};
use super::frames::{PREFACE, SETTINGS, Said, frame};
use super::upstream::{Mark, Upstream};
use super::{CANARY, ORDERS};
use crate::support::sidecar::{NA, Setup, TestSidecar, eventually};
use crate::support::wire::{Wire, dial};

/// How long an attack may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A sidecar and its upstream.
pub(super) struct Field {
    pub(super) sidecar: TestSidecar,
    pub(super) upstream: Upstream,
}

/// Carries all of them out against one sidecar: one that is brought down by an attack fails at the next.
pub(super) async fn run(attacks: Vec<Attack>) {
    run_in(Field::with(|setup| setup).await, attacks).await;
}

/// The same, in a world of the attacks' own.
pub(super) async fn run_in(field: Field, attacks: Vec<Attack>) {
    let mut defects = Vec::new();
    for attack in attacks {
        if let Err(defect) = field.withstands(&attack).await {
            defects.push(format!("{}, {}: {defect}", attack.way.text(), attack.name));
        }
    }
    assert!(defects.is_empty(), "{}", defects.join("\n"));
}

impl Field {
    /// With changes of the usual world.
    pub(super) async fn with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let upstream = Upstream::start().await;
        let sidecar = TestSidecar::with(change(upstream.setup())).await;
        let field = Self { sidecar, upstream };
        field.serves_the_good().await;
        field
    }

    /// A good request is served, over a connection of its own.
    pub(super) async fn serves_the_good(&self) {
        let answer = self.sidecar.call(ORDERS, &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Carries one out; what is wrong with what came of it.
    async fn withstands(&self, attack: &Attack) -> Result<(), String> {
        let (mark, records) = (self.upstream.mark(), self.sidecar.records().len());
        let met = tokio::time::timeout(PATIENCE, self.attempt(attack))
            .await
            .map_err(|_elapsed| "no end".to_owned())?;
        let came = self.came(attack, mark);
        let before = self.upstream.mark().requests;
        self.serves_the_good().await;
        if met != attack.meets {
            return Err(format!("met {met:?}, not {:?}", attack.meets));
        }
        came?;
        if self.upstream.mark().requests != before + 1 {
            return Err("something reached upstream later".to_owned());
        }
        self.is_recorded(attack, records).await
    }

    /// What is wrong with what reached upstream, if anything.
    fn came(&self, attack: &Attack, mark: Mark) -> Result<(), String> {
        let came = self.upstream.since(mark);
        let requests = self.upstream.mark().requests - mark.requests;
        let is_right = match attack.meets {
            Meets::Dropped | Meets::Served => return self.came_out_clean(attack, mark),
            Meets::CutOff(..) | Meets::ResetAndCutOff => requests == 0,
            Meets::Refused(..)
            | Meets::RefusedAndClosed(..)
            | Meets::Closed(_)
            | Meets::Reset
            | Meets::GoAway
            | Meets::Handshake => {
                let untouched = attack.behind > 0 || self.upstream.mark() == mark;
                untouched && requests == attack.behind && !came.contains(CANARY)
            }
        };
        if is_right {
            return Ok(());
        }
        Err(format!("{requests} requests came, and {}", shown(&came)))
    }

    async fn attempt(&self, attack: &Attack) -> Meets {
        match attack.way {
            Way::Door => http1(Wire::new(self.door().await), attack).await,
            Way::Http1 => http1(self.sidecar.inside(NA).await, attack).await,
            Way::Http2 => http2(self.http2().await, attack).await,
            Way::Transparent => hello(Wire::new(self.transparent().await), attack).await,
            Way::Connect => hello(self.connected(NA).await, attack).await,
            Way::Tunnel => hello(self.connected("tunnel.example").await, attack).await,
            Way::Answer => unreachable!("answers have upstreams of their own"),
        }
    }

    pub(super) async fn door(&self) -> TcpStream {
        dial(self.sidecar.proxy()).await.io
    }

    pub(super) async fn transparent(&self) -> TcpStream {
        dial(self.sidecar.transparent()).await.io
    }

    pub(super) async fn connected(&self, host: &str) -> Wire<TcpStream> {
        let (answer, wire) = self.sidecar.connect(&format!("{host}:443"), &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        wire
    }

    /// An intercepted connection on which HTTP/2 was agreed and nothing was said yet.
    pub(super) async fn http2(&self) -> TlsStream<TcpStream> {
        let wire = self.connected(NA).await;
        self.sidecar.handshake(wire.io, NA, &["h2"]).await.unwrap()
    }

    /// A refusal writes one record with its reason; the good request that followed wrote one too.
    async fn is_recorded(&self, attack: &Attack, before: usize) -> Result<(), String> {
        let (Meets::Refused(_, reason)
        | Meets::RefusedAndClosed(_, reason)
        | Meets::CutOff(_, reason)
        | Meets::Closed(Some(reason))) = attack.meets
        else {
            return Ok(());
        };
        let want = before + attack.behind + 2;
        eventually("all records", || self.sidecar.records().len() >= want).await;
        let fresh = self.sidecar.records().split_off(before);
        let refused: Vec<&Value> = fresh
            .iter()
            .filter(|one| one["reason"].is_string())
            .collect();
        if fresh.len() == attack.behind + 2 && matches!(&*refused, [one] if one["reason"] == reason)
        {
            return Ok(());
        }
        Err(format!("records: {fresh:?}"))
    }

    /// One request arrived, with one of each field that must be there once, and with nothing of the attacker's where that is
    /// to be dropped.
    fn came_out_clean(&self, attack: &Attack, mark: Mark) -> Result<(), String> {
        let came = self.upstream.since(mark);
        let count = |name: &str| came.matches(&format!("\n{name}: ")).count();
        let once = ["host", "authorization", "x-amz-access-token"];
        let clean = self.upstream.mark().requests == mark.requests + 1
            && once.iter().all(|name| count(name) == 1)
            && count("content-length") + count("transfer-encoding") <= 1
            && !(attack.meets == Meets::Dropped && came.contains(CANARY));
        if clean {
            Ok(())
        } else {
            Err(format!("what came: {}", shown(&came)))
        }
    }
}

/// What reached upstream, but for tokens.
fn shown(came: &str) -> String {
    let lines: Vec<&str> = came
        .lines()
        .filter(|line| !line.contains("Atza|"))
        .collect();
    lines.join("\n")
}

/// What bytes meet where HTTP/1.1 is spoken.
async fn http1<T: AsyncRead + AsyncWrite + Unpin>(mut wire: Wire<T>, attack: &Attack) -> Meets {
    wire.send(&attack.sends).await;
    for _ in 0..attack.behind {
        let good = wire.try_answer().await;
        if !good.is_ok_and(|answer| answer.status == 200) {
            return Meets::Refused(0, "what came before it");
        }
    }
    let Ok(answer) = wire.try_answer().await else {
        return Meets::Closed(reason(attack));
    };
    if answer.field("x-spapi-sidecar-error").is_none() {
        let served = (answer.status, attack.meets) == (200, Meets::Dropped);
        if answer.status != 200 {
            return Meets::Refused(answer.status, "not one of ours");
        }
        return if served {
            Meets::Dropped
        } else {
            Meets::Served
        };
    }
    let refusal = answer.refusal();
    let code = known(&refusal.code);
    if matches!(attack.meets, Meets::CutOff(..)) {
        return Meets::CutOff(refusal.status, code);
    }
    if !matches!(attack.meets, Meets::RefusedAndClosed(..)) {
        return Meets::Refused(refusal.status, code);
    }
    match rest(&mut wire).await {
        None => Meets::Refused(refusal.status, code),
        Some(rest) if rest.is_empty() => Meets::RefusedAndClosed(refusal.status, code),
        Some(_) => Meets::Refused(refusal.status, "and then something else"),
    }
}

/// What comes before the end of the connection; `None` where it does not end.
async fn rest<T: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<T>) -> Option<Vec<u8>> {
    tokio::time::timeout(Duration::from_secs(8), wire.rest())
        .await
        .ok()
}

/// A code as the attacks spell it.
fn known(code: &str) -> &'static str {
    spapi_sidecar::outcome::Reason::ALL
        .iter()
        .map(|reason| reason.code())
        .find(|known| *known == code)
        .unwrap_or("unknown")
}

/// The reason that a record has to show is checked with the records.
const fn reason(attack: &Attack) -> Option<&'static str> {
    if let Meets::Closed(reason) = attack.meets {
        return reason;
    }
    None
}

/// What bytes meet where TLS is due.
async fn hello(mut wire: Wire<TcpStream>, attack: &Attack) -> Meets {
    wire.send(&attack.sends).await;
    if attack.meets == Meets::Handshake {
        use tokio::io::AsyncReadExt as _;
        let mut record = [0; 6];
        let read = wire.io.read_exact(&mut record).await;
        // a record of a handshake that begins with a ServerHello
        if read.is_ok() && (record[0], record[5]) == (22, 2) {
            return Meets::Handshake;
        }
        return Meets::Closed(None);
    }
    let Some(rest) = rest(&mut wire).await else {
        return Meets::Handshake;
    };
    // an alert at most (RFC 8446 section 5.1)
    if rest.first().is_some_and(|kind| *kind != 21) {
        return Meets::Handshake;
    }
    Meets::Closed(reason(attack))
}

/// What frames meet.
async fn http2(mut io: TlsStream<TcpStream>, attack: &Attack) -> Meets {
    let mut bytes = PREFACE.to_vec();
    bytes.extend_from_slice(&frame(SETTINGS, 0, 0, &[]));
    bytes.extend_from_slice(&attack.sends);
    // it may be closed before all of it is there: then what was said tells
    let _sent = io.write_all(&bytes).await;
    let _flushed = io.flush().await;
    let said = Said::of(&mut io).await;
    match (said.status, said.reset, said.go_away) {
        (_, _, Some(_)) => Meets::GoAway,
        (_, Some(_), None) if attack.meets == Meets::ResetAndCutOff => Meets::ResetAndCutOff,
        (_, Some(_), None) => Meets::Reset,
        (Some(200), ..) if attack.meets == Meets::Dropped => Meets::Dropped,
        (Some(200), ..) => Meets::Served,
        (Some(status), ..) => Meets::Refused(status, known(&said.code())),
        (None, None, None) => Meets::Closed(reason(attack)),
    }
}
