//! "Did you mean": the nearest of a few words.
//!
//! Job: optimal string alignment distance (a swap of neighbours counts once), bounded by a third of the word.
//! Failure mode: nothing near is `None`.

/// The candidate that `word` is most likely a slip for.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_lowercase();
    let most = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|&(distance, _)| distance <= most)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    let mut previous = None;
    for (row, here) in left.chars().enumerate() {
        let mut current = Vec::with_capacity(last.len());
        current.push(row + 1);
        let mut previous_there = None;
        for (column, &there) in right.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX);
            let mut cost = (at(&last, column) + usize::from(here != there))
                .min(at(&last, column + 1) + 1)
                .min(at(&current, column) + 1);
            if column > 0 && previous == Some(there) && previous_there == Some(here) {
                cost = cost.min(at(&before_last, column - 1).saturating_add(1));
            }
            current.push(cost);
            previous_there = Some(there);
        }
        before_last = std::mem::replace(&mut last, current);
        previous = Some(here);
    }
    last.last().copied().unwrap_or_default()
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

    #[test]
    fn a_swap_of_neighbours_counts_once() {
        for (left, right, want) in [
            ("", "", 0),
            ("ab", "ba", 1),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(left, right), want, "{left} {right}");
        }
    }
}
