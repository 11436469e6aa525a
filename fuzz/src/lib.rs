//! What holds for any input, whoever makes it up: a fuzzer (`fuzz_targets/`), or a generator (`tests/properties.rs`).
//!
//! Each function takes bytes and panics where its property does not hold. Only the product's public doors are used, so a
//! property says what somebody outside can see.

pub mod answer;
pub mod connection;
pub mod file;
pub mod host;
pub mod phantom;
pub mod redaction;
pub mod target;
pub mod template;

/// Holds for any bytes, or panics.
pub type Property = fn(&[u8]);

/// Every property by the name of its target and of its corpus.
pub const ALL: [(&str, Property); 9] = [
    ("host", host::check),
    ("target", target::check),
    ("template", template::check),
    ("file", file::check),
    ("tree", file::check_edited),
    ("redaction", redaction::check),
    ("answer", answer::check),
    ("phantom", phantom::check),
    ("connection", connection::check),
];
