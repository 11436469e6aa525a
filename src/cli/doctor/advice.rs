//! What to set, for each runtime and library: what `tests/clients` shows to work.

use super::{Finding, Outcome};
use crate::cli::exec::quoted as shell_word;
use crate::cli::exec::variables::{Setting, java_options};

/// How a stack finds its way to the sidecar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// It reads `HTTPS_PROXY`.
    Variable,
    /// JVM properties.
    Properties,
    /// Node's own `https`: nothing before Node 24.
    NodeHttps,
    /// `fetch` of Node before 24: a dispatcher in code.
    Dispatcher,
    /// Nothing that can be set from outside.
    TransparentAlone,
}

/// Where a stack finds its roots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Roots {
    /// A variable that takes the whole bundle.
    Bundle(&'static str),
    /// `NODE_EXTRA_CA_CERTS`.
    Node,
    /// certifi's file, and no variable.
    Certifi,
    /// A JVM's trust store.
    Java,
    /// `curl.cainfo` of php.ini.
    PhpIni,
}

/// What is known of a runtime or library, by the name that its probe gives.
fn known(name: &str) -> (Way, Roots) {
    match name {
        "curl" => (Way::Variable, Roots::Bundle("CURL_CA_BUNDLE")),
        "requests" | "python-amazon-sp-api 1.x" => {
            (Way::Variable, Roots::Bundle("REQUESTS_CA_BUNDLE"))
        }
        "amzn-sp-api" => (Way::TransparentAlone, Roots::Certifi),
        "node" | "amazon-sp-api" | "@amazon-sp-api-release/amazon-sp-api-sdk-js" => {
            (Way::NodeHttps, Roots::Node)
        }
        "fetch (undici)" => (Way::Dispatcher, Roots::Node),
        "@sp-api-sdk" => (Way::Variable, Roots::Node),
        "java" => (Way::Properties, Roots::Java),
        "php" => (Way::Variable, Roots::PhpIni),
        // Python's own, httpx and python-amazon-sp-api 2, Ruby, Go, .NET on Linux
        _ => (Way::Variable, Roots::Bundle("SSL_CERT_FILE")),
    }
}

/// The lines for one finding; none where nothing has to be set.
pub(super) fn of(finding: &Finding, setting: &Setting, transparent: bool) -> Vec<String> {
    let (way, roots) = known(&finding.name);
    match finding.outcome {
        Outcome::Sidecar => Vec::new(),
        Outcome::Login => vec![format!(
            "set HTTPS_PROXY=http://TENANT:KEY@{}; `spapi-sidecar tenant proxy-key TENANT` makes a key",
            setting.proxy
        )],
        Outcome::Plaintext => vec![
            "update axios to 1.16.1 or later, or set `listen.plaintext: upgrade` in proxy.yaml"
                .to_owned(),
        ],
        Outcome::Untrusted => trust(finding, roots, setting),
        Outcome::Direct | Outcome::Unreachable | Outcome::NotTried => {
            let mut lines = reach(finding, way, setting, transparent);
            lines.extend(trust(finding, roots, setting));
            lines
        }
    }
}

fn reach(finding: &Finding, way: Way, setting: &Setting, transparent: bool) -> Vec<String> {
    let proxy = setting.proxy;
    let by_name = if transparent {
        "point the API's host names at the transparent listener (hosts file, `hostAliases`, or an iptables redirect)"
    } else {
        "set `listen.transparent` in proxy.yaml and point the API's host names at it (hosts file, `hostAliases`, or an iptables redirect); with a hosts file also `upstream.resolver: dns`"
    };
    match way {
        Way::Variable => vec![format!(
            "set HTTPS_PROXY=http://{proxy}, or start it with `spapi-sidecar exec -- CMD`; NO_PROXY must not name the API's hosts"
        )],
        // one variable for both: see `trust`
        Way::Properties => Vec::new(),
        Way::NodeHttps if finding.name == "@amazon-sp-api-release/amazon-sp-api-sdk-js" => {
            vec![by_name.to_owned(), agent(setting)]
        }
        Way::NodeHttps => vec![
            format!("Node 24 and later: set NODE_USE_ENV_PROXY=1 and HTTPS_PROXY=http://{proxy}"),
            format!("Node before 24 reads no proxy variable: {by_name}"),
            agent(setting),
        ],
        Way::Dispatcher => vec![format!(
            "Node 24 and later: set NODE_USE_ENV_PROXY=1 and HTTPS_PROXY=http://{proxy}; before it, in code: `new ProxyAgent(process.env.HTTPS_PROXY)` of undici as dispatcher, or the transparent listener"
        )],
        Way::TransparentAlone => vec![
            format!("its token call honours HTTPS_PROXY and its API calls do not: {by_name}"),
            format!(
                "or in code, before the client is made: Configuration.set_default with proxy=\"http://{proxy}\", ssl_ca_cert=\"{}\" and access_token_cache=None",
                setting.bundle.display()
            ),
        ],
    }
}

fn agent(setting: &Setting) -> String {
    format!(
        "or, on any Node: npm install global-agent, NODE_OPTIONS=\"-r global-agent/bootstrap\" and GLOBAL_AGENT_HTTP_PROXY=http://{}",
        setting.proxy
    )
}

fn trust(finding: &Finding, roots: Roots, setting: &Setting) -> Vec<String> {
    let (bundle, cert) = (setting.bundle.display(), setting.cert.display());
    match roots {
        Roots::Bundle(variable) => vec![format!("set {variable}={bundle}")],
        Roots::Node => vec![format!("set NODE_EXTRA_CA_CERTS={cert}")],
        Roots::Certifi => vec![
            format!(
                "its API calls trust certifi's file alone, and no variable changes that: cat {cert} >> \"$({} -c 'import certifi; print(certifi.where())')\", again after each update of certifi or of the CA (`interception.ca.mode: file` keeps it)",
                finding.program
            ),
            format!("its token call: set REQUESTS_CA_BUNDLE={bundle}"),
        ],
        Roots::Java => vec![format!(
            "a JVM reads neither HTTPS_PROXY nor a PEM file: start it with `spapi-sidecar exec -- CMD`, or set JAVA_TOOL_OPTIONS={} (`exec` and `doctor` keep that trust store up to date)",
            shell_word(&java_options(setting, None))
        )],
        Roots::PhpIni => vec![format!(
            "set curl.cainfo={bundle} and openssl.cafile={bundle} in php.ini, or start PHP with -d curl.cainfo={bundle}"
        )],
    }
}
