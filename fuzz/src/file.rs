//! Any `proxy.yaml` is a configuration or a list of faults with places in it, and the schema refuses none that is taken.

use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Map, Value, json};
use spapi_sidecar::config::{Config, advice, schema};
use spapi_sidecar::policy::Policy;

const CANARY: &str = "c4n4ry-of-the-environment";

/// The sample as JSON, which is YAML too.
const SAMPLE: &str = include_str!("sample.json");

/// Any text.
///
/// # Panics
/// When a fault has no place or shows the environment, or the schema refuses what was taken.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    judge(text);
}

/// The sample with edits: three bytes each, for which value, what becomes of it, and with what.
///
/// # Panics
/// As [`check`].
pub fn check_edited(data: &[u8]) {
    let mut document: Value = serde_json::from_str(SAMPLE).expect("the sample is JSON");
    for edit in data.chunks_exact(3).take(8) {
        let count = places(&mut document, &mut |_| false);
        let mut left = usize::from(edit[0]) * count / 256;
        places(&mut document, &mut |value| {
            if left == 0 {
                change(value, edit[1], edit[2]);
                return true;
            }
            left -= 1;
            false
        });
    }
    judge(&document.to_string());
}

fn judge(text: &str) {
    if text.contains(CANARY) {
        // a fuzzer learns what is searched for
        return;
    }
    let environment = |name: &str| (name != "UNSET").then(|| CANARY.to_owned());
    match Config::parse("proxy.yaml", text, &environment) {
        Ok(config) => {
            let _compiled = Policy::compile(&config);
            for warning in advice::warnings(&config) {
                assert!(!warning.problem.is_empty() && !warning.remedy.is_empty());
            }
            // a reference to the environment is a text, whatever it stands for
            if let (Ok(json), false) = (serde_json::from_str::<Value>(text), text.contains("${")) {
                let refused: Vec<_> = validator()
                    .iter_errors(&json)
                    .map(|e| e.to_string())
                    .collect();
                assert!(refused.is_empty(), "the schema refuses {json}: {refused:?}");
            }
        }
        Err(faults) => {
            // a carriage return ends a line in YAML (1.2.2, section 5.4)
            let lines = text.split(['\n', '\r']).count();
            assert!(!faults.faults.is_empty());
            for fault in &faults.faults {
                assert!(
                    (1..=lines + 1).contains(&fault.line) && fault.column >= 1,
                    "{fault:?}"
                );
                assert!(
                    !fault.problem.is_empty() && !fault.remedy.is_empty(),
                    "{fault:?}"
                );
                let shown = format!("{} {} {}", fault.path, fault.problem, fault.remedy);
                assert!(!shown.contains(CANARY), "{shown}");
            }
        }
    }
}

fn validator() -> &'static Validator {
    static VALIDATOR: OnceLock<Validator> = OnceLock::new();
    VALIDATOR.get_or_init(|| jsonschema::validator_for(&schema::json()).expect("a good schema"))
}

/// Walks every value below the root; stops where `at` says so. Returns how many were seen.
fn places(value: &mut Value, at: &mut dyn FnMut(&mut Value) -> bool) -> usize {
    fn walk(value: &mut Value, at: &mut dyn FnMut(&mut Value) -> bool, seen: &mut usize) -> bool {
        *seen += 1;
        if at(value) {
            return true;
        }
        match value {
            Value::Array(items) => items.iter_mut().any(|item| walk(item, at, seen)),
            Value::Object(fields) => fields.values_mut().any(|field| walk(field, at, seen)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
    let mut seen = 0;
    walk(value, at, &mut seen);
    seen
}

fn change(value: &mut Value, how: u8, with: u8) {
    match (how % 6, &mut *value) {
        (0, Value::Object(fields)) => {
            let at = usize::from(with) % fields.len().max(1);
            if let Some(key) = fields.keys().nth(at).cloned() {
                fields.remove(&key);
            }
        }
        (1, Value::Object(fields)) => {
            let at = usize::from(with) % fields.len().max(1);
            if let Some(key) = fields.keys().nth(at).cloned() {
                let moved = fields.remove(&key).unwrap_or_default();
                fields.insert(format!("{key}x"), moved);
            }
        }
        (2, Value::Array(items)) => {
            if let Some(first) = items.first().cloned() {
                items.push(first);
            }
        }
        (3, Value::Array(items)) => {
            items.pop();
        }
        (4, Value::String(text)) => {
            text.insert(
                usize::from(with) % (text.len() + 1),
                char::from(with % 0x5f + 0x20),
            );
        }
        _ => *value = replacement(with),
    }
}

fn replacement(with: u8) -> Value {
    let all = [
        Value::Null,
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(70000),
        json!(""),
        json!(" "),
        json!("x"),
        json!("127.0.0.1:0"),
        json!("0.0.0.0:443"),
        json!("https://a.example/x"),
        json!("http://127.0.0.1:8200"),
        json!("30s"),
        json!("1h 30m"),
        json!("64KiB"),
        json!("99.9%"),
        json!("2027-02"),
        json!("2027-02-29"),
        json!("GET /a/{b}"),
        json!("getOrders"),
        json!("*.a.example"),
        json!("${NAME}"),
        json!("${UNSET:-x}"),
        json!("enforce"),
        json!("ATVPDKIKX0DER"),
        json!([]),
        json!(["x"]),
        json!([null]),
        Value::Object(Map::new()),
        json!({"x": 1}),
    ];
    all[usize::from(with) % all.len()].clone()
}
