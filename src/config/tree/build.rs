//! The parser's events to a tree.
//!
//! Job: one document, no tags, keys that are text, aliases replaced by what they stand for.
//! Invariants: bounded depth, and a bounded number of nodes whatever the aliases multiply to.
//! Failure mode: the first thing that is not so stops the parse; there is no tree to look for other faults in.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::{Content, Entry, Node, Place, Scalar, Style};
use crate::config::error::Fault;

/// Nodes that one file may come to; an alias counts for what it stands for.
const MOST_NODES: usize = 200_000;
/// Collections inside collections.
const MOST_DEPTH: usize = 32;

type Stop = Box<Fault>;

/// A collection that is still open.
enum Open {
    List(Vec<Node>),
    Mapping(Vec<Entry>, Option<(String, Place)>),
}

struct Frame {
    place: Place,
    anchor: usize,
    open: Open,
}

#[derive(Default)]
struct Builder {
    frames: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

/// Builds the tree of a text. An empty text is an empty mapping.
pub(super) fn build(text: &str) -> Result<Node, Stop> {
    let options = granit_parser::options! { emit_comments: false, flow_nesting_limit: MOST_DEPTH, block_nesting_limit: MOST_DEPTH };
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| syntax(&error))?;
        builder.take(event, &span)?;
    }
    Ok(builder.root.unwrap_or(Node {
        place: Place::START,
        content: Content::Mapping(Vec::new()),
    }))
}

fn syntax(error: &ScanError) -> Stop {
    let marker = error.marker();
    let place = Place {
        line: marker.line(),
        column: marker.col() + 1,
    };
    Box::new(place.fault(
        "",
        format!("this is not YAML: {}", error.info()),
        "mend the syntax here or just above; the rest of the file has not been looked at",
    ))
}

fn place(span: &Span) -> Place {
    Place {
        line: span.start.line(),
        column: span.start.col() + 1,
    }
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Stop> {
        let here = place(span);
        if event.tag().is_some() {
            return Err(Box::new(here.fault(
                "",
                "a tag stands here",
                "remove what starts with `!`; every key has one type",
            )));
        }
        match event {
            Event::DocumentStart(..) if self.root.is_some() => Err(Box::new(here.fault(
                "",
                "a second document starts here",
                "keep one document in the file",
            ))),
            Event::Scalar(text, style, anchor, _) => {
                // the parser writes `~` for a value that is not there
                let text = if span.is_empty() {
                    String::new()
                } else {
                    text.into_owned()
                };
                self.scalar(here, text, style, anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.start(here, anchor, Open::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => {
                self.start(here, anchor, Open::Mapping(Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(here),
            Event::Alias(id) => self.alias(here, id),
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Anchor(..)
            | Event::UnresolvedAlias(_) => Ok(()),
            // the parser's list is open, and not knowing is refusing
            _ => Err(Box::new(here.fault(
                "",
                "something stands here that this version does not know",
                "write plain YAML 1.2",
            ))),
        }
    }

    fn scalar(
        &mut self,
        here: Place,
        text: String,
        style: ScalarStyle,
        anchor: usize,
    ) -> Result<(), Stop> {
        if let Some(Frame {
            open: Open::Mapping(_, key @ None),
            ..
        }) = self.frames.last_mut()
        {
            *key = Some((text, here));
            return Ok(());
        }
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted => Style::Verbatim,
            ScalarStyle::DoubleQuoted | ScalarStyle::Literal | ScalarStyle::Folded => Style::Quoted,
        };
        // what is empty stands nowhere: its key is where the reader has to look
        let place = match self.frames.last() {
            Some(Frame {
                open: Open::Mapping(_, Some((_, key))),
                ..
            }) if style == Style::Plain && text.is_empty() => *key,
            _ => here,
        };
        let scalar = Scalar {
            text,
            style,
            from_environment: false,
        };
        self.add(
            Node {
                place,
                content: Content::Scalar(scalar),
            },
            anchor,
            1,
        )
    }

    fn start(&mut self, place: Place, anchor: usize, open: Open) -> Result<(), Stop> {
        if self.wants_key() {
            return Err(Box::new(key_fault(place)));
        }
        self.frames.push(Frame {
            place,
            anchor,
            open,
        });
        Ok(())
    }

    fn end(&mut self, here: Place) -> Result<(), Stop> {
        let Some(frame) = self.frames.pop() else {
            return Ok(());
        };
        let content = match frame.open {
            Open::List(items) => Content::List(items),
            Open::Mapping(entries, None) => Content::Mapping(entries),
            Open::Mapping(_, Some(_)) => return Err(Box::new(key_fault(here))),
        };
        self.add(
            Node {
                place: frame.place,
                content,
            },
            frame.anchor,
            1,
        )
    }

    fn alias(&mut self, here: Place, id: usize) -> Result<(), Stop> {
        if self.wants_key() {
            return Err(Box::new(key_fault(here)));
        }
        let Some(node) = self.anchors.get(&id).cloned() else {
            return Err(Box::new(here.fault(
                "",
                "an alias stands inside what it names",
                "write the value out",
            )));
        };
        let size = size(&node);
        self.add(node, 0, size)
    }

    fn wants_key(&self) -> bool {
        matches!(
            self.frames.last(),
            Some(Frame {
                open: Open::Mapping(_, None),
                ..
            })
        )
    }

    fn add(&mut self, node: Node, anchor: usize, nodes: usize) -> Result<(), Stop> {
        self.nodes += nodes;
        if self.nodes > MOST_NODES {
            return Err(Box::new(node.place.fault(
                "",
                format!("the file holds more than {MOST_NODES} values, aliases counted for what they stand for"),
                "write fewer",
            )));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.frames.last_mut().map(|frame| &mut frame.open) {
            Some(Open::List(items)) => items.push(node),
            Some(Open::Mapping(entries, key)) => {
                let Some((key, key_place)) = key.take() else {
                    return Err(Box::new(key_fault(node.place)));
                };
                entries.push(Entry {
                    key,
                    key_place,
                    value: node,
                });
            }
            None => self.root = Some(node),
        }
        Ok(())
    }
}

fn key_fault(place: Place) -> Fault {
    place.fault("", "a key has to be text", "write `key: value`")
}

fn size(node: &Node) -> usize {
    1 + match &node.content {
        Content::List(items) => items.iter().map(size).sum(),
        Content::Mapping(entries) => entries.iter().map(|entry| size(&entry.value)).sum(),
        Content::Scalar(_) | Content::Broken => 0,
    }
}
