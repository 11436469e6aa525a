//! "Did you mean": the nearest of a few words.
//!
//! Job: optimal string alignment distance (a swap of neighbours counts once), at most a third of the word.
//! Failure mode: nothing near is `None`.

use strsim::osa_distance;

/// The candidate that `word` is most likely a slip for.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    let most = (length / 3).max(1);
    candidates
        .into_iter()
        // the distance is no less than the difference of the lengths, and takes far longer to know
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= most)
        .map(|candidate| (osa_distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|&(distance, _)| distance <= most)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_finds_none() {
        let words = ["proxy", "proxy_auth", "transparent", "limits"];
        for (slip, want) in [
            ("limit", Some("limits")),
            ("porxy", Some("proxy")),
            ("proxyauth", Some("proxy_auth")),
            ("proxy-auth", Some("proxy_auth")),
            ("Transparent", Some("transparent")),
            ("transprent", Some("transparent")),
            ("ports", None),
            ("", None),
        ] {
            assert_eq!(nearest(slip, words), want, "{slip}");
        }
    }
}
