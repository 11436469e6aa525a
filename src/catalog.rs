//! SP-API's operations as data.
//!
//! Job: answer which operation a method and a raw path are, and what is known of it.
//! Invariants: read-only, embedded at build time, parsed once, when first needed. Roles are hints
//! with their basis, never enforcement.
//! Failure mode: none; what is not in it is unknown.
//! Source: `catalog/operations.json`, see `catalog/README.md` for provenance and licence.

use std::collections::HashMap;
use std::sync::OnceLock;

mod handed_out;
pub mod nearest;
pub mod report;
mod row;
pub mod tree;

use tree::Tree;

/// One operation of SP-API: a method and a path template.
#[derive(Clone, PartialEq, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent facts of Amazon's, none a state of ours"
)]
pub struct Operation {
    /// Slug of the API, as in `orders`.
    pub api: String,
    /// Version of the API.
    pub version: String,
    /// `operationId` of Amazon's model; not globally unique.
    pub operation_id: String,
    /// Method.
    pub method: http::Method,
    /// Path template, with `{parameters}`.
    pub path: String,
    /// Default usage plan, requests a second.
    pub rate: Option<f64>,
    /// Default usage plan, bucket size.
    pub burst: Option<f64>,
    /// Whether a restricted data token is needed, or changes what comes back.
    pub restricted: bool,
    /// When it is needed.
    pub rdt_when: Option<RdtWhen>,
    /// Whether an RDT may be asked for the concrete path only.
    pub rdt_specific: bool,
    /// What an RDT request may name as `dataElements`.
    pub data_elements: Vec<String>,
    /// The scope of the client-credentials token that the operation takes.
    pub grantless_scope: Option<String>,
    /// Roles of which one is enough; `None` where unknown.
    pub roles: Option<Vec<String>>,
    /// What the roles rest on.
    pub roles_basis: Option<String>,
    /// Whether the last parameter may hold several segments.
    pub greedy: bool,
    /// Whether Amazon has announced its end.
    pub deprecated: bool,
    /// Whether only Amazon's sandbox answers.
    pub sandbox_only: bool,
    /// Whose accounts it is for; `None` where unknown.
    pub audience: Option<Audience>,
}

/// Whose accounts an operation is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Audience {
    /// Sellers'.
    Seller,
    /// Vendors'.
    Vendor,
    /// Both.
    Both,
}

/// When a restricted operation needs its RDT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RdtWhen {
    /// Always.
    Always,
    /// The plain token works, without personal data.
    PiiOnly,
    /// Depends on the report type.
    RestrictedReportTypes,
}

/// All operations.
#[derive(Debug)]
pub struct Catalog {
    operations: Vec<Operation>,
    /// Places in `operations`, by method and template.
    by_path: HashMap<http::Method, Tree<usize>>,
    /// The shapes of all templates, whatever the method.
    shapes: Tree<()>,
}

impl Catalog {
    /// The catalog embedded in this binary; parsed when it is first asked for.
    #[must_use]
    pub fn embedded() -> &'static Self {
        static EMBEDDED: OnceLock<Catalog> = OnceLock::new();
        EMBEDDED.get_or_init(|| {
            let operations = row::parse(include_str!("catalog/operations.json"))
                .expect("the table is part of this binary, and a test parses it");
            Self::of(operations)
        })
    }

    fn of(operations: Vec<Operation>) -> Self {
        let mut by_path: HashMap<http::Method, Tree<usize>> = HashMap::new();
        let mut shapes = Tree::default();
        for (place, operation) in operations.iter().enumerate() {
            let tree = by_path.entry(operation.method.clone()).or_default();
            tree.insert(&operation.path, operation.greedy, place);
            shapes.insert(&operation.path, operation.greedy, ());
        }
        Self {
            operations,
            by_path,
            shapes,
        }
    }

    /// Every operation, in the catalog's order.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The operation that a raw, percent-encoded path is. HEAD is the GET of the same path. Nothing is decoded, and the
    /// path's form (dot segments, empty segments below a greedy parameter) is the policy's business.
    #[must_use]
    pub fn find(&self, method: &http::Method, raw_path: &str) -> Option<&Operation> {
        let place = self.by_path.get(as_get(method))?.find(raw_path)?;
        self.operations.get(*place)
    }

    /// The operation with exactly this template, whatever its parameters are called.
    #[must_use]
    pub fn by_template(&self, method: &http::Method, template: &str) -> Option<&Operation> {
        let place = self.by_path.get(as_get(method))?.by_template(template)?;
        self.operations.get(*place)
    }

    /// Operations with this id.
    pub fn by_id<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Operation> {
        self.operations
            .iter()
            .filter(move |operation| operation.operation_id == id)
    }

    /// For each segment of a path, whether some operation has it as a literal at that place: what may be shown of a path
    /// that nothing matches.
    pub fn literals<'a>(&'a self, raw_path: &'a str) -> impl Iterator<Item = (&'a str, bool)> {
        self.shapes.literals(raw_path)
    }
}

impl Operation {
    /// Whether answers can hold personal data: the restricted operations, and those that hand it out by role alone.
    #[must_use]
    pub fn returns_personal_data(&self) -> bool {
        self.restricted || PERSONAL_BY_ROLE.contains(&(&self.api, &self.version))
    }

    /// The scopes of which one is enough, spelled as `proxy.yaml` spells scopes; empty where unknown or where none is
    /// needed.
    #[must_use]
    pub fn scopes(&self) -> Vec<String> {
        let roles = self.roles.iter().flatten();
        roles.map(|role| scope_of_role(role)).collect()
    }
}

/// APIs without restricted data tokens that return buyers' names and addresses to apps with the role.
const PERSONAL_BY_ROLE: [(&str, &str); 1] = [("orders", "2026-01-01")];

/// GET for HEAD, and every other method as it is.
#[must_use]
pub fn as_get(method: &http::Method) -> &http::Method {
    if method == http::Method::HEAD {
        &http::Method::GET
    } else {
        method
    }
}

/// A role of Amazon's as a scope: `Direct to Consumer Shipping (Restricted)` is `direct-to-consumer-shipping`.
#[must_use]
pub fn scope_of_role(role: &str) -> String {
    let name = role.strip_suffix("(Restricted)").unwrap_or(role);
    let words = name
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

/// Whether a path parameter of this name holds a seller's SKU, in which an encoded slash is data.
#[must_use]
pub fn is_sku_parameter(name: &str) -> bool {
    ["sku", "sellerSku", "SellerSKU", "msku"].contains(&name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn found(method: &str, path: &str) -> Option<&'static str> {
        let method: http::Method = method.parse().unwrap();
        let operation = Catalog::embedded().find(&method, path)?;
        Some(&operation.operation_id)
    }

    #[test]
    fn every_operation_is_found_by_its_own_template_and_by_a_concrete_path() {
        let catalog = Catalog::embedded();
        assert_eq!(catalog.operations().len(), 384);
        for operation in catalog.operations() {
            let renamed = operation.path.replace('{', "{other_");
            let concrete = operation.path.replace('{', "1-").replace('}', "%20x");
            let by_template = catalog.by_template(&operation.method, &renamed);
            assert_eq!(by_template, Some(operation), "{renamed}");
            assert_eq!(
                catalog.find(&operation.method, &concrete),
                Some(operation),
                "{concrete}"
            );
        }
    }

    #[test]
    fn matching_is_on_the_raw_path() {
        for (method, path, want) in [
            ("GET", "/orders/v0/orders", Some("getOrders")),
            ("HEAD", "/orders/v0/orders", Some("getOrders")),
            ("POST", "/orders/v0/orders", None),
            ("GET", "/orders/v0/orders/", None),
            ("GET", "/orders/v0/%6frders", None),
            ("GET", "/Orders/v0/orders", None),
            (
                "GET",
                "/listings/2021-08-01/items/S/a%2Fb",
                Some("getListingsItem"),
            ),
            ("GET", "/listings/2021-08-01/items/S/a/b", None),
            (
                "POST",
                "/uploads/2020-11-01/uploadDestinations/aplus/2020-11-01/contentDocuments",
                Some("createUploadDestinationForResource"),
            ),
        ] {
            assert_eq!(found(method, path), want, "{method} {path}");
        }
    }

    #[test]
    fn every_sku_parameter_of_the_catalog_is_known_as_one() {
        let named: BTreeSet<_> = Catalog::embedded()
            .operations()
            .iter()
            .flat_map(|operation| tree::segments(&operation.path))
            .filter_map(tree::parameter_name)
            .filter(|name| name.to_ascii_lowercase().contains("sku"))
            .collect();
        assert!(!named.is_empty());
        for name in named {
            assert!(is_sku_parameter(name), "{name}");
        }
        assert!(!is_sku_parameter("orderId"));
    }

    #[test]
    fn grantless_restricted_and_personal_are_what_the_table_says() {
        let catalog = Catalog::embedded();
        let count = |test: fn(&Operation) -> bool| {
            let operations = catalog.operations().iter();
            operations.filter(|operation| test(operation)).count()
        };
        assert_eq!(count(|o| o.grantless_scope.is_some()), 9);
        assert_eq!(count(|o| o.restricted), 31);
        assert_eq!(count(|o| o.returns_personal_data()), 33);
        assert_eq!(count(|o| o.rdt_specific), 1);
        assert_eq!(count(|o| o.greedy), 1);
        assert_eq!(catalog.by_id("getReportDocument").count(), 1);
    }

    #[test]
    fn a_role_becomes_the_scope_that_the_file_spells() {
        for (role, want) in [
            (
                "Inventory and Order Tracking",
                "inventory-and-order-tracking",
            ),
            (
                "Direct to Consumer Shipping (Restricted)",
                "direct-to-consumer-shipping",
            ),
            ("Pricing", "pricing"),
        ] {
            assert_eq!(scope_of_role(role), want);
        }
    }
}
