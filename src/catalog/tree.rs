//! Path templates as a tree of segments.
//!
//! Job: find the template that a raw path is, without decoding a byte of it.
//! Invariants: a literal segment matches itself alone and wins over a parameter; a parameter matches one segment that is
//! not empty, whatever it is called; a greedy parameter is last and matches what is left. The cost of a look-up depends on
//! the depth of the path and not on the number of templates.
//! Failure mode: none; what is not there is not found.
//! Why not matchit: two templates that name a parameter differently at one place are no conflict here, a path that holds
//! a literal `{orderId}` has to be found, and a refusal walks the literals.

use crate::map::Map;

/// Values by path template.
#[derive(Debug)]
pub struct Tree<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    literals: Map<Box<str>, Self>,
    parameter: Option<Box<Self>>,
    /// What a greedy parameter here stands for.
    greedy: Option<T>,
    /// What a path that ends here stands for.
    value: Option<T>,
}

/// Whether a template's segment is a parameter; its name then.
#[must_use]
pub fn parameter_name(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// The segments of a path that starts with a slash; none for `/` itself.
pub fn segments(path: &str) -> impl Iterator<Item = &str> {
    rest_of_root(path).into_iter().flat_map(|r| r.split('/'))
}

/// What follows the leading slash, unless that is nothing.
fn rest_of_root(path: &str) -> Option<&str> {
    path.strip_prefix('/').filter(|rest| !rest.is_empty())
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { root: Node::new() }
    }
}

impl<T> Tree<T> {
    /// Adds a template, unless one of the same shape is there: the first one stays, and `false` is the answer.
    pub fn insert(&mut self, template: &str, greedy: bool, value: T) -> bool {
        let mut node = &mut self.root;
        let mut left = segments(template).peekable();
        while let Some(segment) = left.next() {
            if parameter_name(segment).is_none() {
                node = node
                    .literals
                    .entry(segment.into())
                    .or_insert_with(Node::new);
            } else if greedy && left.peek().is_none() {
                return fill(&mut node.greedy, value);
            } else {
                node = node.parameter.get_or_insert_with(|| Box::new(Node::new()));
            }
        }
        fill(&mut node.value, value)
    }

    /// What a raw path stands for.
    #[must_use]
    pub fn find(&self, raw_path: &str) -> Option<&T> {
        if !raw_path.starts_with('/') {
            return None;
        }
        self.root.find(rest_of_root(raw_path))
    }

    /// What a template stands for, whatever its parameters are called.
    #[must_use]
    pub fn by_template(&self, template: &str) -> Option<&T> {
        let mut node = &self.root;
        let mut left = segments(template).peekable();
        while let Some(segment) = left.next() {
            let last = left.peek().is_none();
            let child = match parameter_name(segment) {
                None => node.literals.get(segment),
                Some(_) if last && node.greedy.is_some() => return node.greedy.as_ref(),
                Some(_) => node.parameter.as_deref(),
            };
            node = child?;
        }
        node.value.as_ref()
    }

    /// For each segment of a path, whether it is a literal at its place in some template.
    pub fn literals<'a>(&'a self, raw_path: &'a str) -> impl Iterator<Item = (&'a str, bool)> {
        let mut here = Some(&self.root);
        segments(raw_path).map(move |segment| {
            let literal = here.and_then(|node| node.literals.get(segment));
            let known = literal.is_some();
            here = literal.or_else(|| here.and_then(|node| node.parameter.as_deref()));
            (segment, known)
        })
    }
}

impl<T> Node<T> {
    fn new() -> Self {
        Self {
            literals: Map::default(),
            parameter: None,
            greedy: None,
            value: None,
        }
    }

    /// Recursion is as deep as the deepest template, not as the path.
    fn find(&self, left: Option<&str>) -> Option<&T> {
        let Some(left) = left else {
            return self.value.as_ref();
        };
        let (segment, after) = match left.split_once('/') {
            Some((segment, after)) => (segment, Some(after)),
            None => (left, None),
        };
        if let Some(found) = self.literals.get(segment).and_then(|n| n.find(after)) {
            return Some(found);
        }
        if segment.is_empty() {
            return None;
        }
        let below = self.parameter.as_ref().and_then(|n| n.find(after));
        below.or(self.greedy.as_ref())
    }
}

fn fill<T>(place: &mut Option<T>, value: T) -> bool {
    if place.is_some() {
        return false;
    }
    *place = Some(value);
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree(templates: &[(&'static str, bool)]) -> Tree<&'static str> {
        let mut tree = Tree::default();
        for (template, greedy) in templates {
            assert!(tree.insert(template, *greedy, *template), "{template}");
        }
        tree
    }

    #[test]
    fn a_literal_wins_and_a_parameter_takes_one_raw_segment() {
        let tree = tree(&[
            ("/", false),
            ("/a/{x}", false),
            ("/a/b", false),
            ("/a/{y}/c", false),
            ("/a/b/d", false),
            ("/up/{rest}", true),
        ]);
        for (path, want) in [
            ("/", Some("/")),
            ("", None),
            ("a/b", None),
            ("/a", None),
            ("/a/", None),
            ("/a//c", None),
            ("/a/b", Some("/a/b")),
            ("/a/B", Some("/a/{x}")),
            ("/a/%62", Some("/a/{x}")),
            ("/a/x%2Fy", Some("/a/{x}")),
            ("/a/{x}", Some("/a/{x}")),
            // the literal leads nowhere, so the parameter has its turn
            ("/a/b/c", Some("/a/{y}/c")),
            ("/a/b/d", Some("/a/b/d")),
            ("/a/x/d", None),
            ("/up", None),
            ("/up/", None),
            ("/up/1", Some("/up/{rest}")),
            ("/up/1/2/3", Some("/up/{rest}")),
        ] {
            assert_eq!(tree.find(path).copied(), want, "{path}");
        }
    }

    #[test]
    fn the_first_template_of_a_shape_stays() {
        let mut tree = Tree::default();
        assert!(tree.insert("/a/{x}", false, 1));
        assert!(!tree.insert("/a/{y}", false, 2));
        assert_eq!(tree.find("/a/z"), Some(&1));
        assert_eq!(tree.by_template("/a/{other}"), Some(&1));
        assert_eq!(tree.by_template("/a/z"), None);
    }

    /// What the tree has to agree with: every template tried in turn, the most literal of those that match winning.
    fn slow<'a>(templates: &'a [String], path: &str) -> Option<&'a String> {
        let path: Vec<_> = segments(path).collect();
        let matching = templates.iter().filter(|template| {
            let template: Vec<_> = segments(template).collect();
            template.len() == path.len()
                && template
                    .iter()
                    .zip(&path)
                    .all(|(t, p)| t == p || (parameter_name(t).is_some() && !p.is_empty()))
        });
        matching.min_by_key(|t| {
            segments(t)
                .map(|s| parameter_name(s).is_some())
                .collect::<Vec<_>>()
        })
    }

    fn segment() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("a"),
            Just("b"),
            Just("%61"),
            Just("{x}"),
            Just("{y}"),
            Just("")
        ]
        .prop_map(str::to_owned)
    }

    fn path() -> impl Strategy<Value = String> {
        prop::collection::vec(segment(), 1..5).prop_map(|s| format!("/{}", s.join("/")))
    }

    proptest! {
        #[test]
        fn the_tree_agrees_with_trying_every_template(templates in prop::collection::vec(path(), 0..12), path in path()) {
            let mut tree = Tree::default();
            let mut kept = Vec::new();
            for template in templates {
                if tree.insert(&template, false, template.clone()) {
                    kept.push(template);
                }
            }
            prop_assert_eq!(tree.find(&path), slow(&kept, &path));
        }
    }
}
