use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer as _;
use x509_parser::prelude::X509Certificate;

use super::super::test_support::DAY;
use super::super::test_support::host;
use super::super::test_support::interception;
use super::super::test_support::now;
use super::*;

fn authority() -> CertificateAuthority {
    let names = [host("api.example"), host("s3.amazonaws.com")];
    CertificateAuthority::open(&interception(CaMode::Ephemeral), &names, now()).unwrap()
}

fn verify(authority: &CertificateAuthority, leaf: &Leaf) -> Result<(), webpki::Error> {
    certificate::verify(&leaf.chain, authority.root_der(), now())
}

fn parsed<'a>(der: &'a CertificateDer<'_>) -> X509Certificate<'a> {
    X509Certificate::from_der(der).unwrap().1
}

#[test]
fn a_leaf_for_a_permitted_host_or_one_below_it_verifies() {
    let authority = authority();
    for name in [
        "api.example",
        "bucket.s3.amazonaws.com",
        "my_bucket.s3.amazonaws.com",
        &format!("{0}.{0}.s3.amazonaws.com", "a".repeat(60)),
    ] {
        let leaf = authority.mint(&host(name), now()).unwrap();
        assert_eq!(verify(&authority, &leaf), Ok(()), "{name}");
    }
}

#[test]
fn a_host_outside_the_constraints_gets_no_leaf() {
    for name in ["other.example", "xapi.example", "amazonaws.com", "example"] {
        let refused = authority().mint(&host(name), now());
        assert!(
            matches!(refused, Err(AuthorityError::NotCovered(_))),
            "{name}"
        );
    }
}

#[test]
fn a_leaf_outside_the_constraints_does_not_verify_even_when_the_intermediate_signs_it() {
    let authority = authority();
    for san in [
        SanType::DnsName("evil.example".try_into().unwrap()),
        SanType::DnsName("xapi.example".try_into().unwrap()),
        SanType::IpAddress("192.0.2.1".parse().unwrap()),
        SanType::IpAddress("2001:db8::1".parse().unwrap()),
    ] {
        let leaf = authority.sign("x", san.clone(), now()).unwrap();
        assert_eq!(
            verify(&authority, &leaf),
            Err(webpki::Error::NameConstraintViolation),
            "{san:?}"
        );
    }
}

#[test]
fn an_authority_without_hosts_can_sign_for_nobody() {
    let authority =
        CertificateAuthority::open(&interception(CaMode::Ephemeral), &[], now()).unwrap();
    let san = SanType::DnsName("api.example".try_into().unwrap());
    let leaf = authority.sign("x", san, now()).unwrap();
    assert_eq!(
        verify(&authority, &leaf),
        Err(webpki::Error::NameConstraintViolation)
    );
}

#[test]
fn the_intermediate_can_sign_neither_a_further_authority_nor_a_client() {
    let authority = authority();
    let key = P256Key::make().unwrap();
    let mut sub = params("sub", now(), authority.not_after()).unwrap();
    sub.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    sub.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let certificate = sub.signed_by(&key, &authority.issuer).unwrap();
    let issuer = Issuer::from_params(&sub, key);
    let mut leaf = params("x", now(), authority.not_after()).unwrap();
    leaf.subject_alt_names = vec![SanType::DnsName("api.example".try_into().unwrap())];
    let leaf = leaf.signed_by(&P256Key::make().unwrap(), &issuer).unwrap();
    let chain = [
        leaf.der().clone(),
        certificate.der().clone(),
        authority.intermediate.clone(),
    ];
    assert_eq!(
        certificate::verify(&chain, authority.root_der(), now()),
        Err(webpki::Error::PathLenConstraintViolated)
    );
    let intermediate = parsed(&authority.intermediate);
    let usage = intermediate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth && !usage.any && !usage.code_signing);
}

#[test]
fn every_certificate_carries_what_strict_readers_ask_for() {
    let authority = authority();
    let leaf = authority.mint(&host("api.example"), now()).unwrap();
    let root = parsed(authority.root_der());
    let intermediate = parsed(&authority.intermediate);
    let leaf = parsed(&leaf.chain[0]);
    let own = |certificate: &X509Certificate<'_>| {
        certificate.iter_extensions().find_map(|extension| {
            let ParsedExtension::SubjectKeyIdentifier(id) = extension.parsed_extension() else {
                return None;
            };
            Some(id.0.to_vec())
        })
    };
    let issuers = |certificate: &X509Certificate<'_>| {
        certificate.iter_extensions().find_map(|extension| {
            let ParsedExtension::AuthorityKeyIdentifier(id) = extension.parsed_extension() else {
                return None;
            };
            id.key_identifier.as_ref().map(|id| id.0.to_vec())
        })
    };
    for certificate in [&root, &intermediate, &leaf] {
        assert!(own(certificate).is_some());
    }
    assert_eq!(issuers(&leaf), own(&intermediate));
    assert_eq!(issuers(&intermediate), own(&root));
    for (certificate, ca, path_len) in [
        (&root, true, Some(1)),
        (&intermediate, true, Some(0)),
        (&leaf, false, None),
    ] {
        let constraints = certificate.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical);
        assert_eq!(constraints.value.ca, ca);
        assert_eq!(constraints.value.path_len_constraint, path_len);
        assert!(certificate.key_usage().unwrap().unwrap().critical);
    }
    assert!(root.key_usage().unwrap().unwrap().value.key_cert_sign());
    assert!(root.key_usage().unwrap().unwrap().value.crl_sign());
    assert!(intermediate.name_constraints().unwrap().unwrap().critical);
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), 1);
}

#[test]
fn no_two_leaves_share_a_serial_number_or_a_key() {
    let authority = authority();
    let one = authority.mint(&host("api.example"), now()).unwrap();
    let two = authority.mint(&host("api.example"), now()).unwrap();
    let (one, two) = (parsed(&one.chain[0]), parsed(&two.chain[0]));
    assert_ne!(one.raw_serial(), two.raw_serial());
    assert_ne!(one.public_key().raw, two.public_key().raw);
}

#[test]
fn a_leaf_never_outlives_the_authority_and_an_expired_authority_mints_none() {
    let authority = authority();
    let name = host("api.example");
    let end = authority.not_after();
    assert_eq!(end, now() + 30 * DAY);
    let early = authority.mint(&name, now()).unwrap();
    assert_eq!(early.not_after, now() + DAY);
    let late = authority.mint(&name, end - DAY / 2).unwrap();
    assert_eq!(late.not_after, end);
    let over = authority.mint(&name, end);
    assert!(matches!(over, Err(AuthorityError::Expired)));
}

#[test]
fn openssl_accepts_a_leaf_in_strict_mode() {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("SKIPPED openssl_accepts_a_leaf_in_strict_mode: no openssl on this machine");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let authority = authority();
    let leaf = authority.mint(&host("api.example"), now()).unwrap();
    let write = |name: &str, certificate: &CertificateDer<'_>| {
        let path = folder.path().join(name);
        fs::write(&path, truststore::pem(certificate)).unwrap();
        path
    };
    let root = write("root", authority.root_der());
    let intermediate = write("intermediate", &leaf.chain[1]);
    let check = |leaf: &CertificateDer<'_>, purpose: &str| {
        Command::new("openssl")
            .args([
                "verify",
                "-x509_strict",
                "-attime",
                "1800000000",
                "-purpose",
                purpose,
            ])
            .arg("-CAfile")
            .arg(&root)
            .arg("-untrusted")
            .arg(&intermediate)
            .arg(write("leaf", leaf))
            .output()
            .unwrap()
    };
    let verified = check(&leaf.chain[0], "sslserver");
    assert!(verified.status.success(), "{verified:?}");
    assert!(!check(&leaf.chain[0], "sslclient").status.success());
    let san = SanType::DnsName("evil.example".try_into().unwrap());
    let evil = authority.sign("x", san, now()).unwrap();
    let refused = check(&evil.chain[0], "sslserver");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("permitted subtree violation"));
}

mod kept {
    use super::*;

    fn open(
        path: &Path,
        names: &[HostName],
        now: SystemTime,
    ) -> Result<CertificateAuthority, AuthorityError> {
        CertificateAuthority::open(&interception(CaMode::File(path.to_owned())), names, now)
    }

    #[test]
    fn an_authority_is_reused_across_starts_and_its_key_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/ca.key");
        let names = [host("b.example"), host("a.example")];
        let first = open(&path, &names, now()).unwrap();
        assert_eq!(first.opened(), &Opened::Created);
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);

        let again = open(&path, &names, now() + 19 * DAY).unwrap();
        assert_eq!(again.opened(), &Opened::Reused);
        assert_eq!(again.root_der(), first.root_der());
        assert_eq!(again.not_after(), first.not_after());
        let leaf = again.mint(&names[0], now()).unwrap();
        assert_eq!(verify(&first, &leaf), Ok(()));
    }

    #[test]
    fn the_roots_key_is_in_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.key");
        open(&path, &[host("a.example")], now()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("BEGIN PRIVATE KEY").count(), 1);
        let kept = key_file::read(&path).unwrap().unwrap();
        let of_key = rcgen::PublicKeyData::der_bytes(&kept.key).to_vec();
        let of_root = parsed(&kept.root)
            .public_key()
            .subject_public_key
            .data
            .to_vec();
        assert_ne!(of_key, of_root);
    }

    #[test]
    fn an_authority_near_its_end_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.key");
        let names = [host("a.example")];
        let first = open(&path, &names, now()).unwrap();
        for later in [now() + 21 * DAY, now() + 400 * DAY] {
            let next = open(&path, &names, later).unwrap();
            assert_eq!(next.opened(), &Opened::Replaced(Replacement::Life));
            assert_ne!(next.root_der(), first.root_der());
            assert_eq!(
                open(&path, &names, later).unwrap().opened(),
                &Opened::Reused
            );
        }
    }

    #[test]
    fn an_authority_for_other_hosts_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.key");
        open(&path, &[host("a.example")], now()).unwrap();
        let names = [host("a.example"), host("b.example")];
        let next = open(&path, &names, now()).unwrap();
        assert_eq!(next.opened(), &Opened::Replaced(Replacement::Hosts));
        assert!(next.is_for(&names));
        assert!(!next.is_for(&names[..1]));
    }

    #[test]
    fn a_key_is_kept_no_longer_than_a_shortened_valid_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.key");
        let names = [host("a.example")];
        open(&path, &names, now()).unwrap();
        let mut shorter = interception(CaMode::File(path));
        shorter.valid_for = 7 * DAY;
        let next = CertificateAuthority::open(&shorter, &names, now()).unwrap();
        assert_eq!(next.opened(), &Opened::Replaced(Replacement::Life));
        assert_eq!(next.not_after(), now() + 7 * DAY);
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.key");
        let names = [host("a.example")];
        open(&path, &names, now()).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = open(&path, &names, now()).unwrap_err();
            assert!(matches!(refused, AuthorityError::LoosePermissions { .. }));
            assert!(refused.to_string().contains("ca.key"), "{refused}");
        }
    }

    #[test]
    fn a_damaged_key_file_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (
            folder.path().join("ca.key"),
            folder.path().join("other.key"),
        );
        let names = [host("a.example")];
        open(&path, &names, now()).unwrap();
        open(&other, &names, now()).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        let foreign = fs::read_to_string(&other).unwrap();
        let end = "-----END PRIVATE KEY-----\n";
        let key = good.split_inclusive(end).next().unwrap();
        let certificates = foreign.split_once(end).unwrap().1;
        for (bad, problem) in [
            (String::new(), "no private key"),
            (key.to_owned(), "two certificates"),
            (good.replace("KEY-----\nM", "KEY-----\n!"), "base64"),
            (good.replace("KEY-----\nM", "KEY-----\nN"), "P-256"),
            (format!("{key}{certificates}"), "belong together"),
        ] {
            fs::write(&path, &bad).unwrap();
            let refused = open(&path, &names, now()).unwrap_err();
            assert!(refused.to_string().contains(problem), "{refused}");
            assert_eq!(fs::read_to_string(&path).unwrap(), bad);
        }
    }
}
