//! `ca show` and `ca export`: the public half of our authority, as `run` has published it.
//!
//! Job: read the files at `interception.ca.cert_path` and `bundle_path` and print them in the asked-for shape.
//! Invariants: the key file is never opened here.
//! Failure mode: a [`Complaint`] that names the file and says that `run` writes it.

use std::fs;
use std::io;
use std::io::IsTerminal as _;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use serde::Serialize;
use x509_parser::prelude::FromDer as _;
use x509_parser::prelude::X509Certificate;

use super::Complaint;
use super::ConfigArg;
use super::Exit;
use crate::config::Interception;
use crate::name::HostName;
use crate::tls::fingerprint;
use crate::tls::truststore;

/// Show or export the public certificate that apps trust, never its key.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Example:\n  spapi-sidecar ca export --format pem > ca.pem")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Command {
    /// Print subject, fingerprint, validity and the hosts that the authority is limited to.
    #[command(after_help = "Example:\n  spapi-sidecar ca show --json")]
    Show {
        #[command(flatten)]
        config: ConfigArg,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write the certificate in the shape that a runtime wants.
    #[command(
        after_help = "Example:\n  spapi-sidecar ca export --format pkcs12 --out truststore.p12"
    )]
    Export {
        #[command(flatten)]
        config: ConfigArg,
        /// pem: the root alone; bundle: with the system's roots; pkcs12: the bundle for Java, password changeit;
        /// jks-instructions: what to type to add it to a Java trust store.
        #[arg(long, value_enum)]
        format: Format,
        /// Write to this file instead of standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    Pem,
    Bundle,
    Pkcs12,
    JksInstructions,
}

/// Runs `ca`.
///
/// # Errors
/// When the configuration or the published files cannot be read, or the output cannot be written.
pub fn run(args: Args) -> Result<Exit, Complaint> {
    match args.command {
        Command::Show { config, json } => {
            let config = super::load(&config.config)?;
            let described = describe(&config.interception.cert_path, &config.intercepted())?;
            let text = if json {
                serde_json::to_string_pretty(&described)
                    .map(|text| text + "\n")
                    .map_err(|error| Complaint::while_doing("ca show", error))?
            } else {
                described.to_text()
            };
            super::print(text)?;
            Ok(Exit::Done)
        }
        Command::Export {
            config,
            format,
            out,
        } => {
            let config = super::load(&config.config)?;
            let bytes = export(&config.interception, format)?;
            match out {
                Some(path) => fs::write(&path, &bytes)
                    .map_err(|error| Complaint::while_doing(&path.display().to_string(), error))
                    .map(|()| Exit::Done),
                None if format == Format::Pkcs12 && io::stdout().is_terminal() => Err(Complaint(
                    "a PKCS #12 file is binary; add --out FILE or redirect the output".to_owned(),
                )),
                None => super::print(bytes).map(|()| Exit::Done),
            }
        }
    }
}

/// What `ca show` says.
#[derive(Serialize, PartialEq, Eq, Debug)]
struct Description {
    subject: String,
    sha256_fingerprint: String,
    not_before: String,
    not_after: String,
    /// The hosts that the intermediate may sign for, with what is below them; it may sign for no IP address.
    constrained_to: Vec<String>,
    path: String,
}

impl Description {
    fn to_text(&self) -> String {
        format!(
            "subject         {}\nSHA-256         {}\nnot before      {}\nnot after       {}\n\
             constrained to  {} (and what is below; no IP address)\npath            {}\n",
            self.subject,
            self.sha256_fingerprint,
            self.not_before,
            self.not_after,
            self.constrained_to.join(", "),
            self.path
        )
    }
}

fn describe(cert_path: &Path, hosts: &[HostName]) -> Result<Description, Complaint> {
    let root = root(cert_path)?;
    let (_, parsed) = X509Certificate::from_der(&root)
        .map_err(|error| Complaint::while_doing(&cert_path.display().to_string(), error))?;
    let validity = parsed.validity();
    Ok(Description {
        subject: parsed.subject().to_string(),
        sha256_fingerprint: fingerprint(&root),
        not_before: rfc3339(validity.not_before.timestamp()),
        not_after: rfc3339(validity.not_after.timestamp()),
        constrained_to: hosts.iter().map(ToString::to_string).collect(),
        path: cert_path.display().to_string(),
    })
}

fn rfc3339(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since).to_string()
}

fn export(interception: &Interception, format: Format) -> Result<Vec<u8>, Complaint> {
    let (cert_path, bundle_path) = (&interception.cert_path, &interception.bundle_path);
    match format {
        Format::Pem => Ok(truststore::pem(&root(cert_path)?).into_bytes()),
        Format::Bundle => fs::read(bundle_path).map_err(|error| unpublished(bundle_path, &error)),
        Format::Pkcs12 => {
            root(cert_path)?; // so that whatever is missing below is the bundle
            truststore::pkcs12_of(cert_path, bundle_path)
                .map_err(|error| unpublished(bundle_path, &error))
        }
        Format::JksInstructions => Ok(jks_instructions(cert_path, bundle_path).into_bytes()),
    }
}

fn root(cert_path: &Path) -> Result<CertificateDer<'static>, Complaint> {
    truststore::read_root(cert_path).map_err(|error| unpublished(cert_path, &error))
}

fn unpublished(path: &Path, error: &io::Error) -> Complaint {
    Complaint(format!(
        "{}: {error}; `spapi-sidecar run` writes it when it starts",
        path.display()
    ))
}

fn jks_instructions(cert_path: &Path, bundle_path: &Path) -> String {
    let cert = cert_path.display();
    let store = truststore::pkcs12_path(bundle_path);
    let store = store.display();
    let password = truststore::JAVA_PASSWORD;
    format!(
        "\
# One JVM, without changing its installation (`spapi-sidecar exec -- CMD` writes the file and sets this):
java -Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStoreType=PKCS12 -Djavax.net.ssl.trustStorePassword={password} …

# An existing JKS or PKCS12 trust store, which then holds this root beside its own:
keytool -importcert -noprompt -alias spapi-sidecar -file {cert} -keystore TRUSTSTORE -storepass {password}

# Every program of a JDK (needs the right to write there):
keytool -importcert -noprompt -alias spapi-sidecar -file {cert} -cacerts -storepass {password}

# Out again, for example before a new root is imported:
keytool -delete -alias spapi-sidecar -cacerts -storepass {password}
"
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::CaMode;
    use crate::tls::authority::CertificateAuthority;

    fn published(folder: &Path) -> (Interception, Vec<HostName>, CertificateAuthority) {
        let interception = Interception {
            mode: CaMode::Ephemeral,
            cert_path: folder.join("ca.pem"),
            bundle_path: folder.join("bundle.pem"),
            valid_for: Duration::from_hours(720),
            leaf_valid_for: Duration::from_hours(24),
        };
        let names = vec![HostName::parse("api.example").unwrap()];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let authority = CertificateAuthority::open(&interception, &names, now).unwrap();
        authority
            .publish(&interception.cert_path, &interception.bundle_path)
            .unwrap();
        (interception, names, authority)
    }

    #[test]
    fn show_describes_the_published_root() {
        let folder = tempfile::tempdir().unwrap();
        let (interception, names, authority) = published(folder.path());
        let described = describe(&interception.cert_path, &names).unwrap();
        assert_eq!(described.sha256_fingerprint, authority.fingerprint());
        assert!(described.subject.starts_with("CN=spapi-sidecar root "));
        assert_eq!(described.not_before, "2027-01-15T07:55:00Z");
        assert_eq!(described.not_after, "2027-02-14T08:00:00Z");
        assert!(described.to_text().contains("api.example"));
    }

    #[test]
    fn every_format_holds_the_root_and_none_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let (interception, _, authority) = published(folder.path());
        for format in [Format::Pem, Format::Bundle] {
            let text = String::from_utf8(export(&interception, format).unwrap()).unwrap();
            assert!(text.contains(&authority.root_pem()), "{format:?}");
            assert!(!text.contains("PRIVATE KEY"), "{format:?}");
        }
        let store = export(&interception, Format::Pkcs12).unwrap();
        let root = authority.root_der();
        assert!(store.windows(root.len()).any(|part| part == root.as_ref()));
    }

    #[test]
    fn an_unpublished_root_is_a_complaint_that_names_run() {
        let missing = Path::new("/nonexistent/ca.pem");
        let complaint = describe(missing, &[]).unwrap_err();
        assert!(complaint.0.contains("/nonexistent/ca.pem"));
        assert!(complaint.0.contains("spapi-sidecar run"));
    }
}
