//! What an attack is.

/// One thing that a hostile program may try.
pub(super) struct Attack {
    /// What is tried, for the table.
    pub(super) name: String,
    pub(super) way: Way,
    /// The bytes, as they go onto the wire; over HTTP/2 they follow the preface and a SETTINGS frame.
    pub(super) sends: Vec<u8>,
    pub(super) meets: Meets,
    /// How many good requests the bytes begin with.
    pub(super) behind: usize,
}

impl Attack {
    pub(super) fn new(
        name: impl Into<String>,
        way: Way,
        sends: impl Into<Vec<u8>>,
        meets: Meets,
    ) -> Self {
        Self {
            name: name.into(),
            way,
            sends: sends.into(),
            meets,
            behind: 0,
        }
    }

    /// The same, pipelined behind so many good requests.
    pub(super) fn behind(mut self, good: &str, times: usize) -> Self {
        self.sends = [good.repeat(times).into_bytes(), self.sends].concat();
        self.behind = times;
        self
    }
}

/// How an attack comes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// To the proxy listener.
    Door,
    /// To the transparent listener.
    Transparent,
    /// In a CONNECT to an intercepted host, where TLS is due.
    Connect,
    /// In a CONNECT to a tunnelled host, where TLS is due.
    Tunnel,
    /// Over HTTP/1.1 in an intercepted connection.
    Http1,
    /// Over HTTP/2 in an intercepted connection.
    Http2,
    /// As upstream's answer to a good request.
    Answer,
}

impl Way {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Door => "proxy listener",
            Self::Transparent => "transparent listener",
            Self::Connect => "CONNECT, before TLS",
            Self::Tunnel => "CONNECT to a `tunnel` host",
            Self::Http1 => "intercepted, HTTP/1.1",
            Self::Http2 => "intercepted, HTTP/2",
            Self::Answer => "upstream's answer",
        }
    }
}

/// What comes of an attack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Meets {
    /// An answer with this status and code.
    Refused(u16, &'static str),
    /// The same, after which the connection is closed.
    RefusedAndClosed(u16, &'static str),
    /// The end of the connection without an answer of HTTP; a record with this reason, if any.
    Closed(Option<&'static str>),
    /// The end of the HTTP/2 stream.
    Reset,
    /// The end of the HTTP/2 stream, where upstream may have seen the beginning of the request, and its breaking off.
    ResetAndCutOff,
    /// The end of the HTTP/2 connection.
    GoAway,
    /// An answer with this status and code, where upstream may have seen the beginning of the request, and its breaking off.
    CutOff(u16, &'static str),
    /// The request is served without what was attacked with.
    Dropped,
    /// The request is served as it stands.
    Served,
    /// The handshake goes on.
    Handshake,
}

impl Meets {
    /// What reaches upstream, for the table.
    pub(super) const fn reaches(self) -> &'static str {
        match self {
            Self::Dropped => "the request without it",
            Self::Served => "the request",
            Self::CutOff(..) | Self::ResetAndCutOff => "at most a beginning, broken off",
            Self::Refused(..)
            | Self::RefusedAndClosed(..)
            | Self::Closed(_)
            | Self::Reset
            | Self::GoAway
            | Self::Handshake => "nothing",
        }
    }

    pub(super) fn text(self) -> String {
        match self {
            Self::Refused(status, code) => format!("{status} `{code}`"),
            Self::RefusedAndClosed(status, code) => format!("{status} `{code}`, then closed"),
            Self::Closed(None) => "closed without an answer".to_owned(),
            Self::Closed(Some(reason)) => {
                format!("closed without an answer, recorded as `{reason}`")
            }
            Self::Reset => "the stream is reset".to_owned(),
            Self::ResetAndCutOff => "the stream is reset".to_owned(),
            Self::GoAway => "GOAWAY, then closed".to_owned(),
            Self::CutOff(status, code) => format!("{status} `{code}`"),
            Self::Dropped => "served without it".to_owned(),
            Self::Served => "served".to_owned(),
            Self::Handshake => "the handshake goes on".to_owned(),
        }
    }
}
