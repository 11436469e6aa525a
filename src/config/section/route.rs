//! `routes`: the scope-to-endpoint ledger.

use serde_json::{Value, json};

use crate::config::error::{Fault, Wrong};
use crate::config::read::{Kind, List, Section, Shape, Text};
use crate::config::tree::{Content, Node};
use crate::config::value::{OneOf, Truth, WORDS};
use crate::config::{Allow, Rdt, RdtPer, RouteRule};

/// One entry of `routes`.
pub(super) fn route(s: &mut Section<'_>) -> Option<RouteRule> {
    let allow = s.required(
        "allow",
        &AllowKind,
        "METHOD /template, or an operation id of the catalog; one or a list",
    );
    let scope = s.optional("scope", &WORDS, "the role that the tenant has to hold");
    let grantless = s.optional(
        "grantless",
        &WORDS,
        "scope of the client-credentials token to use instead of the tenant's",
    );
    let rdt = s.optional("rdt", &Shape(rdt), "the restricted data token to swap in");
    let encoded_slash = s.or(
        "encoded_slash",
        "false",
        &Truth,
        "whether %2F inside a segment is data here",
    );
    let reason = s.optional("reason", &WORDS, "why this route exists");
    let owner = s.optional("owner", &WORDS, "who answers for it");
    let (rdt, grantless) = (rdt?, grantless?);
    if rdt.is_some() && grantless.is_some() {
        s.refuse(
            "grantless",
            Wrong::new(
                "`rdt` and `grantless` exclude each other: a restricted data token is made from the tenant's grant",
                "keep one of the two",
            ),
        );
        return None;
    }
    Some(RouteRule {
        allow: allow?,
        scope: scope?,
        grantless,
        rdt,
        encoded_slash: encoded_slash?,
        reason: reason?,
        owner: owner?,
    })
}

/// What an RDT request may name (Tokens API, `dataElements`).
const DATA_ELEMENT: OneOf<&'static str> = OneOf(&[
    ("buyerInfo", "buyerInfo"),
    ("shippingAddress", "shippingAddress"),
    ("buyerTaxInformation", "buyerTaxInformation"),
]);

fn rdt(s: &mut Section<'_>) -> Option<Rdt> {
    let data_elements = s.or(
        "data_elements",
        "[]",
        &List::set(DATA_ELEMENT),
        "personal data that is asked for, where the operation takes any",
    );
    let per = s.or(
        "per",
        "template",
        &OneOf(&[("template", RdtPer::Template), ("path", RdtPer::Path)]),
        "template: one for the path template; path: one for each call, destroyed after it",
    );
    let required = s.or(
        "required",
        "true",
        &Truth,
        "false falls back to the plain token where Amazon refuses the data elements",
    );
    Some(Rdt {
        data_elements: data_elements?.into_iter().map(ToOwned::to_owned).collect(),
        per: per?,
        required: required?,
    })
}

/// One `METHOD /template`, or a list.
struct AllowKind;

const ONE: Text<Allow> = Text {
    wanted: "METHOD /path/{parameter}, as in GET /orders/v0/orders",
    schema: || json!({ "type": "string", "minLength": 1 }),
    parse: |text| Allow::parse(text).map_err(|error| Wrong::new(error.problem, error.remedy)),
};

const MANY: List<Text<Allow>> = List::of(ONE).at_least_one();

impl Kind for AllowKind {
    type Value = Vec<Allow>;

    fn read(&self, node: &Node, path: &str, faults: &mut Vec<Fault>) -> Option<Vec<Allow>> {
        match &node.content {
            Content::List(_) => MANY.read(node, path, faults),
            Content::Scalar(_) | Content::Mapping(_) | Content::Broken => {
                ONE.read(node, path, faults).map(|allow| vec![allow])
            }
        }
    }

    fn schema(&self) -> Value {
        json!({ "anyOf": [ONE.schema(), MANY.schema()] })
    }

    fn wanted(&self) -> String {
        ONE.wanted()
    }
}
