//! What a person types while the answer is waited for.

use std::io::BufRead as _;

use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::cli::Complaint;
use crate::onboard::consent;

/// What a line is.
pub(super) enum Typed {
    /// The query of an address.
    Query(Zeroizing<String>),
    /// Something to say to it.
    Said(String),
}

/// Lines of standard input, as they come. The thread ends with the process.
pub(super) fn lines() -> Result<mpsc::Receiver<Zeroizing<String>>, Complaint> {
    let (send, receive) = mpsc::channel(4);
    std::thread::Builder::new()
        .name("typed".to_owned())
        .spawn(move || {
            for line in std::io::stdin().lock().lines() {
                let Ok(line) = line else { return };
                if send.blocking_send(Zeroizing::new(line)).is_err() {
                    return;
                }
            }
        })
        .map_err(|error| Complaint::while_doing("reading standard input", error))?;
    Ok(receive)
}

/// An address is an answer; a code of the consent page is explained.
pub(super) fn read(line: &str) -> Typed {
    let line = line.trim();
    if let Some((_, query)) = line.split_once('?') {
        let query = query.split('#').next().unwrap_or_default();
        return Typed::Query(Zeroizing::new(query.to_owned()));
    }
    if line.contains("spapi_oauth_code=") {
        return Typed::Query(Zeroizing::new(line.to_owned()));
    }
    if line.is_empty() {
        return Typed::Said(String::new());
    }
    Typed::Said(match consent::explain(line) {
        Some(meaning) => format!("{line}: {meaning}\n"),
        None => "paste the whole address that the browser ended at, or type the error code of the page\n".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_answer_and_a_code_is_explained() {
        for (line, want) in [
            (
                " https://e.com/cb?state=x&spapi_oauth_code=y#f \n",
                "state=x&spapi_oauth_code=y",
            ),
            ("state=x&spapi_oauth_code=y", "state=x&spapi_oauth_code=y"),
        ] {
            let Typed::Query(query) = read(line) else {
                panic!("{line}")
            };
            assert_eq!(*query, want);
        }
        let Typed::Said(text) = read("md9100") else {
            panic!()
        };
        assert!(text.contains("no redirect URI registered"));
        let Typed::Said(text) = read("what?no") else {
            return;
        };
        assert!(text.contains("paste"));
    }
}
