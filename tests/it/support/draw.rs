//! Random draws that can be drawn again, and sizes that the environment may change.

use std::ffi::OsString;

/// A sequence of draws that its seed decides (`SplitMix64`).
pub(crate) struct Draw(u64);

impl Draw {
    /// The sequence of a seed.
    pub(crate) const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub(crate) const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % end as u64).unwrap()
    }

    /// Whether one of `of` equal chances came up.
    pub(crate) fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

/// A size that the environment gives, or the usual one.
pub(crate) fn size(variable: &str, usual: usize) -> usize {
    let given = std::env::var_os(variable).map(OsString::into_string);
    given.map_or(usual, |text| {
        let text = text.unwrap();
        text.parse()
            .unwrap_or_else(|error| panic!("{variable}={text}: {error}"))
    })
}

/// Prints what was measured, for the table of `.ci/nightly`.
pub(crate) fn figure(text: &str) {
    // on a line of its own, whatever the runner has begun to print
    eprintln!("\nfigure: {text}");
}
