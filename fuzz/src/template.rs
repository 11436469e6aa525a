//! The tree of templates agrees with trying every template in turn.

use spapi_sidecar::catalog::tree::{Tree, parameter_name, segments};

/// Every line but the last is a template, a greedy one where `*` stands in front; the last line is the path.
///
/// # Panics
/// When the tree finds something else than the slow matcher, or another template than was put in.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut lines: Vec<&str> = text.split('\n').collect();
    let path = lines.pop().unwrap_or_default();
    let mut tree = Tree::default();
    let mut kept = Vec::new();
    for line in lines {
        let (template, greedy) = match line.strip_prefix('*') {
            Some(template) => (template, true),
            None => (line, false),
        };
        if !template.starts_with('/') {
            continue;
        }
        let template = Template {
            text: template,
            greedy,
        };
        if tree.insert(template.text, greedy, template) {
            kept.push(template);
        } else {
            assert!(kept.iter().any(|other| other.kinds() == template.kinds()));
        }
    }
    assert_eq!(
        tree.find(path),
        slow(&kept, path),
        "{path:?} among {kept:?}"
    );
    for template in &kept {
        assert_eq!(
            tree.by_template(template.text),
            by_shape(&kept, template.text)
        );
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Template<'a> {
    text: &'a str,
    greedy: bool,
}

/// What a segment of a template is, in the order of preference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind<'a> {
    Literal(&'a str),
    Parameter,
    Rest,
}

impl<'a> Template<'a> {
    fn kinds(&self) -> Vec<Kind<'a>> {
        let count = segments(self.text).count();
        segments(self.text)
            .enumerate()
            .map(|(place, segment)| match parameter_name(segment) {
                None => Kind::Literal(segment),
                Some(_) if self.greedy && place + 1 == count => Kind::Rest,
                Some(_) => Kind::Parameter,
            })
            .collect()
    }

    fn matches(&self, path: &str) -> bool {
        if !path.starts_with('/') {
            return false;
        }
        let mut path = segments(path);
        for kind in self.kinds() {
            let Some(segment) = path.next() else {
                return false;
            };
            match kind {
                Kind::Literal(literal) if literal == segment => {}
                Kind::Parameter if !segment.is_empty() => {}
                Kind::Rest => return !segment.is_empty(),
                Kind::Literal(_) | Kind::Parameter => return false,
            }
        }
        path.next().is_none()
    }
}

fn slow<'t, 'a>(kept: &'t [Template<'a>], path: &str) -> Option<&'t Template<'a>> {
    let matching = kept.iter().filter(|template| template.matches(path));
    matching.min_by_key(|template| {
        let kinds = template.kinds().into_iter();
        kinds
            .map(|kind| match kind {
                Kind::Literal(_) => 0,
                Kind::Parameter => 1,
                Kind::Rest => 2,
            })
            .collect::<Vec<u8>>()
    })
}

/// The template of the same shape; where the last segment is a parameter, a greedy one first.
fn by_shape<'t, 'a>(kept: &'t [Template<'a>], text: &'a str) -> Option<&'t Template<'a>> {
    [true, false].into_iter().find_map(|greedy| {
        let wanted = Template { text, greedy }.kinds();
        kept.iter().find(|other| other.kinds() == wanted)
    })
}
