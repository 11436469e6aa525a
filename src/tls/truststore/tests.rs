use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use super::super::authority::CertificateAuthority;
use super::super::test_support::host;
use super::super::test_support::interception;
use super::super::test_support::now;
use super::*;
use crate::config::CaMode;

fn authority() -> CertificateAuthority {
    let names = [host("api.example")];
    CertificateAuthority::open(&interception(CaMode::Ephemeral), &names, now()).unwrap()
}

/// Three files below a folder that does not exist yet, with two other authorities for system roots.
fn published(folder: &Path) -> (CertificateAuthority, PathBuf, PathBuf) {
    let (ours, system) = (authority(), [authority(), authority()]);
    let system = system.map(|other| other.root_der().clone());
    let (cert, bundle) = (folder.join("a/ca.pem"), folder.join("b/bundle.pem"));
    publish(ours.root_der(), &system, &cert, &bundle).unwrap();
    (ours, cert, bundle)
}

#[test]
fn root_bundle_and_store_are_written_for_all_to_read() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, cert, bundle) = published(folder.path());
    assert_eq!(fs::read_to_string(&cert).unwrap(), ours.root_pem());
    let all = read_certificates(&bundle).unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(all.last(), Some(ours.root_der()));
    for path in [&cert, &bundle, &pkcs12_path(&bundle)] {
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o644, "{}", path.display());
    }
}

#[test]
fn javas_store_never_lies_on_the_bundle() {
    for (bundle, store) in [
        ("/run/ca-bundle.pem", "/run/ca-bundle.p12"),
        ("/run/bundle", "/run/bundle.p12"),
        ("/run/bundle.p12", "/run/bundle.java.p12"),
    ] {
        assert_eq!(pkcs12_path(Path::new(bundle)), Path::new(store));
    }
}

#[test]
fn a_path_that_cannot_be_written_is_named_with_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    let good = folder.path().join("good.pem");
    let bad = blocked.join("bad.pem");
    for (cert, bundle, setting) in [
        (&bad, &good, "interception.ca.cert_path"),
        (&good, &bad, "interception.ca.bundle_path"),
    ] {
        let error = authority().publish(cert, bundle).unwrap_err().to_string();
        assert!(
            error.contains("bad.pem") && error.contains(setting),
            "{error}"
        );
    }
}

#[test]
fn javas_store_is_written_again_only_where_it_is_missing_or_old() {
    let folder = tempfile::tempdir().unwrap();
    let (_, cert, bundle) = published(folder.path());
    let path = pkcs12_path(&bundle);
    let original = fs::read(&path).unwrap();

    fs::write(&path, "newer").unwrap();
    refresh_pkcs12(&cert, &bundle).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"newer");

    let past = fs::metadata(&bundle).unwrap().modified().unwrap() - Duration::from_secs(60);
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(past).unwrap();
    refresh_pkcs12(&cert, &bundle).unwrap();
    assert_eq!(fs::read(&path).unwrap(), original);

    fs::remove_file(&path).unwrap();
    refresh_pkcs12(&cert, &bundle).unwrap();
    assert_eq!(fs::read(&path).unwrap(), original);
}

#[test]
fn keytool_lists_every_certificate_as_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, _, bundle) = published(folder.path());
    let listed = Command::new("keytool")
        .args([
            "-list",
            "-storetype",
            "PKCS12",
            "-storepass",
            JAVA_PASSWORD,
            "-keystore",
        ])
        .arg(pkcs12_path(&bundle))
        .env_remove("JAVA_TOOL_OPTIONS")
        .output();
    let Ok(listed) = listed else {
        eprintln!("SKIPPED keytool_lists_every_certificate_as_trusted: no keytool on this machine");
        return;
    };
    let text = String::from_utf8_lossy(&listed.stdout);
    assert!(listed.status.success(), "{listed:?}");
    assert_eq!(text.matches("trustedCertEntry").count(), 3, "{text}");
    assert!(text.contains("spapi-sidecar,"), "{text}");
    assert!(text.contains(&ours.fingerprint()), "{text}");
}
