//! First words where TLS is due.

use super::ORDERS;
use super::attack::{Attack, Meets, Way};
use crate::support::sidecar::NA;

/// A ClientHello by hand (RFC 8446 section 4.1.2), with one key share of X25519.
#[derive(Clone)]
pub(super) struct Hello {
    /// The version in the hello and in its records.
    legacy: u16,
    /// What `supported_versions` holds; empty where there is no such extension.
    versions: Vec<u16>,
    /// Server names with their types, each list an extension of its own.
    names: Vec<Vec<(u8, Vec<u8>)>>,
    /// Further extensions.
    more: Vec<(u16, Vec<u8>)>,
}

impl Hello {
    /// As a program of today would send it.
    pub(super) fn named(name: &str) -> Self {
        Self {
            names: vec![vec![(0, name.into())]],
            ..Self::nameless()
        }
    }

    fn nameless() -> Self {
        Self {
            legacy: 0x0303,
            versions: vec![0x0304, 0x0303],
            names: Vec::new(),
            more: Vec::new(),
        }
    }

    /// Of a version that is no longer spoken.
    fn old(legacy: u16) -> Self {
        Self {
            legacy,
            versions: Vec::new(),
            ..Self::named(NA)
        }
    }

    fn with(mut self, number: u16, content: Vec<u8>) -> Self {
        self.more.push((number, content));
        self
    }

    /// The handshake message.
    fn message(&self) -> Vec<u8> {
        let mut body = self.legacy.to_be_bytes().to_vec();
        body.extend_from_slice(&[7; 32]);
        body.extend(prefixed(1, &[8; 32]));
        let suites = [0x1301_u16, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc013, 0x002f];
        body.extend(prefixed(2, &words(&suites)));
        body.extend(prefixed(1, &[0]));
        let mut extensions = Vec::new();
        for list in &self.names {
            let mut names = Vec::new();
            for (kind, name) in list {
                names.push(*kind);
                names.extend(prefixed(2, name));
            }
            extension(&mut extensions, 0, &prefixed(2, &names));
        }
        extension(&mut extensions, 10, &prefixed(2, &words(&[0x001d, 0x0017])));
        extension(
            &mut extensions,
            13,
            &prefixed(2, &words(&[0x0403, 0x0804, 0x0401])),
        );
        if !self.versions.is_empty() {
            extension(&mut extensions, 43, &prefixed(1, &words(&self.versions)));
            let mut share = vec![0, 0x1d];
            share.extend(prefixed(2, &[9; 32]));
            extension(&mut extensions, 51, &prefixed(2, &share));
        }
        for (number, content) in &self.more {
            extension(&mut extensions, *number, content);
        }
        body.extend(prefixed(2, &extensions));
        let mut message = vec![1];
        message.extend(prefixed(3, &body));
        message
    }

    /// In one record, or as many as it takes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.in_records_of(1 << 14)
    }

    fn in_records_of(&self, most: usize) -> Vec<u8> {
        let message = self.message();
        message
            .chunks(most)
            .flat_map(|part| record(22, 0x0301, part))
            .collect()
    }
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Bytes behind their length, which takes so many bytes itself.
fn prefixed(size: usize, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    let mut all = length[4 - size..].to_vec();
    all.extend_from_slice(bytes);
    all
}

fn extension(all: &mut Vec<u8>, number: u16, content: &[u8]) {
    all.extend(number.to_be_bytes());
    all.extend(prefixed(2, content));
}

fn record(kind: u8, version: u16, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(version.to_be_bytes());
    bytes.extend(prefixed(2, content));
    bytes
}

/// An encrypted ClientHello, as grease or in earnest: from outside nobody can tell (RFC 9849 section 5).
fn encrypted() -> Vec<u8> {
    let mut content = vec![0, 0, 1, 0, 1, 77];
    content.extend(prefixed(2, &[3; 32]));
    content.extend(prefixed(2, &[4; 144]));
    content
}

const ENCRYPTED: u16 = 0xfe0d;
const PADDING: u16 = 21;

/// Where TLS is due, and what a hello without a name, and one with another, are taken for there.
const WAYS: [(Way, Option<&str>, &str); 3] = [
    (Way::Connect, None, "name_mismatch"),
    (Way::Tunnel, Some("name_mismatch"), "name_mismatch"),
    (Way::Transparent, Some("bad_request"), "egress_denied"),
];

pub(super) fn attacks() -> Vec<Attack> {
    let mut attacks = Vec::new();
    for (way, nameless, foreign) in WAYS {
        let foreign = Meets::Closed(Some(foreign));
        let nameless = nameless.map_or(Meets::Handshake, |reason| Meets::Closed(Some(reason)));
        attacks.extend(names(way, nameless, foreign));
        attacks.extend(nonsense(way));
    }
    attacks.extend(versions());
    attacks.extend(shapes());
    attacks
}

fn names(way: Way, nameless: Meets, foreign: Meets) -> Vec<Attack> {
    let host = if way == Way::Tunnel {
        "tunnel.example"
    } else {
        NA
    };
    let two = Hello {
        names: vec![vec![(0, host.into()), (0, "elsewhere.example".into())]],
        ..Hello::nameless()
    };
    let twice = Hello {
        names: vec![
            vec![(0, host.into())],
            vec![(0, "elsewhere.example".into())],
        ],
        ..Hello::nameless()
    };
    let bad = Meets::Closed(Some("bad_request"));
    let mut attacks = vec![
        Attack::new("no server name", way, Hello::nameless().bytes(), nameless),
        Attack::new(
            "an address for a server name",
            way,
            Hello::named("127.0.0.1").bytes(),
            nameless,
        ),
        Attack::new("two server names in one extension", way, two.bytes(), bad),
        Attack::new("two extensions with server names", way, twice.bytes(), bad),
        Attack::new("an empty server name", way, Hello::named("").bytes(), bad),
        Attack::new(
            "a server name with NUL",
            way,
            Hello::named(&format!("{host}\0.elsewhere.example")).bytes(),
            bad,
        ),
        Attack::new(
            "a server name that is not ASCII",
            way,
            Hello::named("sellingpartnerapi-ñ.amazon.com").bytes(),
            bad,
        ),
    ];
    for name in [
        "elsewhere.example".to_owned(),
        format!("{host}.elsewhere.example"),
        format!("x.{host}"),
        host.replacen('.', "-", 1),
        "com".to_owned(),
    ] {
        let sends = Hello::named(&name).bytes();
        attacks.push(Attack::new(
            format!("the server name `{name}`"),
            way,
            sends,
            foreign,
        ));
    }
    let cover = Hello::named("cover.example").with(ENCRYPTED, encrypted());
    attacks.push(Attack::new(
        "an encrypted hello behind the name of a cover",
        way,
        cover.bytes(),
        foreign,
    ));
    attacks
}

fn nonsense(way: Way) -> Vec<Attack> {
    let bad = Meets::Closed(Some("bad_request"));
    let mut sslv2 = vec![0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10];
    sslv2.extend_from_slice(&[5; 0x25]);
    let mut endless = vec![1, 0xff, 0xff, 0xff];
    endless.resize(1 << 14, 0);
    vec![
        Attack::new(
            "plain HTTP",
            way,
            format!("GET {ORDERS} HTTP/1.1\r\nHost: {NA}\r\n\r\n"),
            bad,
        ),
        Attack::new(
            "CONNECT once more",
            way,
            format!("CONNECT {NA}:443 HTTP/1.1\r\n\r\n"),
            bad,
        ),
        Attack::new("HTTP/2 in plain text", way, super::frames::PREFACE, bad),
        Attack::new("SSH", way, "SSH-2.0-OpenSSH_9.9\r\n", bad),
        Attack::new("a hello of SSLv2", way, sslv2, bad),
        Attack::new("zeros", way, vec![0; 4096], bad),
        Attack::new(
            "noise",
            way,
            (0..4096_u32)
                .map(|n| (n * 167 + 13).to_be_bytes()[3])
                .collect::<Vec<u8>>(),
            bad,
        ),
        Attack::new("application data", way, record(23, 0x0303, &[1; 64]), bad),
        Attack::new("a change of ciphers", way, record(20, 0x0303, &[1]), bad),
        Attack::new(
            "a ServerHello",
            way,
            record(22, 0x0303, &[2, 0, 0, 2, 3, 3]),
            bad,
        ),
        Attack::new(
            "an empty hello",
            way,
            record(22, 0x0301, &[1, 0, 0, 0]),
            bad,
        ),
        Attack::new(
            "a hello that is cut short inside",
            way,
            record(22, 0x0301, &[1, 0, 0, 4, 3, 3, 7, 7]),
            bad,
        ),
        Attack::new(
            "a record that is too long",
            way,
            record(22, 0x0301, &[1; 20_000]),
            bad,
        ),
        Attack::new(
            "a hello that says it has 16 MiB",
            way,
            record(22, 0x0301, &endless).repeat(8),
            bad,
        ),
    ]
}

fn versions() -> Vec<Attack> {
    let bad = Meets::Closed(Some("bad_request"));
    let only_old = Hello {
        versions: vec![0x0302, 0x0301],
        ..Hello::named(NA)
    };
    let mut attacks = Vec::new();
    for way in [Way::Connect, Way::Transparent] {
        for (name, hello) in [
            ("TLS 1.1", Hello::old(0x0302)),
            ("TLS 1.0", Hello::old(0x0301)),
            ("SSL 3.0", Hello::old(0x0300)),
            ("an offer of TLS 1.1 and 1.0 alone", only_old.clone()),
        ] {
            attacks.push(Attack::new(name, way, hello.bytes(), bad));
        }
    }
    attacks
}

fn shapes() -> Vec<Attack> {
    let bad = Meets::Closed(Some("bad_request"));
    let mismatch = Meets::Closed(Some("name_mismatch"));
    let grease = || Hello::named(NA).with(ENCRYPTED, encrypted());
    let inner = || Hello::named(NA).with(ENCRYPTED, vec![1]);
    let large = |size| Hello::named(NA).with(PADDING, vec![0; size]);
    let one = |name: &str, way, sends: Vec<u8>, meets| Attack::new(name, way, sends, meets);
    let mut attacks = Vec::new();
    for (way, foreign) in [
        (Way::Connect, mismatch),
        (Way::Transparent, Meets::Closed(Some("egress_denied"))),
    ] {
        let elsewhere = Hello::named("elsewhere.example");
        attacks.extend([
            one(
                "the right name in capitals",
                way,
                Hello::named(&NA.to_uppercase()).bytes(),
                Meets::Handshake,
            ),
            one(
                "an encrypted hello or its grease behind the right name",
                way,
                grease().bytes(),
                Meets::Handshake,
            ),
            one(
                "the right name in records of one byte",
                way,
                Hello::named(NA).in_records_of(1),
                Meets::Handshake,
            ),
            one(
                "another name in records of one byte",
                way,
                elsewhere.in_records_of(1),
                foreign,
            ),
            one(
                "a hello of 40 KiB",
                way,
                large(40 << 10).bytes(),
                Meets::Handshake,
            ),
            one(
                "an inner hello outside",
                way,
                inner().bytes(),
                Meets::Handshake,
            ),
            one(
                "empty records before the hello",
                way,
                [
                    record(22, 0x0301, &[]).repeat(1000),
                    Hello::named(NA).bytes(),
                ]
                .concat(),
                bad,
            ),
        ]);
    }
    attacks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_first_word_gets_by_but_a_hello_for_the_right_name() {
    super::runner::run(attacks()).await;
}
