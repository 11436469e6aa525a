//! One request as it came: where to, for whom, with which names.

use http::request::Parts;
use http::{HeaderMap, Method, Version};

use super::listener::Line;

/// One of the three SP-API regions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Region {
    /// North America.
    Na,
    /// Europe, with the Middle East, Africa and India.
    Eu,
    /// Far East.
    Fe,
}

impl Region {
    /// `na`, `eu` or `fe`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "na" => Some(Self::Na),
            "eu" => Some(Self::Eu),
            "fe" => Some(Self::Fe),
            _ => None,
        }
    }
}

/// Which of Amazon's services a host name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Station {
    /// An SP-API endpoint; no region where the sandbox was called by a loopback name.
    SpApi {
        region: Option<Region>,
        sandbox: bool,
    },
    /// Login with Amazon.
    Lwa,
    /// A bucket with documents.
    Documents,
    /// Seller Central or Vendor Central.
    Central,
    /// A name that is none of Amazon's.
    Elsewhere,
}

impl Station {
    /// A loopback name stands for whichever service the path belongs to.
    pub(super) fn of(host: &str, path: &str) -> Self {
        let sp_api = |region, sandbox| Self::SpApi {
            region: Some(region),
            sandbox,
        };
        match host {
            "sellingpartnerapi-na.amazon.com" => sp_api(Region::Na, false),
            "sellingpartnerapi-eu.amazon.com" => sp_api(Region::Eu, false),
            "sellingpartnerapi-fe.amazon.com" => sp_api(Region::Fe, false),
            "sandbox.sellingpartnerapi-na.amazon.com" => sp_api(Region::Na, true),
            "sandbox.sellingpartnerapi-eu.amazon.com" => sp_api(Region::Eu, true),
            "sandbox.sellingpartnerapi-fe.amazon.com" => sp_api(Region::Fe, true),
            "api.amazon.com" | "api.amazon.co.uk" | "api.amazon.co.jp" => Self::Lwa,
            "localhost" | "127.0.0.1" | "[::1]" => Self::of_path(path),
            other if other.starts_with("sellercentral") || other.starts_with("vendorcentral") => {
                Self::Central
            }
            other if other.ends_with(".amazonaws.com") || other.ends_with(".cloudfront.net") => {
                Self::Documents
            }
            _ => Self::Elsewhere,
        }
    }

    fn of_path(path: &str) -> Self {
        if path.starts_with("/auth/") {
            Self::Lwa
        } else if path.starts_with("/apps/authorize/") {
            Self::Central
        } else if path.starts_with("/doc/") {
            Self::Documents
        } else {
            Self::SpApi {
                region: None,
                sandbox: false,
            }
        }
    }
}

/// A request's head.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) host: String,
    pub(super) station: Station,
    /// Path and query, to the byte.
    pub(super) target: String,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) sni: Option<String>,
    /// Which connection of this sandbox, from 1.
    pub(super) connection: u64,
}

impl Call {
    /// Takes a request's head. A host that is missing, repeated or contradicted is left empty.
    pub(super) fn read(parts: Parts, line: &Line) -> Self {
        let target = parts
            .uri
            .path_and_query()
            .map_or_else(|| parts.uri.to_string(), ToString::to_string);
        let host = host_of(&parts).unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        let station = Station::of(&host, path);
        Self {
            method: parts.method,
            host,
            station,
            target,
            version: parts.version,
            headers: parts.headers,
            sni: line.sni.clone(),
            connection: line.number,
        }
    }

    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(super) fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The decoded value of one query parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        self.parameters()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    pub(super) fn parameters(&self) -> impl Iterator<Item = (String, String)> + '_ {
        url::form_urlencoded::parse(self.query().as_bytes())
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the certificate's name is the one asked for. A client that dials `localhost` may ask for any host.
    pub(super) fn sni_agrees(&self) -> bool {
        self.sni
            .as_deref()
            .is_none_or(|sni| sni == self.host || sni == "localhost")
    }
}

fn host_of(parts: &Parts) -> Option<String> {
    let mut fields = parts.headers.get_all(http::header::HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (Some(one), None) => Some(bare(one.to_str().ok()?)),
        (None, _) => None,
        (Some(_), Some(_)) => return None,
    };
    let authority = parts
        .uri
        .authority()
        .map(|authority| bare(authority.as_str()));
    match (authority, field) {
        (Some(authority), Some(field)) if authority != field => None,
        (Some(host), _) | (None, Some(host)) => Some(host),
        (None, None) => None,
    }
}

/// The host without its port, in lower case.
fn bare(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    host.to_ascii_lowercase()
}

/// Marketplaces and their regions.
pub(super) const MARKETPLACES: [(&str, Region); 23] = [
    ("A2EUQ1WTGCTBG2", Region::Na),
    ("ATVPDKIKX0DER", Region::Na),
    ("A1AM78C64UM0Y8", Region::Na),
    ("A2Q3Y263D00KWC", Region::Na),
    ("A28R8C7NBKEWEA", Region::Eu),
    ("A1RKKUPIHCS9HS", Region::Eu),
    ("A1F83G8C2ARO7P", Region::Eu),
    ("A13V1IB3VIYZZH", Region::Eu),
    ("AMEN7PMS3EDWL", Region::Eu),
    ("A1805IZSGTT6HS", Region::Eu),
    ("A1PA6795UKMFR9", Region::Eu),
    ("APJ6JRA9NG5V4", Region::Eu),
    ("A2NODRKZP88ZB9", Region::Eu),
    ("AE08WJ6YKNBMC", Region::Eu),
    ("A1C3SOZRARQ6R3", Region::Eu),
    ("ARBP9OOSHTCHU", Region::Eu),
    ("A33AVAJ2PDY3EV", Region::Eu),
    ("A17E79C6D8DWNP", Region::Eu),
    ("A2VIGQ35RCS4UG", Region::Eu),
    ("A21TJRUUN4KGV", Region::Eu),
    ("A19VAU5U5O7RUS", Region::Fe),
    ("A39IBJ37TRP1C6", Region::Fe),
    ("A1VC38T7YXB528", Region::Fe),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_stands_for_one_service_and_a_loopback_name_for_that_of_the_path() {
        for (host, path, want) in [
            ("api.amazon.com", "/auth/o2/token", Station::Lwa),
            ("127.0.0.1", "/auth/o2/token", Station::Lwa),
            ("localhost", "/doc/x", Station::Documents),
            ("b.s3.amazonaws.com", "/doc/x", Station::Documents),
            ("example.com", "/", Station::Elsewhere),
            (
                "sandbox.sellingpartnerapi-fe.amazon.com",
                "/",
                Station::SpApi {
                    region: Some(Region::Fe),
                    sandbox: true,
                },
            ),
        ] {
            assert_eq!(Station::of(host, path), want, "{host}{path}");
        }
    }
}
