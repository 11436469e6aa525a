//! To be written.

use super::Config;
use super::error::Faults;

/// To be written.
pub(super) fn parse(
    _file: &str,
    _text: &str,
    _env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Faults> {
    unimplemented!()
}
