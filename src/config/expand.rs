//! `${NAME}` and `${NAME:-default}` in values.
//!
//! Job: replace references by what the environment holds. `$${` stands for a literal `${`; a lone `$` is itself;
//! single-quoted values are left alone, as a shell leaves them.
//! Invariants: what comes from the environment is not expanded again and is never shown.
//! Failure mode: [`Wrong`], which names the variable and never its value.

use super::error::Wrong;
use super::tree::{Scalar, Style};

/// Looks up a variable.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Expands a scalar in place.
pub(super) fn expand(scalar: &mut Scalar, env: Lookup<'_>) -> Result<(), Wrong> {
    if scalar.style == Style::Verbatim || !scalar.text.contains("${") {
        return Ok(());
    }
    let mut out = String::with_capacity(scalar.text.len());
    let mut rest = scalar.text.as_str();
    let mut from_environment = false;
    let mut expanded = false;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some((reference, after)) = after.split_once('}') else {
            return Err(Wrong::new(
                "a `${` has no `}`",
                "write `${NAME}` or `${NAME:-default}`, or `$${` for the two characters themselves",
            ));
        };
        expanded = true;
        match resolve(reference, env)? {
            Resolved::FromEnvironment(value) => {
                from_environment = true;
                out.push_str(&value);
            }
            Resolved::Default(value) => out.push_str(value),
        }
        rest = after;
    }
    out.push_str(rest);
    scalar.text = out;
    scalar.from_environment = from_environment;
    if expanded {
        scalar.style = Style::Expanded;
    }
    Ok(())
}

enum Resolved<'a> {
    FromEnvironment(String),
    Default(&'a str),
}

fn resolve<'a>(reference: &'a str, env: Lookup<'_>) -> Result<Resolved<'a>, Wrong> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let head = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !head || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(Wrong::new(
            format!("`${{{name}}}` names no environment variable"),
            "write `${NAME}` or `${NAME:-default}`; a name is letters, digits and `_`",
        ));
    }
    match (env(name), default) {
        (Some(value), None) => Ok(Resolved::FromEnvironment(value)),
        (Some(value), Some(_)) if !value.is_empty() => Ok(Resolved::FromEnvironment(value)),
        (_, Some(default)) => Ok(Resolved::Default(default)),
        (None, None) => Err(Wrong::new(
            format!("the environment variable {name} is not set"),
            format!("set it, or write `${{{name}:-default}}`"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str, style: Style) -> Result<Scalar, Wrong> {
        let env = |name: &str| match name {
            "FULL" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${FULL}".to_owned()),
            _ => None,
        };
        let mut scalar = Scalar {
            text: text.to_owned(),
            style,
            from_environment: false,
        };
        expand(&mut scalar, &env)?;
        Ok(scalar)
    }

    #[test]
    fn references_become_what_the_environment_holds() {
        for (text, want, from_environment) in [
            ("plain", "plain", false),
            ("a${FULL}b", "avalueb", true),
            ("${FULL}${FULL:-x}", "valuevalue", true),
            ("${NONE:-fall back}", "fall back", false),
            ("${NONE:-}", "", false),
            ("${EMPTY:-fall}", "fall", false),
            ("${EMPTY}", "", true),
            ("${NESTED}", "${FULL}", true),
            ("$${FULL}", "${FULL}", false),
            ("$5 and $FULL", "$5 and $FULL", false),
            ("{tenant}", "{tenant}", false),
        ] {
            let got = expanded(text, Style::Quoted).unwrap();
            assert_eq!(
                (got.text.as_str(), got.from_environment),
                (want, from_environment),
                "{text}"
            );
        }
    }

    #[test]
    fn a_single_quoted_value_is_left_alone() {
        assert_eq!(
            expanded("${FULL}", Style::Verbatim).unwrap().text,
            "${FULL}"
        );
    }

    #[test]
    fn what_cannot_be_expanded_is_named_and_never_shown() {
        for (text, want) in [
            ("${NONE}", "the environment variable NONE is not set"),
            ("${FULL", "a `${` has no `}`"),
            ("${}", "`${}` names no environment variable"),
            ("${a-b}", "`${a-b}` names no environment variable"),
        ] {
            assert_eq!(
                expanded(text, Style::Plain).unwrap_err().problem,
                want,
                "{text}"
            );
        }
    }
}
