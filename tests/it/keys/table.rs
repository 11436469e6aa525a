//! `tests/KEYS.md` names every key of `proxy.yaml`, and tests that exist.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use spapi_sidecar::config::schema;

const TABLE: &str = include_str!("../../KEYS.md");

/// The keys of a schema below `path` that hold a value and no further keys.
fn leaves(schema: &Value, path: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        let below = leaves(schema, &path);
        found.extend(if below.is_empty() {
            BTreeSet::from([path])
        } else {
            below
        });
    }
    let alternatives = schema["anyOf"].as_array().into_iter().flatten();
    for schema in alternatives.chain(schema.get("items")) {
        found.extend(leaves(schema, path));
    }
    found
}

/// The rows of the table: key, and the names in backquotes of what shows it.
fn rows() -> Vec<(String, Vec<String>)> {
    let cell = |cell: &str| {
        let quoted = cell.split('`').skip(1).step_by(2);
        quoted.map(str::to_owned).collect::<Vec<_>>()
    };
    TABLE
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let mut cells = line.trim_matches('|').split('|');
            let keys = cell(cells.next().unwrap());
            (keys[0].clone(), cell(cells.next().unwrap()))
        })
        .collect()
}

/// Names of all functions in a folder of sources, and of the scripts beside them.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let named = text
                .split("fn ")
                .skip(1)
                .filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(named.map(str::to_owned));
        } else if let Some(name) = path.file_name() {
            found.insert(name.to_string_lossy().into_owned());
        }
    }
}

#[test]
fn every_key_has_a_row_and_every_row_names_a_test_that_exists() {
    let keys = leaves(&schema::json(), "");
    let rows = rows();
    let named: Vec<&String> = rows.iter().map(|(key, _)| key).collect();
    let missing: Vec<_> = keys.iter().filter(|key| !named.contains(key)).collect();
    assert_eq!(missing, Vec::<&String>::new(), "no row");
    let unknown: Vec<_> = named.iter().filter(|key| !keys.contains(**key)).collect();
    assert_eq!(unknown, Vec::<&&String>::new(), "no such key");
    let mut tests = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["tests/it", "tests/clients", "src"] {
        functions(&root.join(folder), &mut tests);
    }
    for (key, shown_by) in &rows {
        assert!(!shown_by.is_empty(), "{key}: nothing shows it");
        for test in shown_by {
            assert!(tests.contains(test), "{key}: no test is called {test}");
        }
    }
}
