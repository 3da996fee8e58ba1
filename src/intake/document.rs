//! One decoded JSON or CBOR document, borrowed from the payload.
//!
//! A tape: every value is an entry, a container is followed by what it holds and knows where that ends, an
//! object holds name, value, name, value. One vector per document; texts are copied only where the
//! payload does not hold them as they are (escapes, chunked CBOR texts).
//!
//! Invariants: numbers are finite; a name stands once in its object; depth and size are within [`limits`].
//!
//! [`limits`]: super::limits

use std::borrow::Cow;

use crate::config::Pointer;
use crate::model::Cell;

use super::limits::{ENTRIES_MAX, MEMBERS_MAX};

/// A value on the tape.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry<'a> {
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text, or a member's name.
    Text(Cow<'a, str>),
    /// An array of `len` elements; the tape goes on at `end` after them.
    Array {
        /// The number of elements.
        len: u32,
        /// Index of the entry after the array.
        end: u32,
    },
    /// An object of `len` members; the tape goes on at `end` after them.
    Object {
        /// The number of members.
        len: u32,
        /// Index of the entry after the object.
        end: u32,
    },
}

/// A number: integers of 64 bits are kept exact, for times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Written without fraction or exponent.
    Integer(i64),
    /// Any other; finite.
    Double(f64),
}

impl Number {
    /// The number as fields have it.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Double(value) => value,
        }
    }
}

/// A decoded document.
#[derive(Debug, PartialEq)]
pub struct Document<'a> {
    tape: Vec<Entry<'a>>,
}

impl<'a> Document<'a> {
    /// The document's value.
    pub fn root(&self) -> Node<'_> {
        Node { tape: &self.tape, at: 0 }
    }
}

/// Why a value cannot be put on the tape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TapeError {
    /// [`ENTRIES_MAX`] reached.
    #[error("more than {ENTRIES_MAX} values")]
    TooManyValues,
    /// [`MEMBERS_MAX`] reached.
    #[error("more than {MEMBERS_MAX} members in an object")]
    TooManyMembers,
    /// A number that a double cannot hold.
    #[error("number is not finite")]
    NotFinite,
    /// A member that stands twice: what it means would depend on the reader (RFC 7493 section 2.3).
    #[error("member {0:?} stands twice in an object")]
    Duplicate(String),
}

/// Builds a [`Document`], value by value, for the decoders of JSON and CBOR.
#[derive(Default)]
pub struct Tape<'a> {
    tape: Vec<Entry<'a>>,
}

/// A container that was opened and is not closed yet.
pub struct Open {
    at: usize,
}

impl<'a> Tape<'a> {
    /// A tape with room for the entries that so many payload bytes usually make.
    pub fn for_bytes(bytes: usize) -> Self {
        const BYTES_PER_ENTRY: usize = 8;
        const ROOM_MAX: usize = 1_024;
        Self { tape: Vec::with_capacity((bytes / BYTES_PER_ENTRY + 4).min(ROOM_MAX)) }
    }

    /// Adds a value that holds no others.
    pub fn scalar(&mut self, entry: Entry<'a>) -> Result<(), TapeError> {
        if self.tape.len() == ENTRIES_MAX {
            return Err(TapeError::TooManyValues);
        }
        self.tape.push(entry);
        Ok(())
    }

    /// Adds a number that may not be finite.
    pub fn double(&mut self, value: f64) -> Result<(), TapeError> {
        if !value.is_finite() {
            return Err(TapeError::NotFinite);
        }
        self.scalar(Entry::Number(Number::Double(value)))
    }

    /// Begins an array or object; what is added until it is closed is its content.
    pub fn open(&mut self) -> Result<Open, TapeError> {
        let at = self.tape.len();
        self.scalar(Entry::Null)?;
        Ok(Open { at })
    }

    /// Ends the array `open` of `len` elements.
    pub fn close_array(&mut self, open: Open, len: usize) {
        let end = self.tape.len() as u32;
        self.tape[open.at] = Entry::Array { len: len as u32, end };
    }

    /// Ends the object `open` of `len` members.
    pub fn close_object(&mut self, open: Open, len: usize) -> Result<(), TapeError> {
        let end = self.tape.len() as u32;
        self.tape[open.at] = Entry::Object { len: len as u32, end };
        if len > MEMBERS_MAX {
            return Err(TapeError::TooManyMembers);
        }
        let object = Node { tape: &self.tape, at: open.at as u32 };
        object.repeated_name().map_or(Ok(()), |name| Err(TapeError::Duplicate(name.to_owned())))
    }

    /// The document, once its one value is complete.
    pub fn finish(self) -> Document<'a> {
        Document { tape: self.tape }
    }
}

/// A value of a [`Document`].
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    tape: &'a [Entry<'a>],
    at: u32,
}

impl<'a> Node<'a> {
    /// The only value on `tape`.
    pub(super) fn only(tape: &'a [Entry<'a>; 1]) -> Self {
        Self { tape, at: 0 }
    }

    /// The entry.
    pub fn entry(self) -> &'a Entry<'a> {
        &self.tape[self.at as usize]
    }

    /// What tells the node from all others: its tape's address and its place there.
    pub(super) fn identity(self) -> (usize, u32) {
        (self.tape.as_ptr() as usize, self.at)
    }

    /// What it is, for error texts.
    pub fn kind(self) -> &'static str {
        match self.entry() {
            Entry::Null => "null",
            Entry::Bool(_) => "a boolean",
            Entry::Number(_) => "a number",
            Entry::Text(_) => "a text",
            Entry::Array { .. } => "an array",
            Entry::Object { .. } => "an object",
        }
    }

    /// The scalar as a field has it; `None` for arrays and objects.
    pub fn cell(self) -> Option<Cell<'a>> {
        match self.entry() {
            Entry::Null => Some(Cell::Null),
            Entry::Bool(value) => Some(Cell::Bool(*value)),
            Entry::Number(value) => Some(Cell::Number(value.as_f64())),
            Entry::Text(text) => Some(Cell::Text(text)),
            Entry::Array { .. } | Entry::Object { .. } => None,
        }
    }

    /// The members, if it is an object.
    pub fn as_object(self) -> Option<Members<'a>> {
        match *self.entry() {
            Entry::Object { len, .. } => Some(Members { next: self.after(1), left: len }),
            _ => None,
        }
    }

    /// The elements, if it is an array.
    pub fn as_array(self) -> Option<Elements<'a>> {
        match *self.entry() {
            Entry::Array { len, .. } => Some(Elements { next: self.after(1), left: len }),
            _ => None,
        }
    }

    /// The value that `pointer` points to.
    pub fn pointer(self, pointer: &Pointer) -> Option<Node<'a>> {
        pointer.tokens.iter().try_fold(self, |node, token| node.child(token))
    }

    fn child(self, token: &str) -> Option<Node<'a>> {
        if let Some(members) = self.as_object() {
            return members.get(token);
        }
        // RFC 6901 section 4: an array index has no leading zeros.
        let is_index = token == "0" || !token.starts_with(['0', '+']);
        self.as_array().filter(|_| is_index)?.nth(token.parse().ok()?)
    }

    fn after(self, entries: u32) -> Self {
        Self { tape: self.tape, at: self.at + entries }
    }

    /// The node that follows this one and all it holds; only to be read if there is one.
    fn following(self) -> Self {
        match *self.entry() {
            Entry::Array { end, .. } | Entry::Object { end, .. } => Self { tape: self.tape, at: end },
            _ => self.after(1),
        }
    }

    fn repeated_name(self) -> Option<&'a str> {
        const SCANNED_MAX: usize = 24;
        let members = self.as_object()?;
        if members.len() > SCANNED_MAX {
            let mut names: Vec<_> = members.map(|(name, _)| name).collect();
            names.sort_unstable();
            return names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        }
        let mut rest = members;
        while let Some((name, _)) = rest.next() {
            if rest.get(name).is_some() {
                return Some(name);
            }
        }
        None
    }
}

/// The members of an object, in their order.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a> {
    next: Node<'a>,
    left: u32,
}

impl<'a> Members<'a> {
    /// The value of the member `name`.
    pub fn get(self, name: &str) -> Option<Node<'a>> {
        self.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, Node<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let Entry::Text(name) = self.next.entry() else { return None };
        let value = self.next.after(1);
        self.next = value.following();
        Some((name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Members<'_> {}

/// The elements of an array, in their order.
#[derive(Clone, Copy, Debug)]
pub struct Elements<'a> {
    next: Node<'a>,
    left: u32,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let element = self.next;
        self.next = element.following();
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Elements<'_> {}
