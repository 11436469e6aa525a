//! The JSON Schema against the reader.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::broken::cases;
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

/// What draft 2020-12 says against a value by our schema: the keywords that refuse it, as paths in the schema.
fn refused(value: &Value) -> Vec<String> {
    let validator = jsonschema::draft202012::new(&schema::json()).unwrap();
    validator
        .iter_errors(value)
        .map(|error| error.schema_path().to_string())
        .collect()
}

#[test]
fn the_schema_is_one() {
    assert!(jsonschema::meta::is_valid(&schema::json()));
}

#[test]
fn the_schema_takes_what_the_reader_takes() {
    assert_eq!(refused(&instance(SAMPLE)), Vec::<String>::new());
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
        assert_eq!(refused(&instance(&text)), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    for (text, want) in [
        ("version: 1\n", "/required"),
        (
            "version: 2\nstore: { file: { path: a, key_file: b } }\n",
            "/version/maximum",
        ),
        ("version: 1\nstore: {}\n", "/store/oneOf"),
        (
            "version: 1\nstore: { file: { path: a, key_file: b }, vault: { address: https://v, auth: { token_file: t } } }\n",
            "/store/oneOf",
        ),
        (
            "version: 1\nstore: { file: { path: a } }\n",
            "/file/required",
        ),
    ] {
        let why = refused(&instance(text)).join(" ");
        assert!(why.contains(want), "{text}{why}");
    }
    for (more, want) in [
        ("listen: { porxy: [] }\n", "/listen/additionalProperties"),
        ("listen: { proxy: 1 }\n", "/proxy/type"),
        ("policy: lenient\n", "/policy/enum"),
        ("apps: [{}]\n", "/items/required"),
        (
            "inject: { headers: [authorization, authorization] }\n",
            "/headers/uniqueItems",
        ),
        ("inject: { headers: [] }\n", "/headers/minItems"),
        ("throttle: { max_attempts: 0 }\n", "/max_attempts/minimum"),
        (
            "upstream: { connect_to: { a: 1 } }\n",
            "/connect_to/additionalProperties/type",
        ),
        ("tenants: { from: disk }\n", "/tenants/anyOf"),
        ("audit: { path: \"\" }\n", "/path/minLength"),
    ] {
        let text = format!("{LEAST}{more}");
        assert!(super::parse(&text).is_err(), "{text}");
        let why = refused(&instance(&text)).join(" ");
        assert!(why.contains(want), "{text}{why}");
    }
}

/// Broken files that our schema cannot tell from good ones: what is wrong depends on several keys.
const BEYOND_A_SCHEMA: [&str; 13] = [
    "one path for the store and its key",
    "+ a proxy listener for everybody",
    "+ a transparent listener for everybody",
    "+ a proxy listener on the admin's default",
    "+ a listener twice",
    "+ no listener at all",
    "+ a CA in a file without its path",
    "+ a CA in memory with a path",
    "+ one authority in two spellings",
    "+ a default tenant and no tenants",
    "+ ids from the environment",
    "+ a transparent listener on the proxy's default",
    "+ listeners on every address and on one",
];

#[test]
fn the_schema_refuses_every_broken_file_that_a_schema_can_see_through() {
    let mut taken = Vec::new();
    for case in cases() {
        let mut faults = Vec::new();
        // what is no YAML, or has been reported while it was read, has no JSON
        let Some(root) = tree::parse(&case.yaml, &environment, &mut faults) else {
            continue;
        };
        if faults.is_empty() && refused(&crate::config::read::to_json(&root)).is_empty() {
            taken.push(case.name);
        }
    }
    assert_eq!(taken, BEYOND_A_SCHEMA);
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
