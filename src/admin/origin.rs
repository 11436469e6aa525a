//! Whether a browser asks on behalf of another site's page.
//!
//! Job: tell, by what browsers say of where a request comes from and no page can change.
//! Invariants: pure; what is said twice or is not known counts as another's; a caller that says nothing is no browser's page
//! (every browser of today sends `Sec-Fetch-Site`, and `Origin` with every POST). A link or a bookmark may lead here.
//! Failure mode: none.
//! Sources: RFC 6454 section 7 (Origin), W3C Fetch Metadata Request Headers.

use http::{HeaderMap, Method, header};

/// Whether the request is of another origin's page.
pub(super) fn is_foreign(method: &Method, headers: &HeaderMap) -> bool {
    let host = text(headers, "host").flatten().unwrap_or_default();
    let foreign_origin = text(headers, header::ORIGIN.as_str())
        .is_some_and(|origin| !origin.is_some_and(|origin| is_at(origin, host)));
    let foreign_site = match text(headers, "sec-fetch-site") {
        None | Some(Some("same-origin" | "none")) => false,
        Some(_) => !is_visit(method, headers),
    };
    foreign_origin || foreign_site
}

/// A field's one value; within, `None` where it is unreadable or there are several.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    Some(first.to_str().ok().filter(|_| values.next().is_none()))
}

fn is_at(origin: &str, host: &str) -> bool {
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// Whether somebody followed a link in a window of their own: they see the answer, the page that held the link does not.
fn is_visit(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::GET
        && text(headers, "sec-fetch-mode") == Some(Some("navigate"))
        && text(headers, "sec-fetch-dest") == Some(Some("document"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_origin_is_foreign_and_programs_own_pages_and_links_are_not() {
        let visit = [
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        let asked = |method: Method, fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            headers.insert("host", "127.0.0.1:9902".parse().unwrap());
            for (name, value) in fields {
                headers.append(*name, value.parse().unwrap());
            }
            is_foreign(&method, &headers)
        };
        for method in [Method::GET, Method::POST] {
            for own in [
                &[][..],
                &[
                    ("origin", "http://127.0.0.1:9902"),
                    ("sec-fetch-site", "same-origin"),
                ],
                &[("sec-fetch-site", "none")],
            ] {
                assert!(!asked(method.clone(), own), "{method} {own:?}");
            }
            for foreign in [
                &[("origin", "https://evil.example")][..],
                &[("origin", "null")],
                &[("origin", "http://127.0.0.1:8080")],
                &[("origin", "127.0.0.1:9902")],
                &[
                    ("origin", "http://127.0.0.1:9902"),
                    ("origin", "http://127.0.0.1:9902"),
                ],
                &[("sec-fetch-site", "cross-site")],
                &[("sec-fetch-site", "same-site")],
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("sec-fetch-site", "none"),
                ],
                &[("sec-fetch-site", "")],
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "no-cors"),
                    ("sec-fetch-dest", "image"),
                ],
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "iframe"),
                ],
            ] {
                assert!(asked(method.clone(), foreign), "{method} {foreign:?}");
            }
            let link = [&[("sec-fetch-site", "cross-site")][..], &visit].concat();
            assert_eq!(
                asked(method.clone(), &link),
                method == Method::POST,
                "{method} {link:?}"
            );
        }
    }
}
