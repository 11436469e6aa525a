//! The kinds of scalars that the file holds: quantities, closed lists of words, days, paths and names.
//!
//! Job: text to value, with bounds; each kind also states its JSON Schema.
//! Invariants: no foreign parser's message reaches a fault, since it might quote what came from the environment.
//! Failure mode: faults that say what to write.

use super::error::Fault;
use super::read::mistyped;
use super::tree::{Content, Node, Scalar};

mod day;
mod name;
mod quantity;
mod word;

pub(in crate::config) use day::DAY;
pub(in crate::config) use name::{
    APP_ID, SOCKET, TENANT_ID, authority, authority_schema, host_name, host_name_schema,
};
pub(in crate::config) use quantity::{Count, Percent, Port, Size, Span, days, seconds};
pub(in crate::config) use word::{OneOf, PATH, Truth, WORDS};

/// The scalar of a node, of whatever type, unless it is null.
fn bare<'a>(
    node: &'a Node,
    path: &str,
    faults: &mut Vec<Fault>,
    wanted: &str,
) -> Option<&'a Scalar> {
    match &node.content {
        Content::Broken => None,
        Content::Scalar(scalar) if !scalar.is_null() => Some(scalar),
        Content::Scalar(_) | Content::List(_) | Content::Mapping(_) => {
            faults.push(mistyped(node, path, wanted));
            None
        }
    }
}
