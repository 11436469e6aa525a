//! SP-API's operations as data.
//!
//! Job: answer which operation a method and a raw path are, and what is known of it.
//! Invariants: read-only, embedded at build time, parsed once. Roles are hints with their basis, never enforcement.
//! Failure mode: none; what is not in it is unknown.
//! Source: `catalog/operations.json`, see `catalog/README.md` for provenance and licence.

/// One operation of SP-API: a method and a path template.
#[derive(Clone, PartialEq, Debug)]
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
}

impl Catalog {
    /// The catalog embedded in this binary.
    #[must_use]
    pub fn embedded() -> &'static Self {
        unimplemented!()
    }

    /// Every operation, in the catalog's order.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The operation that a raw, percent-encoded path is.
    #[must_use]
    pub fn find(&self, _method: &http::Method, _raw_path: &str) -> Option<&Operation> {
        unimplemented!()
    }

    /// The operation with exactly this template, whatever its parameters are called.
    #[must_use]
    pub fn by_template(&self, _method: &http::Method, _template: &str) -> Option<&Operation> {
        unimplemented!()
    }

    /// Operations with this id.
    pub fn by_id<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Operation> {
        self.operations
            .iter()
            .filter(move |operation| operation.operation_id == id)
    }
}
