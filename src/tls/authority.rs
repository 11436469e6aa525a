//! Our certificate authority: a root that apps trust, and one intermediate that signs leaves.
//!
//! Job: make or reopen the pair, and mint a leaf for one host at a time.
//! Invariants: the root's key signs the intermediate and is dropped before [`CertificateAuthority::open`] returns
//! (aws-lc wipes it); the intermediate may sign for the intercepted hosts and what is below them, for no IP address and
//! for servers alone, as Java honours such limits on an intermediate and not on a root; a leaf names exactly one host.
//! Failure mode: [`AuthorityError`]. A key file that others can read, or that is not what we wrote, is refused and
//! never overwritten.
//! Sources: RFC 5280 sections 4.1.2 and 4.2.1; RFC 7093 for key identifiers; RFC 6761 section 6.4 for `invalid`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use rcgen::BasicConstraints;
use rcgen::CidrSubnet;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::GeneralSubtree;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyUsagePurpose;
use rcgen::NameConstraints;
use rcgen::SanType;
use rustls::pki_types::CertificateDer;

use super::certificate;
use super::certificate::Limits;
use super::certificate::ROOT_NAME;
use super::certificate::params;
use super::key::P256Key;
use super::key_file;
use super::key_file::Kept;
use super::truststore;
use crate::config::CaMode;
use crate::config::Interception;
use crate::name::HostName;

mod error;

pub use error::AuthorityError;

/// How far certificates are dated back: a container whose clock runs behind ours by a few minutes must not see a
/// certificate from its future.
const DATED_BACK: Duration = Duration::from_mins(5);

/// Longest life of an authority. Anything longer is a slip of the pen, and would run into the end of X.509's calendar.
const LONGEST_LIFE: Duration = Duration::from_hours(24 * 3650);

/// Longest common name that X.509 allows (RFC 5280 appendix A, ub-common-name).
const LONGEST_COMMON_NAME: usize = 64;

/// A root's certificate, and an intermediate with its key.
pub struct CertificateAuthority {
    root: CertificateDer<'static>,
    intermediate: CertificateDer<'static>,
    issuer: Issuer<'static, P256Key>,
    names: Vec<HostName>,
    leaf_valid_for: Duration,
    not_before: SystemTime,
    not_after: SystemTime,
    opened: Opened,
}

/// How an authority came to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opened {
    /// It was in its key file: apps trust it already.
    Reused,
    /// There was none before, or none is kept.
    Created,
    /// There was one, and it no longer served: apps have to trust the new root.
    Replaced(Replacement),
}

/// Why a kept authority was replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replacement {
    /// The intercepted hosts are no longer the ones that it is constrained to.
    Hosts,
    /// Less than a third of `valid_for` is left of it, or more than `valid_for`.
    Life,
}

impl fmt::Display for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hosts => "the intercepted hosts have changed",
            Self::Life => "what was left of its life no longer fits valid_for",
        })
    }
}

/// A certificate for one host, and its key.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The leaf and the intermediate, in the order in which they are sent.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's own key.
    pub key: Arc<dyn rustls::sign::SigningKey>,
    /// From when on the leaf is valid.
    pub not_before: SystemTime,
    /// Until when the leaf is valid.
    pub not_after: SystemTime,
}

impl CertificateAuthority {
    /// Makes an authority for `names`, or, in mode `file`, reopens the one that is kept. [`Self::opened`] says which.
    ///
    /// # Errors
    /// When a key or certificate cannot be made, or the key file cannot be read, trusted or written.
    pub fn open(
        interception: &Interception,
        names: &[HostName],
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let names = constraints(names);
        let valid_for = interception.valid_for.min(LONGEST_LIFE);
        let leaf_valid_for = interception.leaf_valid_for;
        let path = match &interception.mode {
            CaMode::Ephemeral => return Self::create(names, valid_for, leaf_valid_for, now),
            CaMode::File(path) => path,
        };
        let opened = match key_file::read(path)? {
            None => Opened::Created,
            Some(kept) => {
                let kept = Self::from_kept(path, kept, leaf_valid_for)?;
                match kept.outlived(&names, valid_for, now) {
                    None => {
                        kept.prove(path, now)?;
                        return Ok(kept);
                    }
                    Some(why) => Opened::Replaced(why),
                }
            }
        };
        let authority = Self {
            opened,
            ..Self::create(names, valid_for, leaf_valid_for, now)?
        };
        key_file::write(
            path,
            authority.issuer.key(),
            &authority.intermediate,
            &authority.root,
        )?;
        Ok(authority)
    }

    fn create(
        names: Vec<HostName>,
        valid_for: Duration,
        leaf_valid_for: Duration,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let (not_before, not_after) = (now - DATED_BACK, now + valid_for);
        let id = certificate::short_id()?;

        let root_key = P256Key::make()?;
        let mut root = params(&format!("{ROOT_NAME}{id}"), not_before, not_after)?;
        root.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        root.use_authority_key_identifier_extension = false;
        let root_certificate = root.self_signed(&root_key)?;
        let root_issuer = Issuer::from_params(&root, root_key);

        let key = P256Key::make()?;
        let mut intermediate = params(
            &format!("spapi-sidecar intermediate {id}"),
            not_before,
            not_after,
        )?;
        intermediate.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        intermediate.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        intermediate.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        intermediate.name_constraints = Some(NameConstraints {
            permitted_subtrees: names
                .iter()
                .map(|name| GeneralSubtree::DnsName(name.as_str().to_owned()))
                .collect(),
            excluded_subtrees: vec![
                GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([0; 4], 0)),
                GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix([0; 16], 0)),
            ],
        });
        let intermediate = intermediate.signed_by(&key, &root_issuer)?;
        drop(root_issuer); // and with it the root's key, which nothing else holds

        Ok(Self {
            root: root_certificate.der().clone(),
            issuer: Issuer::from_ca_cert_der(intermediate.der(), key)?,
            intermediate: intermediate.der().clone(),
            names,
            leaf_valid_for,
            not_before,
            not_after,
            opened: Opened::Created,
        })
    }

    fn from_kept(
        path: &Path,
        kept: Kept,
        leaf_valid_for: Duration,
    ) -> Result<Self, AuthorityError> {
        let unusable = |problem: &str| AuthorityError::Unusable {
            path: path.to_owned(),
            problem: problem.to_owned(),
        };
        let Limits {
            names,
            not_before,
            not_after,
        } = certificate::limits(&kept.intermediate)
            .ok_or_else(|| unusable("its intermediate certificate cannot be read"))?;
        Ok(Self {
            issuer: Issuer::from_ca_cert_der(&kept.intermediate, kept.key)?,
            names,
            not_before,
            not_after,
            leaf_valid_for,
            opened: Opened::Reused,
            root: kept.root,
            intermediate: kept.intermediate,
        })
    }

    fn outlived(
        &self,
        names: &[HostName],
        valid_for: Duration,
        now: SystemTime,
    ) -> Option<Replacement> {
        if self.names != names {
            return Some(Replacement::Hosts);
        }
        let left = self.not_after.duration_since(now).unwrap_or(Duration::ZERO);
        // more than valid_for is left after the operator has shortened it: a key is kept only as long as it asks
        (left < valid_for / 3 || left > valid_for).then_some(Replacement::Life)
    }

    /// Shows that key, intermediate and root belong together: a leaf minted now has to verify.
    fn prove(&self, path: &Path, now: SystemTime) -> Result<(), AuthorityError> {
        let Some(host) = self.names.first() else {
            return Ok(());
        };
        certificate::verify(&self.mint(host, now)?.chain, &self.root, now).map_err(|error| {
            AuthorityError::Unusable {
                path: path.to_owned(),
                problem: format!("its key and certificates do not belong together ({error})"),
            }
        })
    }

    /// Mints a leaf for exactly this host, with a key of its own, so that no two hosts' sessions hang on one key.
    ///
    /// # Errors
    /// When the host is not covered, the authority has expired, or a key or certificate cannot be made.
    pub fn mint(&self, host: &HostName, now: SystemTime) -> Result<Leaf, AuthorityError> {
        if !self.covers(host) {
            return Err(AuthorityError::NotCovered(host.clone()));
        }
        let common_name = if host.as_str().len() <= LONGEST_COMMON_NAME {
            host.as_str()
        } else {
            "spapi-sidecar leaf" // readers go by the subject alternative name alone
        };
        self.sign(
            common_name,
            SanType::DnsName(host.as_str().try_into()?),
            now,
        )
    }

    fn sign(
        &self,
        common_name: &str,
        san: SanType,
        now: SystemTime,
    ) -> Result<Leaf, AuthorityError> {
        if now >= self.not_after {
            return Err(AuthorityError::Expired);
        }
        let not_before = (now - DATED_BACK).max(self.not_before);
        let not_after = (now + self.leaf_valid_for.min(LONGEST_LIFE)).min(self.not_after);
        let key = P256Key::make()?;
        let mut leaf = params(common_name, not_before, not_after)?;
        leaf.subject_alt_names = vec![san];
        leaf.is_ca = IsCa::ExplicitNoCa; // which is also what makes rcgen write the subject key identifier
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = leaf.signed_by(&key, &self.issuer)?;
        Ok(Leaf {
            chain: vec![leaf.der().clone(), self.intermediate.clone()],
            key: Arc::new(key),
            not_before,
            not_after,
        })
    }

    /// Whether the intermediate may sign for the host.
    #[must_use]
    pub fn covers(&self, host: &HostName) -> bool {
        self.names
            .iter()
            .any(|name| host == name || host.is_under(name))
    }

    /// Whether the intermediate is constrained to exactly these names: if not, a new authority is needed.
    #[must_use]
    pub fn is_for(&self, names: &[HostName]) -> bool {
        self.names == constraints(names)
    }

    /// Writes what apps are given: the root, the bundle, and Java's trust store beside the bundle.
    ///
    /// # Errors
    /// When one of the files cannot be written; the error names it.
    pub fn publish(&self, cert_path: &Path, bundle_path: &Path) -> Result<(), AuthorityError> {
        truststore::publish(&self.root, &super::system_roots(), cert_path, bundle_path)
    }

    /// The root's certificate, PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        truststore::pem(&self.root)
    }

    /// The root's certificate, DER.
    #[must_use]
    pub const fn root_der(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// The root's SHA-256, as colon-separated hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        certificate::fingerprint(&self.root)
    }

    /// When root and intermediate expire.
    #[must_use]
    pub const fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// How this authority came to be.
    #[must_use]
    pub const fn opened(&self) -> &Opened {
        &self.opened
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("names", &self.names)
            .field("not_after", &self.not_after)
            .field("opened", &self.opened)
            .finish_non_exhaustive()
    }
}

/// What the intermediate is constrained to. An empty list would permit every name, so it becomes one that no host has.
fn constraints(names: &[HostName]) -> Vec<HostName> {
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    if names.is_empty() {
        names.push(HostName::parse("invalid").expect("a plain label is a host name"));
    }
    names
}

#[cfg(test)]
mod tests;
