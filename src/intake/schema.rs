//! JSON Schemas (drafts 4 to 2020-12), checked on the borrowed document: no tree is built for a payload
//! that meets its schema. A violation gives the pointer and a text such as
//! `900 is greater than the maximum of 400`.
//!
//! Compiled at load, with remote references off and patterns on the linear engine: a schema can neither
//! fetch anything nor make a payload expensive.

use std::borrow::Cow;

use jsonschema::json::{Array, Json, JsonNumber, Node as JsonNode, NodeIdentity, Object};
use jsonschema::{JsonType, PatternOptions, Validator};
use serde_json::Value;

use crate::config;
use crate::model::Reason;

use super::document::{Elements, Entry, Members, Node, Number};
use super::limits::PATTERN_BYTES_MAX;
use super::rejection::Rejection;

/// A compiled schema.
pub struct Schema {
    validator: Validator<Tape>,
}

impl Schema {
    /// Compiles `schema`.
    ///
    /// # Errors
    /// The text of what is wrong with it.
    pub fn new(schema: &config::Schema) -> Result<Self, String> {
        let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX);
        let options = jsonschema::options_for::<Tape>().offline().with_pattern_options(patterns);
        match options.build(&schema.document) {
            Ok(validator) => Ok(Self { validator }),
            Err(error) => Err(format!("schema {:?}: {error}", schema.name)),
        }
    }

    /// Checks one document.
    ///
    /// # Errors
    /// [`Reason::Schema`] with the place and the first violation.
    pub fn check(&self, document: Node<'_>) -> Result<(), Rejection> {
        // The quick answer first: only a refusal needs the place.
        if self.validator.is_valid(document) {
            return Ok(());
        }
        match self.validator.validate(document) {
            Ok(()) => Ok(()),
            Err(error) => {
                Err(Rejection::new(Reason::Schema, error.to_string()).at(error.instance_path().as_str()))
            }
        }
    }
}

/// The tape as a representation of JSON that the validator reads.
struct Tape;

impl Json for Tape {
    type Node<'a> = Node<'a>;
    type PreparedKey = Box<str>;
    type StringBuffer = ();

    // A lookup walks the members, so one pass over them replaces any number of lookups.
    const KEYS_PER_LOOKUP: usize = 8;
    const ACYCLIC: bool = true;

    fn prepare_key(key: &str) -> Box<str> {
        key.into()
    }

    fn with_string_node<T>(_buffer: &mut (), string: &str, f: impl FnOnce(Node<'_>) -> T) -> T {
        f(Node::only(&[Entry::Text(Cow::Borrowed(string))]))
    }
}

impl<'a> JsonNode<'a, Tape> for Node<'a> {
    type Object = Members<'a>;
    type Array = Elements<'a>;
    type Number = Number;

    fn as_object(&self) -> Option<Members<'a>> {
        (*self).as_object()
    }

    fn as_array(&self) -> Option<Elements<'a>> {
        (*self).as_array()
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        if let Entry::Text(text) = self.entry() { Some(Cow::Borrowed(text)) } else { None }
    }

    fn as_number(&self) -> Option<Number> {
        if let Entry::Number(number) = self.entry() { Some(*number) } else { None }
    }

    fn as_boolean(&self) -> Option<bool> {
        if let Entry::Bool(value) = self.entry() { Some(*value) } else { None }
    }

    fn is_null(&self) -> bool {
        matches!(self.entry(), Entry::Null)
    }

    fn json_type(&self) -> JsonType {
        match self.entry() {
            Entry::Null => JsonType::Null,
            Entry::Bool(_) => JsonType::Boolean,
            Entry::Number(_) => JsonType::Number,
            Entry::Text(_) => JsonType::String,
            Entry::Array { .. } => JsonType::Array,
            Entry::Object { .. } => JsonType::Object,
        }
    }

    fn equals_value(&self, expected: &Value) -> bool {
        match (self.entry(), expected) {
            (Entry::Text(text), Value::String(expected)) => text == expected,
            (Entry::Text(_), _) | (_, Value::String(_)) => false,
            _ => jsonschema::json::cmp::equal(&self.to_value(), expected),
        }
    }

    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(value(*self))
    }

    fn identity(&self) -> Option<NodeIdentity> {
        let (address, at) = Node::identity(*self);
        Some(NodeIdentity::tagged(address, at))
    }
}

/// The tree of a node: for error texts, and for `const`, `enum` and `uniqueItems` over what is no text.
fn value(node: Node<'_>) -> Value {
    match node.entry() {
        Entry::Null => Value::Null,
        Entry::Bool(value) => Value::Bool(*value),
        Entry::Number(number) => Value::Number(number.to_number().into_owned()),
        Entry::Text(text) => Value::String(text.clone().into_owned()),
        Entry::Array { .. } => node.as_array().into_iter().flatten().map(value).collect(),
        Entry::Object { .. } => {
            let members = node.as_object().into_iter().flatten();
            members.map(|(name, member)| (name.to_owned(), value(member))).collect()
        }
    }
}

impl<'a> Object<'a, Tape> for Members<'a> {
    type Node = Node<'a>;
    type MemberName = &'a str;
    type MembersIter = Self;

    fn len(&self) -> usize {
        ExactSizeIterator::len(self)
    }

    fn get(&self, key: &Box<str>) -> Option<Node<'a>> {
        (*self).get(key)
    }

    fn members(&self) -> Self {
        *self
    }
}

impl<'a> Array<'a, Tape> for Elements<'a> {
    type Node = Node<'a>;
    type ElementsIter = Self;

    fn len(&self) -> usize {
        ExactSizeIterator::len(self)
    }

    fn elements(&self) -> Self {
        *self
    }
}

impl JsonNumber for Number {
    fn as_u64(&self) -> Option<u64> {
        self.as_i64().and_then(|value| value.try_into().ok())
    }

    fn as_i64(&self) -> Option<i64> {
        if let Self::Integer(value) = self { Some(*value) } else { None }
    }

    fn as_f64(&self) -> Option<f64> {
        Some(Number::as_f64(*self))
    }

    fn as_str(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_number().to_string())
    }

    fn to_number(&self) -> Cow<'_, serde_json::Number> {
        let number = match *self {
            Self::Integer(value) => value.into(),
            Self::Double(value) => {
                serde_json::Number::from_f64(value).expect("numbers of the tape are finite")
            }
        };
        Cow::Owned(number)
    }

    fn is_integer(&self) -> bool {
        match self {
            Self::Integer(_) => true,
            Self::Double(value) => value.fract() == 0.0,
        }
    }

    fn is_written_as_integer(&self) -> bool {
        matches!(self, Self::Integer(_))
    }
}
