//! A JSON body as policy reads it.
//!
//! Job: a document with every field in it, the repeated ones too.
//! Invariants: which of two fields of one name an origin takes is not ours to know, so both are kept.
//! Failure mode: an error of the deserializer, which the caller does not quote.
//! Source: RFC 8259 section 4 (names should be unique, and what follows where they are not is unpredictable).

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON document, as far as policy has to look into it.
#[derive(PartialEq, Eq, Debug)]
pub enum Body {
    /// `null`.
    Null,
    /// A number or a truth value.
    Other,
    /// A text.
    Text(String),
    /// A list.
    Array(Vec<Self>),
    /// Fields, as often as they stand there.
    Object(Vec<(String, Self)>),
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Body;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Body, E> {
        Ok(Body::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Body, E> {
        Ok(Body::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Body, E> {
        Ok(Body::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Body, E> {
        Ok(Body::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Body, E> {
        Ok(Body::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Body, E> {
        Ok(Body::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Body, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Body::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Body, A::Error> {
        let mut all = Vec::new();
        while let Some(field) = fields.next_entry()? {
            all.push(field);
        }
        Ok(Body::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use serde::de::value::{BytesDeserializer, Error};

    use super::*;

    #[test]
    fn every_field_is_kept_in_order_the_repeated_ones_too() {
        let text = r#"{"a":[null,true,-1,2,0.5,"x"],"b":{},"a":"y"}"#;
        let items = vec![
            Body::Null,
            Body::Other,
            Body::Other,
            Body::Other,
            Body::Other,
            Body::Text("x".to_owned()),
        ];
        let want = Body::Object(vec![
            ("a".to_owned(), Body::Array(items)),
            ("b".to_owned(), Body::Object(Vec::new())),
            ("a".to_owned(), Body::Text("y".to_owned())),
        ]);
        assert_eq!(serde_json::from_str::<Body>(text).unwrap(), want);
    }

    #[test]
    fn what_no_json_holds_is_refused() {
        let refused = Body::deserialize(BytesDeserializer::<Error>::new(b"x")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "invalid type: byte array, expected JSON"
        );
    }
}
