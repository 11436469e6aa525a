//! `egress`, `apps` and `tenants`: who may talk to whom.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::error::{Fault, Wrong};
use crate::config::read::{Kind, List, Section, Shape, Text, mistyped};
use crate::config::tree::{Content, Node};
use crate::config::value::{APP_ID, DAY, OneOf, Port, TENANT_ID, WORDS};
use crate::config::{
    Account, App, ChargeMethod, ChargeStatus, EgressMode, EgressRule, Environment, Preflight,
    Region, Tenant, Tenants,
};
use crate::name::HostPattern;

/// One line of `egress`.
pub(super) fn egress(s: &mut Section<'_>) -> Option<EgressRule> {
    let host = s.required("host", &HOST, "a host, or *.suffix for every name below it");
    let mode = s.required("mode", &MODE, "what happens there");
    let ports = s.or(
        "ports",
        "[443]",
        &List::set(Port).at_least_one(),
        "which ports may be reached",
    );
    Some(EgressRule {
        host: host?,
        mode: mode?,
        ports: ports?,
    })
}

const HOST: Text<HostPattern> = Text {
    wanted: "a host, as in api.amazon.com or *.s3.amazonaws.com",
    schema: || json!({ "type": "string", "minLength": 1 }),
    parse: |text| {
        HostPattern::parse(text).map_err(|error| {
            Wrong::new(
                format!("~: {error}"),
                "write a host, as in api.amazon.com or *.s3.amazonaws.com",
            )
        })
    },
};

const MODE: OneOf<EgressMode> = OneOf(&[
    ("inject", EgressMode::Inject),
    ("lwa", EgressMode::Lwa),
    ("document", EgressMode::Document),
    ("tunnel", EgressMode::Tunnel),
]);

/// One entry of `apps`.
pub(super) fn app(s: &mut Section<'_>) -> Option<App> {
    let id = s.required("id", &APP_ID, "what the operator calls it");
    let charge_method = s.optional(
        "charge_method",
        &Shape(charge_method),
        "what Amazon charges the app's fees to",
    );
    let client_secret_rotated = s.optional(
        "client_secret_rotated",
        &DAY,
        "when its client secret was made",
    );
    let developer_profile_review = s.optional(
        "developer_profile_review",
        &DAY,
        "when its developer profile is due for review",
    );
    Some(App {
        id: id?,
        charge_method: charge_method?,
        client_secret_rotated: client_secret_rotated?,
        developer_profile_review: developer_profile_review?,
    })
}

fn charge_method(s: &mut Section<'_>) -> Option<ChargeMethod> {
    let status = s.or(
        "status",
        "valid",
        &OneOf(&[
            ("valid", ChargeStatus::Valid),
            ("declined", ChargeStatus::Declined),
        ]),
        "whether it is known to be good",
    );
    let expires = s.optional("expires", &DAY, "the last day, or month, it is good for");
    let owner = s.optional("owner", &WORDS, "who mends it");
    Some(ChargeMethod {
        status: status?,
        expires: expires?,
        owner: owner?,
    })
}

/// A list, or `{ from: store }`.
pub(super) struct TenantsKind;

const LISTED: List<Shape<Arc<Tenant>>> = List::of(Shape(tenant));

fn from_store(s: &mut Section<'_>) -> Option<()> {
    s.required(
        "from",
        &OneOf(&[("store", ())]),
        "the profiles are read from the store",
    )
}

impl Kind for TenantsKind {
    type Value = Tenants;

    fn read(&self, node: &Node, path: &str, faults: &mut Vec<Fault>) -> Option<Tenants> {
        match &node.content {
            Content::Broken => None,
            Content::List(_) => LISTED.read(node, path, faults).map(Tenants::Listed),
            Content::Mapping(_) => Shape(from_store)
                .read(node, path, faults)
                .map(|()| Tenants::FromStore),
            Content::Scalar(_) => {
                faults.push(mistyped(node, path, &self.wanted()));
                None
            }
        }
    }

    fn schema(&self) -> Value {
        json!({ "anyOf": [LISTED.schema(), Shape(from_store).schema()] })
    }

    fn wanted(&self) -> String {
        "a list of tenants, or { from: store }".to_owned()
    }

    fn takes_nothing(&self) -> bool {
        true
    }
}

/// One entry of `tenants`, or a profile in the store.
pub(in crate::config) fn tenant(s: &mut Section<'_>) -> Option<Arc<Tenant>> {
    let id = s.required("id", &TENANT_ID, "what the operator calls it");
    let app = s.required("app", &APP_ID, "the app whose client id and secret it uses");
    let account = s.or(
        "account",
        "seller",
        &OneOf(&[("seller", Account::Seller), ("vendor", Account::Vendor)]),
        "Seller Central or Vendor Central",
    );
    let region = s.required(
        "region",
        &OneOf(&[("na", Region::Na), ("eu", Region::Eu), ("fe", Region::Fe)]),
        "other regions' hosts are refused",
    );
    let environment = s.or(
        "environment",
        "production",
        &OneOf(&[
            ("production", Environment::Production),
            ("sandbox", Environment::Sandbox),
        ]),
        "the real thing, or Amazon's sandbox hosts",
    );
    let marketplaces = s.or(
        "marketplaces",
        "[]",
        &List::set(WORDS),
        "marketplace ids; others are refused, none means any",
    );
    let vendor_groups = s.or("vendor_groups", "[]", &List::set(WORDS), "vendor groups");
    let scopes = s.or(
        "scopes",
        "[]",
        &List::set(WORDS),
        "the roles that its authorization covers",
    );
    let preflight = s.or(
        "preflight",
        "optional",
        &OneOf(&[
            ("optional", Preflight::Optional),
            ("required", Preflight::Required),
        ]),
        "required: nothing is served before `spapi-sidecar preflight` has passed",
    );
    Some(Arc::new(Tenant {
        id: id?,
        app: app?,
        account: account?,
        region: region?,
        environment: environment?,
        marketplaces: marketplaces?,
        vendor_groups: vendor_groups?,
        scopes: scopes?,
        preflight: preflight?,
    }))
}
