//! A tenant's profile from outside the file: the same keys, the same rules.
//!
//! Job: from named texts, as a store holds them, to a [`Tenant`], by the declaration that reads `tenants` in the file.
//! Invariants: an unknown key is refused, since a misspelt `marketplaces` would allow any; an empty text is no text.
//! Failure mode: [`ProfileFault`], the first, which names the field.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::Fault;
use super::read::{Kind, Shape};
use super::tree::{Content, Entry, Node, Place, Scalar, Style};
use super::{Tenant, meaning, section};
use crate::tenant::TenantId;

/// Keys that hold lists.
const LISTS: [&str; 3] = ["marketplaces", "vendor_groups", "scopes"];

/// Where the one profile stands while the rules of a whole file are applied to it.
const PATH: &str = "tenants[0]";

/// What is wrong with a profile.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field}: {problem}; {remedy}")]
pub struct ProfileFault {
    /// Which field.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

/// Reads a profile. Lists are JSON, or separated by commas.
///
/// # Errors
/// The first mistake.
pub fn parse(id: &TenantId, fields: &BTreeMap<String, &str>) -> Result<Arc<Tenant>, ProfileFault> {
    let mut entries = vec![entry("id", text(id.as_str()))];
    for (key, value) in fields {
        let value = value.trim();
        if key == "id" {
            if value != id.as_str() {
                return Err(ProfileFault {
                    field: "id".to_owned(),
                    problem: "it is another tenant's than the record's".to_owned(),
                    remedy: format!("write {id}, or leave it out"),
                });
            }
        } else if LISTS.contains(&key.as_str()) {
            entries.push(entry(key, list(key, value)?));
        } else if !value.is_empty() {
            entries.push(entry(key, text(value)));
        }
    }
    let profile = node(Content::Mapping(entries));
    let mut faults = Vec::new();
    let tenant = Shape(section::tenant).read(&profile, PATH, &mut faults);
    let file = [entry("tenants", node(Content::List(vec![profile])))];
    meaning::marketplaces(&node(Content::Mapping(file.into())), &mut faults);
    match (faults.into_iter().next(), tenant) {
        (None, Some(tenant)) => Ok(tenant),
        (Some(fault), _) => Err(fault.into()),
        (None, None) => Err(ProfileFault {
            field: "id".to_owned(),
            problem: "the profile was refused and no reason was given".to_owned(),
            remedy: "report this as a defect".to_owned(),
        }),
    }
}

impl From<Fault> for ProfileFault {
    fn from(fault: Fault) -> Self {
        let field = fault.path.strip_prefix(PATH).unwrap_or(&fault.path);
        Self {
            field: field.trim_start_matches('.').to_owned(),
            problem: fault.problem,
            remedy: fault.remedy,
        }
    }
}

fn list(key: &str, value: &str) -> Result<Node, ProfileFault> {
    let items: Vec<String> = if value.starts_with('[') {
        serde_json::from_str(value).map_err(|_quotes_it| ProfileFault {
            field: key.to_owned(),
            problem: "it begins like a JSON list and is none of texts".to_owned(),
            remedy: r#"write ["one", "two"], or one,two"#.to_owned(),
        })?
    } else {
        value
            .split(',')
            .map(|item| item.trim().to_owned())
            .filter(|item| !item.is_empty())
            .collect()
    };
    let items = items.iter().map(|item| text(item)).collect();
    Ok(node(Content::List(items)))
}

fn text(text: &str) -> Node {
    node(Content::Scalar(Scalar {
        text: text.to_owned(),
        style: Style::Verbatim,
        from_environment: false,
    }))
}

const fn node(content: Content) -> Node {
    Node {
        place: Place::START,
        content,
    }
}

fn entry(key: &str, value: Node) -> Entry {
    Entry {
        key: key.to_owned(),
        key_place: Place::START,
        value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Account, Environment, Preflight, Region};

    fn read(fields: &[(&str, &'static str)]) -> Result<Arc<Tenant>, String> {
        let fields = fields
            .iter()
            .map(|(key, value)| ((*key).to_owned(), *value))
            .collect();
        parse(&TenantId::parse("acme").unwrap(), &fields).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_profile_means_what_the_same_entry_of_the_file_means() {
        for (marketplaces, scopes) in [
            ("ATVPDKIKX0DER, A2EUQ1WTGCTBG2", "one,two"),
            (r#"["ATVPDKIKX0DER","A2EUQ1WTGCTBG2"]"#, r#"["one","two"]"#),
        ] {
            let tenant = read(&[
                ("app", "erp\n"),
                ("region", "na"),
                ("account", "vendor"),
                ("environment", ""),
                ("marketplaces", marketplaces),
                ("vendor_groups", ""),
                ("scopes", scopes),
            ])
            .unwrap();
            assert_eq!(
                *tenant,
                Tenant {
                    id: TenantId::parse("acme").unwrap(),
                    app: crate::tenant::AppId::parse("erp").unwrap(),
                    account: Account::Vendor,
                    region: Region::Na,
                    environment: Environment::Production,
                    marketplaces: vec!["ATVPDKIKX0DER".to_owned(), "A2EUQ1WTGCTBG2".to_owned()],
                    vendor_groups: Vec::new(),
                    scopes: vec!["one".to_owned(), "two".to_owned()],
                    preflight: Preflight::Optional,
                }
            );
        }
    }

    #[test]
    fn a_broken_profile_is_refused_by_the_name_of_its_field() {
        for (fields, want) in [
            (
                &[("region", "na")][..],
                "app: the key is missing; add `app:` with an id: 1 to 64 characters of a-z, 0-9, _ and -, starting with a letter or a digit",
            ),
            (
                &[("app", "erp"), ("region", "us")],
                "region: `us` may not stand here; write one of na, eu, fe",
            ),
            (
                &[("app", "erp"), ("region", "na"), ("marketplace", "X")],
                "marketplace: unknown key; did you mean `marketplaces`?",
            ),
            (
                &[("app", "erp"), ("region", "na"), ("marketplaces", "[1]")],
                r#"marketplaces: it begins like a JSON list and is none of texts; write ["one", "two"], or one,two"#,
            ),
            (
                &[("app", "erp"), ("region", "na"), ("id", "beta")],
                "id: it is another tenant's than the record's; write acme, or leave it out",
            ),
        ] {
            assert_eq!(read(fields).unwrap_err(), want);
        }
        let elsewhere = read(&[
            ("app", "erp"),
            ("region", "na"),
            ("marketplaces", "A1F83G8C2ARO7P"),
        ]);
        let elsewhere = elsewhere.unwrap_err();
        assert!(
            elsewhere.starts_with("marketplaces[0]: the marketplace belongs to region eu"),
            "{elsewhere}"
        );
        let secret = read(&[
            ("app", "erp"),
            ("region", "na"),
            ("refresh_token", "canary"),
        ]);
        let secret = secret.unwrap_err();
        assert!(
            secret.starts_with("refresh_token: unknown key") && !secret.contains("canary"),
            "{secret}"
        );
    }
}
