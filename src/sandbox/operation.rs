//! The catalog, read a second time on purpose: the stand-in for Amazon must not share the proxy's matcher.
//!
//! Source: `catalog/operations.json`.

use std::collections::HashMap;

use http::Method;
use serde::Deserialize;

/// One operation.
#[derive(Debug, Deserialize)]
pub(super) struct Operation {
    pub(super) api: String,
    pub(super) version: String,
    pub(super) operation_id: String,
    method: String,
    pub(super) path: String,
    pub(super) rate: Option<f64>,
    pub(super) burst: Option<f64>,
    pub(super) restricted: bool,
    pub(super) rdt_when: Option<RdtWhen>,
    rdt_path: Option<String>,
    pub(super) data_elements: Vec<String>,
    pub(super) grantless_scope: Option<String>,
    roles: Option<Vec<String>>,
    audience: Option<String>,
    #[serde(default)]
    greedy: bool,
    /// Roles as slugs; empty where none is needed or none is known.
    #[serde(skip)]
    pub(super) role_slugs: Vec<String>,
}

/// When an RDT is needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RdtWhen {
    Always,
    PiiOnly,
    RestrictedReportTypes,
}

impl Operation {
    pub(super) fn is_vendor(&self) -> bool {
        self.audience.as_deref() == Some("vendor")
    }

    /// Whether an RDT can be asked for the concrete path only.
    pub(super) fn rdt_specific(&self) -> bool {
        self.rdt_path.as_deref() == Some("specific")
    }

    /// The values of the path's parameters, raw.
    pub(super) fn arguments<'a>(&'a self, path: &'a str) -> HashMap<&'a str, &'a str> {
        self.path
            .split('/')
            .zip(path.split('/'))
            .filter_map(|(template, given)| Some((parameter(template)?, given)))
            .collect()
    }
}

/// All operations, by method and number of segments.
#[derive(Debug)]
pub(super) struct Operations {
    rows: Vec<Operation>,
    by_shape: HashMap<(Method, usize), Vec<usize>>,
}

impl Operations {
    /// Reads the catalog that is built in.
    pub(super) fn embedded() -> Result<Self, serde_json::Error> {
        let mut rows: Vec<Operation> =
            serde_json::from_str(include_str!("../catalog/operations.json"))?;
        let mut by_shape: HashMap<_, Vec<usize>> = HashMap::new();
        for (index, row) in rows.iter_mut().enumerate() {
            row.role_slugs = row.roles.iter().flatten().map(|role| slug(role)).collect();
            let method = Method::from_bytes(row.method.as_bytes()).unwrap_or_default();
            let length = row.path.split('/').count();
            by_shape.entry((method, length)).or_default().push(index);
        }
        Ok(Self { rows, by_shape })
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = (Method, &Operation)> {
        let method = |row: &Operation| Method::from_bytes(row.method.as_bytes()).unwrap();
        self.rows.iter().map(move |row| (method(row), row))
    }

    /// The operation that a method and a raw path are; HEAD is as GET.
    pub(super) fn find(&self, method: &Method, path: &str) -> Option<&Operation> {
        let method = as_get(method);
        let shape = (method.clone(), path.split('/').count());
        let exact = self.by_shape.get(&shape).and_then(|candidates| {
            candidates
                .iter()
                .filter_map(|index| self.rows.get(*index))
                .filter(|row| covers(&row.path, path))
                .max_by_key(|row| literals(&row.path))
        });
        exact.or_else(|| {
            self.rows
                .iter()
                .find(|row| row.greedy && row.method == method.as_str() && starts(&row.path, path))
        })
    }

    /// The operation whose template this is, whatever its parameters are called.
    pub(super) fn by_template(&self, method: &Method, template: &str) -> Option<&Operation> {
        self.rows
            .iter()
            .find(|row| row.method == method.as_str() && shape_of(&row.path) == shape_of(template))
    }
}

fn as_get(method: &Method) -> &Method {
    if method == Method::HEAD {
        &Method::GET
    } else {
        method
    }
}

/// Whether a path, concrete or with `{parameters}`, covers a concrete one.
pub(super) fn covers(template: &str, path: &str) -> bool {
    template.split('/').count() == path.split('/').count() && starts(template, path)
}

fn starts(template: &str, path: &str) -> bool {
    let mut given = path.split('/');
    template.split('/').all(|segment| {
        let Some(given) = given.next() else {
            return false;
        };
        segment == given || (parameter(segment).is_some() && !given.is_empty())
    })
}

fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn literals(template: &str) -> usize {
    template
        .split('/')
        .filter(|segment| parameter(segment).is_none())
        .count()
}

fn shape_of(template: &str) -> Vec<&str> {
    template
        .split('/')
        .map(|segment| parameter(segment).map_or(segment, |_| "{}"))
        .collect()
}

/// A role's name as a slug: lower case, `-` for all else, without "(Restricted)".
pub(super) fn slug(role: &str) -> String {
    let name = role.split('(').next().unwrap_or(role).trim();
    name.chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_by_its_own_template_and_by_a_path_made_of_it() {
        let operations = Operations::embedded().unwrap();
        assert_eq!(operations.all().count(), 384);
        for (method, row) in operations.all() {
            let path: Vec<&str> = row
                .path
                .split('/')
                .map(|segment| parameter(segment).map_or(segment, |_| "v%2F1"))
                .collect();
            let path = path.join("/");
            let found = operations.find(&method, &path).unwrap();
            assert_eq!(found.path, row.path);
            assert_eq!(
                operations.by_template(&method, &row.path).unwrap().path,
                row.path
            );
        }
    }

    #[test]
    fn what_is_not_in_the_catalog_is_not_found() {
        let operations = Operations::embedded().unwrap();
        for (method, path) in [
            (Method::GET, "/orders/v0/order"),
            (Method::GET, "/orders/v0/orders/"),
            (Method::DELETE, "/orders/v0/orders"),
            (Method::GET, "/"),
            (Method::GET, "/Orders/v0/orders"),
        ] {
            assert!(operations.find(&method, path).is_none(), "{method} {path}");
        }
        let upload = "/uploads/2020-11-01/uploadDestinations/aplus/2020-11-01/contentDocuments";
        assert!(operations.find(&Method::POST, upload).is_some());
        assert!(
            operations
                .find(&Method::HEAD, "/orders/v0/orders")
                .is_some()
        );
    }

    #[test]
    fn a_role_has_one_slug_in_all_its_spellings() {
        for text in [
            "Direct-to-Consumer Shipping (Restricted)",
            "Direct to Consumer Shipping",
            "direct-to-consumer-shipping",
        ] {
            assert_eq!(slug(text), "direct-to-consumer-shipping");
        }
    }
}
