//! What can be wrong with a peer, and where that makes no sense.

/// A way to be away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Fault {
    /// Nobody listens.
    Down,
    /// Accepted, and reset at once.
    Refuses,
    /// Accepted, and not a word.
    Hangs,
    /// The request is taken, and never answered.
    Silent,
    /// The answer comes byte by byte, for longer than the short bounds of the tests.
    Slow,
    /// The answer comes byte by byte from its body on.
    SlowBody,
    /// Reset after a few bytes of the answer's head.
    ResetsMidHead,
    /// Reset after a few bytes of the answer's body.
    ResetsMidBody,
    /// Bytes that are no answer, where one is due.
    Garbage,
    /// Bytes that are no TLS, where that is due.
    NoTls,
    /// Closed after a few bytes of the answer's body.
    Truncated,
    /// Somebody else's name in a certificate that is trusted.
    WrongCertificate,
    /// The right name, and an issuer that nobody knows.
    UnknownIssuer,
    /// The right name, past its end.
    ExpiredCertificate,
    /// Every other connection is reset.
    Flaps,
    /// Ten years ahead of everybody.
    Ahead,
    /// Ten years behind.
    Behind,
}

impl Fault {
    /// Every one, in the order of the table.
    pub(super) const ALL: [Self; 17] = [
        Self::Down,
        Self::Refuses,
        Self::Hangs,
        Self::Silent,
        Self::Slow,
        Self::SlowBody,
        Self::ResetsMidHead,
        Self::ResetsMidBody,
        Self::Garbage,
        Self::NoTls,
        Self::Truncated,
        Self::WrongCertificate,
        Self::UnknownIssuer,
        Self::ExpiredCertificate,
        Self::Flaps,
        Self::Ahead,
        Self::Behind,
    ];

    /// The words of the table.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Refuses => "refuses",
            Self::Hangs => "hangs",
            Self::Silent => "takes the request and hangs",
            Self::Slow => "slow",
            Self::SlowBody => "slow body",
            Self::ResetsMidHead => "resets mid-head",
            Self::ResetsMidBody => "resets mid-body",
            Self::Garbage => "garbage",
            Self::NoTls => "garbage for TLS",
            Self::Truncated => "truncated",
            Self::WrongCertificate => "wrong certificate",
            Self::UnknownIssuer => "unknown issuer",
            Self::ExpiredCertificate => "expired certificate",
            Self::Flaps => "flapping",
            Self::Ahead => "ten years ahead",
            Self::Behind => "ten years behind",
        }
    }

    /// The tenant whose calls meet it: one for each, so that no row inherits a pause from the one before.
    pub(super) const fn tenant(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Refuses => "refuses",
            Self::Hangs => "hangs",
            Self::Silent => "silent",
            Self::Slow => "slow",
            Self::SlowBody => "slow-body",
            Self::ResetsMidHead => "mid-head",
            Self::ResetsMidBody => "mid-body",
            Self::Garbage => "garbage",
            Self::NoTls => "no-tls",
            Self::Truncated => "truncated",
            Self::WrongCertificate => "wrong-name",
            Self::UnknownIssuer => "stranger",
            Self::ExpiredCertificate => "expired",
            Self::Flaps => "flaps",
            Self::Ahead => "ahead",
            Self::Behind => "behind",
        }
    }
}

/// Whom a sidecar needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Peer {
    Lwa,
    SpApi,
    Store,
    Webhook,
    Collector,
    NextHop,
    Dns,
    Disk,
    Clock,
}

impl Peer {
    /// Every one, in the order of the table.
    pub(super) const ALL: [Self; 9] = [
        Self::Lwa,
        Self::SpApi,
        Self::Store,
        Self::Webhook,
        Self::Collector,
        Self::NextHop,
        Self::Dns,
        Self::Disk,
        Self::Clock,
    ];

    /// The heading of its section.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Lwa => "LWA",
            Self::SpApi => "SP-API",
            Self::Store => "Store (Vault)",
            Self::Webhook => "Webhook of the alerts",
            Self::Collector => "Telemetry collector",
            Self::NextHop => "Next-hop proxy",
            Self::Dns => "DNS",
            Self::Disk => "Disk of the audit",
            Self::Clock => "Clock",
        }
    }

    /// Why a fault makes no sense of a peer; nothing where it does, and a row is due.
    pub(super) const fn senseless(self, fault: Fault) -> Option<&'static str> {
        use Fault::{
            Ahead, Behind, Down, ExpiredCertificate, Flaps, Garbage, Hangs, NoTls, Refuses,
            ResetsMidBody, ResetsMidHead, Silent, Slow, SlowBody, Truncated, UnknownIssuer,
            WrongCertificate,
        };
        match (self, fault) {
            (Self::Clock, Ahead | Behind) => None,
            (Self::Clock, _) => {
                Some("a clock is there and says something: it can be wrong, no more")
            }
            (_, Ahead | Behind) => Some("what is wrong by years is a clock"),
            (Self::Collector, ResetsMidBody | SlowBody | Truncated) => {
                Some("a collector's good answer has no body")
            }
            (Self::Dns, Silent) => {
                Some("of a datagram that is not answered nobody knows whether it was taken")
            }
            (
                Self::Dns,
                ResetsMidHead | ResetsMidBody | SlowBody | NoTls | WrongCertificate | UnknownIssuer
                | ExpiredCertificate,
            ) => Some("a name server is asked by datagrams, without TLS"),
            (
                Self::Disk,
                Hangs | Silent | Slow | SlowBody | ResetsMidHead | ResetsMidBody | Garbage | NoTls
                | WrongCertificate | UnknownIssuer | ExpiredCertificate,
            ) => Some(
                "a disk is no connection; one that hangs takes a kernel to play it, and what others write into the audit is for `audit verify` to find",
            ),
            (Self::Dns, Down | Refuses | Hangs | Slow | Garbage | Truncated | Flaps)
            | (Self::Disk, Down | Refuses | Truncated | Flaps)
            | (
                Self::Lwa
                | Self::SpApi
                | Self::Store
                | Self::Webhook
                | Self::Collector
                | Self::NextHop,
                _,
            ) => None,
        }
    }
}

/// What becomes of one fault of one peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) fault: Fault,
    /// Status and code of a call that needs the peer.
    pub(super) sees: &'static str,
    /// The line of the log, as [`super::scene::Scene`] abridges it.
    pub(super) log: &'static str,
    /// What fires, and the verdict on the tenant.
    pub(super) alert: &'static str,
}

/// A row.
pub(super) const fn row(
    fault: Fault,
    sees: &'static str,
    log: &'static str,
    alert: &'static str,
) -> Row {
    Row {
        fault,
        sees,
        log,
        alert,
    }
}

/// Nothing to log, nothing to fire.
pub(super) const NOTHING: &str = "nothing";
