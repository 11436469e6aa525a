//! What may be shown is bounded, printable, on one line, and holds no credential.

use spapi_sidecar::catalog::Catalog;
use spapi_sidecar::redact;

const SECRETS: [&str; 9] = [
    "Atza|",
    "Atzr|",
    "Atc|",
    "Atz.sprdt|",
    "Atza%7C",
    "amzn1.oa2-cs.v1.",
    "amzn1.application-oa2-client.",
    "spx-a-",
    "hvs.",
];

/// Any text, and the same text around a planted credential.
///
/// # Panics
/// When something that may be shown is not fit to be.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let shown = redact::text(&text);
    is_one_line(&shown, 205);
    let kept = redact::path_kept(&text);
    is_one_line(&kept, 4096);
    shows_known_literals_alone(&redact::path(None, &text), &text);
    for key in redact::query_keys(&text) {
        assert!(
            key == "…" || (text.contains(key) && key.len() <= 40),
            "{key:?}"
        );
        assert!(key == "…" || !redact::looks_secret(key), "{key:?}");
    }
    if text.contains("Canary1234") {
        // a fuzzer learns what is searched for
        return;
    }
    for prefix in SECRETS {
        let secret = format!("{prefix}Canary1234Canary5678");
        let (before, after) = text.split_at(middle(&text));
        let around = format!("{before}{secret}{after}");
        for shown in [
            redact::text(&around),
            redact::path(None, &around).into_owned(),
            redact::path_kept(&around).into_owned(),
            redact::query_keys(&around).join(" "),
        ] {
            assert!(!shown.contains("Canary1234"), "{shown:?} of {around:?}");
        }
    }
}

fn middle(text: &str) -> usize {
    let mut at = text.len() / 2;
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn is_one_line(shown: &str, most: usize) {
    let fit = |c: char| c == ' ' || c == '…' || c.is_ascii_graphic();
    assert!(shown.chars().all(fit), "{shown:?}");
    assert!(shown.len() <= most, "{} bytes", shown.len());
}

fn shows_known_literals_alone(shown: &str, raw: &str) {
    let known = Catalog::embedded().operations();
    for segment in shown.split('/').filter(|segment| !segment.is_empty()) {
        let literal = || {
            known
                .iter()
                .any(|operation| operation.path.split('/').any(|literal| literal == segment))
        };
        assert!(
            matches!(segment, "{…}" | "…") || literal(),
            "{segment:?} of {raw:?}"
        );
    }
}
