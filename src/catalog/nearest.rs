//! The operation that was probably meant.
//!
//! Job: for a refusal, the operation whose method and template are closest to what was asked.
//! Invariants: only templates leave here, never a segment of the asked path; bounded work whatever the path's length.
//! Failure mode: `None` where nothing comes close.

use super::tree::{parameter_name, segments};
use super::{Catalog, Operation};

/// More segments than any operation has.
const DEPTH: usize = 16;

impl Catalog {
    /// The operation that a method and a raw path were probably meant to be, for the text of a refusal.
    #[must_use]
    pub fn nearest(&self, method: &http::Method, raw_path: &str) -> Option<&Operation> {
        if let Some(exact) = self.find(method, raw_path) {
            return Some(exact);
        }
        let asked: Vec<_> = segments(raw_path).take(DEPTH).collect();
        let closest = self
            .operations()
            .iter()
            .filter_map(|operation| Some((closeness(operation, method, &asked)?, operation)));
        // the first of equals, so that the answer does not depend on the order of evaluation
        closest
            .rev()
            .max_by_key(|(score, _)| *score)
            .map(|(_, found)| found)
    }
}

/// How much an operation resembles what was asked; `None` where not even the first segment does.
fn closeness(operation: &Operation, method: &http::Method, asked: &[&str]) -> Option<i32> {
    let mut score = i32::from(operation.method == *method);
    let mut template = segments(&operation.path);
    let mut left = asked.iter();
    for place in 0.. {
        match (template.next(), left.next()) {
            (Some(want), Some(have)) => match resemblance(want, have) {
                Some(points) => score += points,
                None if place == 0 => return None,
                None => score -= 4,
            },
            (Some(_), None) if place == 0 => return None,
            (Some(_), None) | (None, Some(_)) => score -= 3,
            (None, None) => break,
        }
    }
    Some(score)
}

fn resemblance(want: &str, have: &str) -> Option<i32> {
    if want == have {
        return Some(4);
    }
    if parameter_name(want).is_some() {
        return Some(1);
    }
    let alike = want.eq_ignore_ascii_case(have)
        || (have.len() >= 4 && (want.starts_with(have) || have.starts_with(want)))
        || is_version(want) && is_version(have);
    alike.then_some(2)
}

fn is_version(segment: &str) -> bool {
    let mut bytes = segment.bytes();
    match bytes.next() {
        Some(b'v') => segment.len() > 1 && bytes.all(|b| b.is_ascii_digit()),
        Some(b'0'..=b'9') => segment.len() == 10 && bytes.all(|b| b.is_ascii_digit() || b == b'-'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_still_finds_what_was_meant() {
        for (method, path, want) in [
            ("GET", "/orders/v0/orders/1-2-3", "getOrder"),
            ("GET", "/orders/v0/Orders", "getOrders"),
            ("GET", "/orders/v0/order", "getOrders"),
            ("GET", "/orders/v0/orders/", "getOrder"),
            ("GET", "/orders/v9/orders/1/address", "getOrderAddress"),
            (
                "PUT",
                "/orders/v0/orders/1/shipment",
                "updateShipmentStatus",
            ),
            (
                "GET",
                "/reports/2020-09-04/documents/1",
                "getReportDocument",
            ),
        ] {
            let method: http::Method = method.parse().unwrap();
            let found = Catalog::embedded().nearest(&method, path);
            let found = found.map(|operation| operation.operation_id.as_str());
            assert_eq!(found, Some(want), "{path}");
        }
    }

    #[test]
    fn what_resembles_nothing_finds_nothing() {
        let get = http::Method::GET;
        for path in ["/", "/admin", "/nothing/of/the/kind"] {
            assert_eq!(Catalog::embedded().nearest(&get, path), None, "{path}");
        }
    }
}
