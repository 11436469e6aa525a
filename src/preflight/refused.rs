//! What the answers to all calls say together.
//!
//! Job: tell one cause behind several refusals from several of their own.
//! Invariants: pure. Amazon answers a lapsed charge method like a missing role: only that every call is refused, across roles and
//! with a good token, tells them apart, and one call alone does not.
//! Sources: SP-API facts, section 4.

use crate::outcome::Denial;
use crate::token::judge::Meaning;

/// What came of one call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// Amazon took the token for it.
    Taken,
    /// It refused.
    Refused(Denial),
    /// It says nothing of the authorization: it is busy, or in trouble.
    Unclear(String),
    /// No answer came.
    Silence(String),
}

impl Said {
    /// What an answer says.
    pub(super) fn of(meaning: Meaning, status: u16) -> Self {
        match meaning {
            Meaning::Taken | Meaning::Neutral => Self::Taken,
            Meaning::Denied(Denial::Throttled) => Self::Unclear("Amazon is busy (429)".to_owned()),
            Meaning::Denied(denial) => Self::Refused(denial),
            Meaning::Malformed => {
                Self::Unclear("Amazon did not understand the call (400)".to_owned())
            }
            Meaning::Trouble => Self::Unclear(format!("Amazon answered {status}")),
        }
    }
}

/// One cause behind several refusals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Common {
    /// The client secret is past its date.
    Secret,
    /// The vendor group is not linked.
    VendorLink,
    /// The token itself is refused.
    Token,
    /// Everything is refused.
    Charge,
}

impl Common {
    /// The one cause, where there is one.
    pub(super) fn of(said: &[Said]) -> Option<Self> {
        let denials: Vec<Denial> = said
            .iter()
            .filter_map(|one| match one {
                Said::Refused(denial) => Some(*denial),
                Said::Taken | Said::Unclear(_) | Said::Silence(_) => None,
            })
            .collect();
        let has = |denial| denials.contains(&denial);
        let nothing_taken = !said.contains(&Said::Taken);
        let alike = denials
            .iter()
            .all(|denial| matches!(denial, Denial::Role | Denial::Unauthenticated));
        if has(Denial::SecretLapsed) {
            Some(Self::Secret)
        } else if has(Denial::VendorLink) {
            Some(Self::VendorLink)
        } else if nothing_taken && has(Denial::TokenInvalid) {
            Some(Self::Token)
        } else if nothing_taken && alike && denials.len() > 1 {
            Some(Self::Charge)
        } else {
            None
        }
    }

    /// Whether it explains a refusal.
    pub(super) const fn explains(self, denial: Denial) -> bool {
        match self {
            Self::Secret | Self::Charge => true,
            Self::VendorLink => matches!(denial, Denial::VendorLink | Denial::Role),
            Self::Token => matches!(
                denial,
                Denial::TokenInvalid | Denial::TokenExpired | Denial::Unauthenticated
            ),
        }
    }

    /// The row that says so.
    pub(super) const fn row(self) -> &'static str {
        match self {
            Self::Secret => "client_secret",
            Self::VendorLink => "vendor_link",
            Self::Token => "token",
            Self::Charge => "charge_method",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cause_is_told_from_several() {
        use Denial::*;
        let no = Said::Refused;
        let silence = || Said::Silence("reset".to_owned());
        for (said, want) in [
            (vec![], None),
            (vec![Said::Taken, Said::Taken], None),
            (vec![no(Role)], None),
            (vec![no(Role), Said::Taken], None),
            (vec![no(Role), no(Role)], Some(Common::Charge)),
            (
                vec![no(Unauthenticated), no(Unauthenticated)],
                Some(Common::Charge),
            ),
            (vec![no(Role), silence()], None),
            (vec![no(Role), no(Role), no(Forbidden)], None),
            (vec![no(Role), no(Role), no(DataElements)], None),
            (vec![no(SecretLapsed), no(Role)], Some(Common::Secret)),
            (vec![no(VendorLink), Said::Taken], Some(Common::VendorLink)),
            (vec![no(TokenInvalid)], Some(Common::Token)),
            (vec![no(TokenInvalid), Said::Taken], None),
        ] {
            assert_eq!(Common::of(&said), want, "{said:?}");
        }
    }
}
