//! Why an authority is not to be had: what and where, and what to do; never a byte of a key.

use std::path::PathBuf;

use crate::name::HostName;
use crate::tls::key::KeyError;

/// Why the authority, or a leaf of it, is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The system's randomness or aws-lc failed.
    #[error("the authority's key could not be made or read")]
    Key,
    /// rcgen could not write a certificate.
    #[error("a certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// rustls did not take what we made.
    #[error("the leaf could not be put to use: {0}")]
    Tls(#[from] rustls::Error),
    /// A file could not be read or written.
    #[error("{}: {error}; {remedy}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
        /// What to do about it.
        remedy: &'static str,
    },
    /// Others than its owner can read the key file.
    #[error("{}: mode {mode:03o} lets others at the authority's key; run `chmod 600` on it, or delete it to have a new authority made", path.display())]
    LoosePermissions {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file does not hold what we write into it.
    #[error("{}: {problem}; delete it to have a new authority made, which apps then have to trust", path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A leaf was asked for a host that the intermediate may not sign for.
    #[error("{0} is not one of the intercepted hosts")]
    NotCovered(HostName),
    /// The authority's own time is over.
    #[error("the authority has expired; restart the sidecar to have a new one made")]
    Expired,
}

impl From<KeyError> for AuthorityError {
    fn from(KeyError: KeyError) -> Self {
        Self::Key
    }
}
