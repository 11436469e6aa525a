//! Foreign texts: what LWA, the store or an origin wrote into an error.
//!
//! Job: cut such a text down to what may stand in a log or a detail.
//! Invariants: printable ASCII on one line, at most 200 bytes; words that are or may be a secret are masked: known
//! prefixes, values beside a telling name, whatever follows an authorization scheme, runs that look random, anything after
//! a question mark or with an `@`.
//! Failure mode: `[redacted]` in the place of a word, `…` where the text was cut.

use crate::secret::Looks;

/// Bytes of text that are shown.
const LENGTH: usize = 200;
const MASK: &str = "[redacted]";

/// A foreign text, cut down.
#[must_use]
pub fn text(foreign: &str) -> String {
    let mut shown = String::new();
    let mut before = Before::Plain;
    let words = foreign.split(|c: char| c.is_whitespace() || c.is_control());
    for word in words.filter(|word| !word.is_empty()) {
        let masked = before.announces(word) || word_is_secret(word);
        let seen = if masked { MASK } else { word };
        if shown.len() + seen.len() + 1 > LENGTH {
            shown.push('…');
            break;
        }
        if !shown.is_empty() {
            shown.push(' ');
        }
        let printable = |c: char| if c.is_ascii_graphic() { c } else { '?' };
        shown.extend(seen.chars().map(printable));
        before = before.then(word);
    }
    shown
}

/// What the words so far say about the next one.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    /// Nothing.
    Plain,
    /// The name of a secret, so that a separator would announce it.
    Name,
    /// The name and the separator, or an authorization scheme.
    Announced,
}

impl Before {
    fn announces(self, word: &str) -> bool {
        self == Self::Announced && !is_separator(word)
    }

    fn then(self, word: &str) -> Self {
        if is_separator(word) {
            return if self == Self::Plain {
                self
            } else {
                Self::Announced
            };
        }
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let scheme = ["bearer", "basic"].contains(&bare.to_ascii_lowercase().as_str());
        match word.strip_suffix([':', '=']) {
            _ if scheme => Self::Announced,
            Some(name) if is_telling(name) => Self::Announced,
            None if is_telling(word) => Self::Name,
            Some(_) | None => Self::Plain,
        }
    }
}

fn is_separator(word: &str) -> bool {
    word.bytes().all(|byte| matches!(byte, b':' | b'='))
}

/// Whether a value is, or may well be, a credential: by its prefix, or because it looks random.
#[must_use]
pub fn looks_secret(value: &str) -> bool {
    names_credential(value) || value.split(|c| !is_token_char(c)).any(is_random)
}

/// Whether a value begins as a credential does.
pub(super) fn names_credential(value: &str) -> bool {
    Looks::of(value) != Looks::Other
        || PREFIXES.iter().any(|prefix| value.contains(prefix))
        || is_old_vault_token(value)
}

/// What credentials of Amazon, Vault and ours begin with; `%7C` is an encoded `|`.
const PREFIXES: [&str; 17] = [
    "Atza|",
    "Atzr|",
    "Atc|",
    "Atz.sprdt|",
    "Atza%7",
    "Atzr%7",
    "Atc%7",
    "Atz.",
    "amzn1.oa2-cs",
    "amzn1.application-oa2-client",
    "spx-",
    "hvs.",
    "hvb.",
    "hvr.",
    "vault:v",
    "-----BEGIN",
    "eyJ",
];

/// Parts of names beside which a value stands that is nobody's business.
const TELLING: [&str; 13] = [
    "token",
    "secret",
    "password",
    "passwd",
    "signature",
    "credential",
    "authorization",
    "cookie",
    "apikey",
    "api_key",
    "api-key",
    "private",
    "x-amz-",
];

fn word_is_secret(word: &str) -> bool {
    // after the question mark of a URL come presigned signatures; before an @ come names and passwords
    let query = word
        .split_once('?')
        .is_some_and(|(_, query)| !query.is_empty());
    let is_number = |part: &str| part.len() >= 7 && part.bytes().all(|b| b.is_ascii_digit());
    let numbered = word
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(is_number);
    query || numbered || word.contains('@') || carries_named_secret(word) || looks_secret(word)
}

/// `client_secret=x`, `"access_token":"x"`.
fn carries_named_secret(word: &str) -> bool {
    let mut before = word;
    while let Some((name, value)) = before.rsplit_once([':', '=']) {
        let value = value.trim_matches(|c: char| c.is_ascii_punctuation());
        if !value.is_empty() && is_telling(name) {
            return true;
        }
        before = name;
    }
    false
}

/// Whether the last name in a word, without its quotes, is one beside which a secret stands.
fn is_telling(word: &str) -> bool {
    let bare = word.trim_end_matches(|c: char| c.is_ascii_punctuation());
    let name = bare
        .rsplit(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-'))
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    TELLING.iter().any(|telling| name.contains(telling))
}

/// `s.` and letters and digits, as Vault wrote tokens before 1.10.
fn is_old_vault_token(word: &str) -> bool {
    let word = word.trim_matches(|c: char| c.is_ascii_punctuation());
    word.strip_prefix("s.")
        .is_some_and(|rest| rest.len() >= 8 && rest.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// What base64, base64url and hexadecimal are written with.
const fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '_' | '-')
}

/// Long, and not made of words and small numbers. Words are longer than what random separators leave between them.
fn is_random(run: &str) -> bool {
    let parts = || run.split(|c: char| !c.is_ascii_alphanumeric());
    let wordy = parts().all(is_word) && parts().count() * 4 <= run.len();
    (run.len() >= 20 && !wordy) || parts().any(|part| part.len() >= 12 && !is_word(part))
}

/// A word in one case, a capitalised or camel-case one, a version or a small number.
fn is_word(part: &str) -> bool {
    let digits = part.bytes().filter(u8::is_ascii_digit).count();
    let letters = part.len() - digits;
    let is_number = letters <= 1 && digits <= 4;
    let humps = part.bytes().filter(u8::is_ascii_uppercase).count();
    // camel case turns upper after several lower letters; random letters turn at every other place
    let is_text = digits == 0
        && part.len() <= 40
        && (humps <= 1 || humps == part.len() || humps * 4 <= part.len());
    is_number || (is_text && (part.len() < 20 || humps > 0 && humps < part.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_words_of_known_errors_stay_readable() {
        for plain in [
            "The request has an invalid grant parameter : refresh_token. User may have revoked or didn't grant the permission.",
            "The request is missing a required parameter : client_secret",
            "Client authentication failed",
            "Not authorized for requested operation",
            "permission denied",
            "1 error occurred: * permission denied",
            "connection refused (os error 111) 127.0.0.1:8200",
            "secret/data/spapi-sidecar/tenants/acme/grant: not found",
            "sellingpartnerapi-na.amazon.com: certificate has expired",
            "role createRestrictedDataToken of tokens 2021-03-01",
        ] {
            assert_eq!(text(plain), plain);
        }
    }

    #[test]
    fn whatever_may_be_a_secret_is_masked() {
        for (foreign, want) in [
            ("token Atza|IwEBIcanary is bad", "token [redacted] is bad"),
            ("got Atzr|IwEBIcanary", "got [redacted]"),
            ("got Atc|canary", "got [redacted]"),
            ("got Atz.sprdt|canary", "got [redacted]"),
            ("got Atza%7Ccanary", "got [redacted]"),
            ("got spx-a-canary", "got [redacted]"),
            ("got \"amzn1.oa2-cs.v1.canary\"", "got [redacted]"),
            ("id amzn1.application-oa2-client.canary", "id [redacted]"),
            ("hvs.CAESIcanary", "[redacted]"),
            ("token s.canary1234", "token [redacted]"),
            (
                "Authorization: Bearer canary",
                "Authorization: [redacted] [redacted]",
            ),
            ("Bearer canary!", "Bearer [redacted]"),
            ("client_secret=canary", "[redacted]"),
            ("{\"access_token\":\"canary\"}", "[redacted]"),
            (
                "{\"access_token\": \"canary\"}",
                "{\"access_token\": [redacted]",
            ),
            ("password : canary", "password : [redacted]"),
            (
                "order 123-4567890-1234567 is not found",
                "order [redacted] is not found",
            ),
            ("of buyer@example.com", "of [redacted]"),
            ("password: canary", "password: [redacted]"),
            ("secret_id := canary", "secret_id := [redacted]"),
            (
                "https://b.s3.amazonaws.com/k?X-Amz-Signature=canary",
                "[redacted]",
            ),
            ("see https://a.example/k?id=canary", "see [redacted]"),
            ("\"Bearer\" canary", "\"Bearer\" [redacted]"),
            ("https://user:canary@host/", "[redacted]"),
            ("0123456789abcdef0123456789abcdef", "[redacted]"),
            ("deadbeefdeadbeefdeadbeef", "[redacted]"),
            ("QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "[redacted]"),
            ("f47ac10b-58cc-4372-a567-0e02b2c3d479", "[redacted]"),
            ("eyJhbGciOiJIUzI1NiJ9.e30.x", "[redacted]"),
        ] {
            assert_eq!(text(foreign), want);
        }
    }

    #[test]
    fn a_text_is_one_printable_line_of_at_most_two_hundred_bytes() {
        assert_eq!(text("a\r\nb\tc\u{1b}[31md"), "a b c [31md");
        assert_eq!(text("gr\u{fc}n"), "gr?n");
        assert_eq!(text(""), "");
        let long = text(&"word ".repeat(100));
        assert!(long.ends_with("word…"), "{long}");
        assert!(long.len() <= LENGTH + "…".len(), "{}", long.len());
        let nineteen = ["readiness"; 19].join(" ");
        let full = format!("{nineteen} ten-letter");
        assert_eq!((text(&full), full.len()), (full.clone(), LENGTH));
        let over = format!("{nineteen} eleven-case");
        assert_eq!(text(&over), format!("{nineteen}…"));
    }

    #[test]
    fn a_word_is_told_from_a_random_run_by_length_digits_and_capitals() {
        for (value, want) in [
            ("", false),
            // a run of twenty and more has to be words and small numbers
            ("a1b2c3d4e5f-a1b2c3d", false),
            ("a1b2c3d4e5f-a1b2c3d4", true),
            ("documents-v2021-release", false),
            ("documents-20211-release", true),
            ("documents-ab1-releases", true),
            ("Id-of-the-Document-Now", false),
            ("INVALID-PARAMETER-GIVEN", false),
            ("a-b-c-d-e-f-g-h-i-j-k", true),
            ("a b c d e f g h i j k", false),
            // one part of twelve and more has to be one of them
            ("a1b2c3d4e5f", false),
            ("a1b2c3d4e5f6", true),
            ("AbCdEfGhIjK", false),
            ("AbCdEfGhIjKl", true),
            // a word of one case has nineteen letters at most, one in camel case forty
            ("internationalizatio", false),
            ("internationalization", true),
            ("INTERNATIONALIZATIO", false),
            ("INTERNATIONALIZATION", true),
            ("createReportDocument", false),
            ("RestrictedRestrictedRestrictedRestricted", false),
            ("RestrictedRestrictedRestrictedRestricteds", true),
            // Vault's tokens of old
            ("s.abcdefg", false),
            ("s.abcdefgh", true),
            ("s.abc-efgh", false),
        ] {
            assert_eq!(looks_secret(value), want, "{value}");
        }
    }

    /// A secret as a random generator writes it: every character of the alphabet equally likely.
    fn drawn(alphabet: &str, shortest: usize) -> impl Strategy<Value = String> + use<> {
        let letters: Vec<char> = alphabet.chars().collect();
        prop::collection::vec(prop::sample::select(letters), shortest..64)
            .prop_map(String::from_iter)
    }

    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

    fn secret() -> impl Strategy<Value = String> {
        prop_oneof![
            drawn("0123456789abcdef", 20),
            drawn("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 24),
            drawn(&format!("{LETTERS}+/"), 28),
            drawn(&format!("{LETTERS}_-"), 28),
        ]
    }

    proptest! {
        #[test]
        fn random_runs_of_twenty_and_more_never_pass(secret in secret()) {
            for around in [format!("bad {secret} here"), format!("({secret})"), format!("x={secret};")] {
                prop_assert!(!text(&around).contains(&secret), "{}", text(&around));
            }
        }

        #[test]
        fn any_text_is_bounded_and_printable(foreign in "\\PC{0,400}|(?s).{0,400}") {
            let shown = text(&foreign);
            prop_assert!(shown.chars().all(|c| c == ' ' || c == '…' || c.is_ascii_graphic()));
            prop_assert!(shown.len() <= LENGTH + "…".len());
        }
    }
}
