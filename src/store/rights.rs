//! What a login to the store may do.
//!
//! Job: hold what a store's policies allow at the places that a sidecar uses against what it needs there.
//! Invariants: pure; `root` allows everything and is more than anybody needs; `deny` allows nothing.
//! Source: Vault's capabilities, as `sys/capabilities-self` spells them; `deploy/vault/policy.hcl` is what is needed.

/// What is allowed at one place, and what is needed there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Right {
    /// The path, as a policy spells it.
    pub path: String,
    /// What the login may do there.
    pub has: Vec<String>,
    /// Without this nothing works.
    pub needs: &'static [&'static str],
    /// What a sidecar has a use for there: what it needs, and what spares an operator work.
    pub uses: &'static [&'static str],
    /// What does no harm besides.
    pub harmless: &'static [&'static str],
}

impl Right {
    /// What is needed and not allowed.
    pub fn lacking(&self) -> impl Iterator<Item = &'static str> {
        self.needs.iter().copied().filter(|word| !self.allows(word))
    }

    /// What there is a use for, and is not allowed.
    pub fn missed(&self) -> impl Iterator<Item = &'static str> {
        let missed = |word: &&str| !self.needs.contains(word) && !self.allows(word);
        self.uses.iter().copied().filter(missed)
    }

    /// What is allowed, and nobody has a use for.
    pub fn excess(&self) -> impl Iterator<Item = &str> {
        let used = |word: &str| {
            word == "deny" || self.uses.contains(&word) || self.harmless.contains(&word)
        };
        let all = self.has.iter().map(String::as_str);
        all.filter(move |word| !used(word))
    }

    fn allows(&self, word: &str) -> bool {
        self.has.iter().any(|has| has == word || has == "root")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_missed_and_too_much_is_told_apart() {
        for (has, lacking, missed, excess) in [
            (&["read", "update"][..], "", "", ""),
            (&["read"], "", "update", ""),
            (&["update"], "read", "", ""),
            (&["deny"], "read", "update", ""),
            (&[], "read", "update", ""),
            (
                &["create", "delete", "list", "read", "update"],
                "",
                "",
                "create delete",
            ),
            (&["root"], "", "", "root"),
        ] {
            let right = Right {
                path: "p".to_owned(),
                has: has.iter().map(|word| (*word).to_owned()).collect(),
                needs: &["read"],
                uses: &["read", "update"],
                harmless: &["list"],
            };
            let said = |words: Vec<&str>| words.join(" ");
            assert_eq!(said(right.lacking().collect()), lacking, "{has:?}");
            assert_eq!(said(right.missed().collect()), missed, "{has:?}");
            assert_eq!(said(right.excess().collect()), excess, "{has:?}");
        }
    }
}
