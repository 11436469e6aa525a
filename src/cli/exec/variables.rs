//! The list of variables that send a program through a sidecar and make it trust its root.
//!
//! Job: [`Setting`] from a configuration, and [`Setting::variables`] from it.
//! Invariants: paths are absolute, as the program may change its folder; what is set already is added to where it
//! would otherwise be lost, and never leads an intercepted host past the sidecar.
//! Failure mode: a [`Complaint`] when there is no listener to name.
//! Sources: the manuals of curl, requests, Node, the AWS SDKs, git, Deno and the JDK for what each variable means.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

use crate::cli::Complaint;
use crate::config::Config;
use crate::config::ProxyAuth;
use crate::name::HostName;
use crate::tls::truststore;

const PROXY_NAMES: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];

/// What the variables are made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Where the sidecar's first proxy listener is reached from this machine.
    pub proxy: SocketAddr,
    /// Whether it serves nobody without a login.
    pub login_required: bool,
    /// The published root.
    pub cert: PathBuf,
    /// The published bundle.
    pub bundle: PathBuf,
    /// The hosts that must not go past the sidecar.
    pub intercepted: Vec<HostName>,
}

impl Setting {
    /// Takes what is needed from a configuration.
    ///
    /// # Errors
    /// When `listen.proxy` is empty, or a path cannot be made absolute.
    pub fn of(config: &Config) -> Result<Self, Complaint> {
        let listener = config.listen.proxy.first().ok_or_else(|| {
            Complaint(
                "listen.proxy is empty; write an address there, as in [\"127.0.0.1:3128\"]"
                    .to_owned(),
            )
        })?;
        let absolute = |path: &Path| {
            std::path::absolute(path)
                .map_err(|error| Complaint::while_doing(&path.display().to_string(), error))
        };
        Ok(Self {
            proxy: dialled(*listener),
            login_required: config.listen.proxy_auth == ProxyAuth::Required,
            cert: absolute(&config.interception.cert_path)?,
            bundle: absolute(&config.interception.bundle_path)?,
            intercepted: config.intercepted(),
        })
    }

    /// Every variable and its value. `existing` looks up what is set already.
    #[must_use]
    pub fn variables(
        &self,
        existing: &dyn Fn(&str) -> Option<String>,
    ) -> Vec<(&'static str, String)> {
        let bundle = self.bundle.display().to_string();
        let mut variables = Vec::new();
        let login = PROXY_NAMES
            .into_iter()
            .filter_map(existing)
            .find(|url| is_login_to(url, self.proxy));
        let url = login.unwrap_or_else(|| format!("http://{}", self.proxy));
        // both spellings: programs differ in which of the two they read
        for name in PROXY_NAMES {
            variables.push((name, url.clone()));
        }
        let no_proxy = no_proxy(&self.intercepted, existing);
        variables.push(("NO_PROXY", no_proxy.clone()));
        variables.push(("no_proxy", no_proxy));
        // these take the place of the runtime's own roots, so they get them all
        for name in [
            "SSL_CERT_FILE",
            "CURL_CA_BUNDLE",
            "REQUESTS_CA_BUNDLE",
            "AWS_CA_BUNDLE",
            "GIT_SSL_CAINFO",
            "DENO_CERT",
        ] {
            variables.push((name, bundle.clone()));
        }
        // this one adds to them
        variables.push(("NODE_EXTRA_CA_CERTS", self.cert.display().to_string()));
        variables.push((
            "JAVA_TOOL_OPTIONS",
            java_options(self, existing("JAVA_TOOL_OPTIONS")),
        ));
        variables
    }

    /// Whether a variable of the list holds a login to this proxy.
    #[must_use]
    pub fn is_login(&self, name: &str, value: &str) -> bool {
        PROXY_NAMES.contains(&name) && is_login_to(value, self.proxy)
    }
}

/// The address under which a listener is reached from the same machine.
fn dialled(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listener.port())
}

/// Whether a proxy URL names our listener and holds a login.
fn is_login_to(url: &str, proxy: SocketAddr) -> bool {
    url::Url::parse(url).is_ok_and(|url| {
        let host = url.host_str().unwrap_or_default();
        let same_host = host.trim_matches(['[', ']']) == proxy.ip().to_string()
            || (host == "localhost" && proxy.ip().is_loopback());
        same_host && url.port_or_known_default() == Some(proxy.port()) && !url.username().is_empty()
    })
}

/// Loopback, and what the caller has excepted already, without entries that would lead an intercepted host past us.
fn no_proxy(intercepted: &[HostName], existing: &dyn Fn(&str) -> Option<String>) -> String {
    let mut entries = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    for list in ["NO_PROXY", "no_proxy"].into_iter().filter_map(existing) {
        for entry in list.split(',').map(str::trim) {
            let leads_past = intercepted.iter().any(|host| excepts(entry, host));
            if !entry.is_empty() && !leads_past && !entries.iter().any(|known| known == entry) {
                entries.push(entry.to_owned());
            }
        }
    }
    entries.join(",")
}

/// Whether some reader of `NO_PROXY` would take the entry to mean the host, or a host below it.
fn excepts(entry: &str, host: &HostName) -> bool {
    let bare = entry
        .rsplit_once(':')
        .map_or(entry, |(name, _port)| name)
        .trim_start_matches(['*', '.'])
        .to_ascii_lowercase();
    if bare.is_empty() {
        return entry.contains('*');
    }
    let host = host.as_str();
    host.ends_with(&bare) || bare.ends_with(&format!(".{host}"))
}

/// A JVM reads no `HTTPS_PROXY` and no PEM bundle; it is told by properties.
pub(in crate::cli) fn java_options(setting: &Setting, existing: Option<String>) -> String {
    let store = truststore::pkcs12_path(&setting.bundle);
    let ours = [
        format!("-Dhttps.proxyHost={}", setting.proxy.ip()),
        format!("-Dhttps.proxyPort={}", setting.proxy.port()),
        format!("-Djavax.net.ssl.trustStore={}", store.display()),
        "-Djavax.net.ssl.trustStoreType=PKCS12".to_owned(),
        format!(
            "-Djavax.net.ssl.trustStorePassword={}",
            truststore::JAVA_PASSWORD
        ),
    ];
    // the JVM splits at white space and takes quotes away
    let ours = ours.map(|option| {
        if option.contains(char::is_whitespace) {
            format!("\"{option}\"")
        } else {
            option
        }
    });
    let existing = existing.filter(|options| !options.trim().is_empty());
    existing
        .into_iter()
        .chain(ours)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting() -> Setting {
        Setting {
            proxy: "127.0.0.1:3128".parse().unwrap(),
            login_required: false,
            cert: "/run/s/ca.pem".into(),
            bundle: "/run/s/ca-bundle.pem".into(),
            intercepted: vec![HostName::parse("api.amazon.com").unwrap()],
        }
    }

    fn value(name: &str, existing: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        setting()
            .variables(existing)
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    #[test]
    fn the_list_is_the_contracts() {
        for (name, want) in [
            ("HTTPS_PROXY", "http://127.0.0.1:3128"),
            ("https_proxy", "http://127.0.0.1:3128"),
            ("NO_PROXY", "localhost,127.0.0.1,::1"),
            ("no_proxy", "localhost,127.0.0.1,::1"),
            ("SSL_CERT_FILE", "/run/s/ca-bundle.pem"),
            ("CURL_CA_BUNDLE", "/run/s/ca-bundle.pem"),
            ("REQUESTS_CA_BUNDLE", "/run/s/ca-bundle.pem"),
            ("NODE_EXTRA_CA_CERTS", "/run/s/ca.pem"),
            ("AWS_CA_BUNDLE", "/run/s/ca-bundle.pem"),
            ("GIT_SSL_CAINFO", "/run/s/ca-bundle.pem"),
            ("DENO_CERT", "/run/s/ca-bundle.pem"),
            (
                "JAVA_TOOL_OPTIONS",
                "-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=3128 \
                 -Djavax.net.ssl.trustStore=/run/s/ca-bundle.p12 -Djavax.net.ssl.trustStoreType=PKCS12 \
                 -Djavax.net.ssl.trustStorePassword=changeit",
            ),
        ] {
            assert_eq!(value(name, &|_| None).as_deref(), Some(want), "{name}");
        }
    }

    #[test]
    fn an_unspecified_listener_is_dialled_on_loopback() {
        for (listener, want) in [
            ("0.0.0.0:3128", "127.0.0.1:3128"),
            ("[::]:3128", "[::1]:3128"),
            ("10.0.0.7:3128", "10.0.0.7:3128"),
        ] {
            assert_eq!(dialled(listener.parse().unwrap()).to_string(), want);
        }
    }

    #[test]
    fn java_options_are_added_to_the_ones_there_are() {
        let existing = |name: &str| (name == "JAVA_TOOL_OPTIONS").then(|| "-Xmx1g".to_owned());
        let options = value("JAVA_TOOL_OPTIONS", &existing).unwrap();
        assert!(
            options.starts_with("-Xmx1g -Dhttps.proxyHost="),
            "{options}"
        );
    }

    #[test]
    fn an_option_with_a_space_is_quoted_for_the_jvm() {
        let setting = Setting {
            bundle: "/run/my apps/b.pem".into(),
            ..setting()
        };
        assert!(
            java_options(&setting, None)
                .contains("\"-Djavax.net.ssl.trustStore=/run/my apps/b.p12\"")
        );
    }

    #[test]
    fn an_exception_that_would_lead_an_intercepted_host_past_us_is_dropped() {
        for (entry, excepted) in [
            ("*", true),
            ("api.amazon.com", true),
            (".amazon.com", true),
            ("*.amazon.com", true),
            ("AMAZON.com", true),
            ("com", true),
            ("api.amazon.com:443", true),
            ("eu.api.amazon.com", true),
            ("10.0.0.0/8", false),
            (".svc.cluster.local", false),
            ("vault.internal", false),
            ("::1", false),
        ] {
            let existing = |name: &str| (name == "NO_PROXY").then(|| entry.to_owned());
            let value = value("NO_PROXY", &existing).unwrap();
            let kept = value.split(',').any(|known| known == entry);
            assert_eq!(kept, !excepted, "{entry}: {value}");
        }
    }

    #[test]
    fn a_login_to_this_proxy_that_is_set_already_is_kept() {
        let login = |name: &str| {
            (name == "https_proxy").then(|| "http://acme:key@127.0.0.1:3128".to_owned())
        };
        let elsewhere = |_: &str| Some("http://acme:key@10.0.0.1:3128".to_owned());
        for name in PROXY_NAMES {
            assert_eq!(
                value(name, &login).as_deref(),
                Some("http://acme:key@127.0.0.1:3128")
            );
            assert_eq!(
                value(name, &elsewhere).as_deref(),
                Some("http://127.0.0.1:3128")
            );
        }
    }
}
