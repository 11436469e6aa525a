//! The JSON Schema against the reader.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{LEAST, environment, good};
use crate::config::{schema, tree};

const SAMPLE: &str = include_str!("../../../proxy.yaml");

/// A YAML text as the JSON that a schema checker sees.
fn instance(text: &str) -> Value {
    let mut faults = Vec::new();
    let root = tree::parse(text, &environment, &mut faults).unwrap();
    assert_eq!(faults, []);
    crate::config::read::to_json(&root)
}

/// Whether a value is as the schema says: the part of draft 2020-12 that our schema uses. Patterns are not matched.
fn valid(schema: &Value, value: &Value) -> Result<(), String> {
    let Value::Object(keywords) = schema else {
        return Err(format!("no schema: {schema}"));
    };
    for (keyword, wanted) in keywords {
        let good = match keyword.as_str() {
            "$schema" | "title" | "description" | "default" | "pattern" | "format" => true,
            "type" => match wanted.as_array() {
                Some(kinds) => kinds.iter().any(|kind| is(kind, value)),
                None => is(wanted, value),
            },
            "enum" => wanted.as_array().unwrap().contains(value),
            "minimum" => value
                .as_u64()
                .is_none_or(|number| number >= wanted.as_u64().unwrap()),
            "maximum" => value
                .as_u64()
                .is_none_or(|number| number <= wanted.as_u64().unwrap()),
            "minLength" => value.as_str().is_none_or(|text| !text.is_empty()),
            "minItems" => value.as_array().is_none_or(|items| !items.is_empty()),
            "uniqueItems" => value.as_array().is_none_or(|items| {
                (1..items.len()).all(|place| !items[place..].contains(&items[place - 1]))
            }),
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    valid(wanted, item)?;
                }
                true
            }
            "properties" => {
                for (key, schema) in wanted.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        valid(schema, value).map_err(|why| format!("{key}: {why}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    if keywords
                        .get("properties")
                        .is_none_or(|known| known.get(key).is_none())
                    {
                        if wanted == false {
                            return Err(format!("{key}: not known"));
                        }
                        valid(wanted, value).map_err(|why| format!("{key}: {why}"))?;
                    }
                }
                true
            }
            "required" => {
                let keys = wanted.as_array().unwrap();
                value.as_object().is_none_or(|value| {
                    keys.iter()
                        .all(|key| value.contains_key(key.as_str().unwrap()))
                })
            }
            "not" => valid(wanted, value).is_err(),
            "anyOf" => wanted
                .as_array()
                .unwrap()
                .iter()
                .any(|schema| valid(schema, value).is_ok()),
            "oneOf" => {
                let branches = wanted.as_array().unwrap();
                branches
                    .iter()
                    .filter(|schema| valid(schema, value).is_ok())
                    .count()
                    == 1
            }
            unknown => panic!("this test does not know {unknown}"),
        };
        if !good {
            return Err(format!("{value} against {keyword} {wanted}"));
        }
    }
    Ok(())
}

fn is(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        unknown => panic!("this test does not know the type {unknown}"),
    }
}

#[test]
fn the_schema_takes_what_the_reader_takes() {
    let schema = schema::json();
    assert_eq!(valid(&schema, &instance(SAMPLE)), Ok(()));
    for more in [
        "",
        "listen: null\ntenants: { from: store }\n",
        "upstream: { trust: { ca_file: a }, connect_to: { \"a.example:1\": \"127.0.0.1:1\" } }\n",
        "routes: [{ allow: GET /a, rdt: {} }, { allow: [GET /b] }]\n",
        "listen: { limits: { header_bytes: 65536 } }\n",
        "alerts: { webhook: { url: \"https://a.example\", secret_file: s } }\n",
    ] {
        let text = format!("{LEAST}{more}");
        good(&text);
        assert_eq!(valid(&schema, &instance(&text)), Ok(()), "{text}");
    }
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    let schema = schema::json();
    for (text, want) in [
        ("version: 1\n", "against required"),
        (
            "version: 2\nstore: { file: { path: a, key_file: b } }\n",
            "against maximum 1",
        ),
        ("version: 1\nstore: {}\n", "against oneOf"),
        (
            "version: 1\nstore: { file: { path: a, key_file: b }, vault: { address: https://v, auth: { token_file: t } } }\n",
            "against oneOf",
        ),
        (
            "version: 1\nstore: { file: { path: a } }\n",
            "against required",
        ),
    ] {
        let why = valid(&schema, &instance(text)).unwrap_err();
        assert!(why.contains(want), "{text}{why}");
    }
    for (more, want) in [
        ("listen: { porxy: [] }\n", "porxy: not known"),
        ("listen: { proxy: 1 }\n", "against type"),
        ("policy: lenient\n", "against enum"),
        ("apps: [{}]\n", "against required"),
        (
            "inject: { headers: [authorization, authorization] }\n",
            "against uniqueItems",
        ),
        ("inject: { headers: [] }\n", "against minItems"),
        ("throttle: { max_attempts: 0 }\n", "against minimum"),
        ("upstream: { connect_to: { a: 1 } }\n", "against type"),
        ("tenants: { from: disk }\n", "against anyOf"),
        ("audit: { path: \"\" }\n", "against minLength"),
    ] {
        let text = format!("{LEAST}{more}");
        assert!(super::parse(&text).is_err(), "{text}");
        let why = valid(&schema, &instance(&text)).unwrap_err();
        assert!(why.contains(want), "{text}{why}");
    }
}

/// Every key of a tree, with the keys above it and without the places in lists.
fn keys(node: &tree::Node, path: &str, found: &mut BTreeSet<String>) {
    for entry in node.entries() {
        let path = tree::join(path, &entry.key);
        keys(&entry.value, &path, found);
        found.insert(path);
    }
    for item in node.items() {
        keys(item, path, found);
    }
}

fn keys_of_schema(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = tree::join(path, key);
        assert_ne!(schema["description"], json!(""), "{path}");
        keys_of_schema(schema, &path, found);
        found.insert(path);
    }
    keys_of_items(schema, path, found);
}

fn keys_of_items(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if schema["items"].is_object() {
        keys_of_schema(&schema["items"], path, found);
    }
    for branch in schema["anyOf"].as_array().into_iter().flatten() {
        keys_of_schema(branch, path, found);
    }
}

#[test]
fn the_schema_has_the_keys_of_the_sample_and_of_its_comments() {
    let mut schema = BTreeSet::new();
    keys_of_schema(&schema::json(), "", &mut schema);
    let mut faults = Vec::new();
    let sample = tree::parse(SAMPLE, &environment, &mut faults).unwrap();
    let mut want = BTreeSet::new();
    keys(&sample, "", &mut want);
    for commented in [
        "upstream.trust.ca_file",
        "upstream.client_cert.cert",
        "upstream.client_cert.key",
        "store.vault.auth.kubernetes",
        "store.vault.auth.kubernetes.role",
        "store.vault.auth.kubernetes.jwt_file",
        "store.vault.auth.kubernetes.mount",
        "store.vault.auth.token_file",
        "store.vault.auth.cert",
        "store.vault.auth.cert.cert",
        "store.vault.auth.cert.key",
        "store.vault.auth.cert.role",
        "store.vault.auth.cert.mount",
        "store.vault.transit.mount",
        "store.vault.transit.key",
        "store.file",
        "store.file.path",
        "store.file.key_file",
        "egress.ports",
        "tenants.from",
        "routes.encoded_slash",
        "alerts.webhook.url",
        "alerts.webhook.secret_file",
        "telemetry.otlp.endpoint",
    ] {
        assert!(want.insert(commented.to_owned()), "{commented}");
    }
    assert_eq!(schema, want);
}

#[test]
fn the_schema_states_the_defaults() {
    let schema = schema::json();
    let listen = &schema["properties"]["listen"]["properties"];
    assert_eq!(listen["proxy"]["default"], json!(["127.0.0.1:3128"]));
    assert_eq!(
        listen["limits"]["properties"]["max_connections"]["default"],
        json!(4096)
    );
    assert_eq!(
        schema["$schema"],
        json!("https://json-schema.org/draft/2020-12/schema")
    );
    assert_eq!(schema["required"], json!(["version", "store"]));
}
