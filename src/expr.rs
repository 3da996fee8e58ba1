//! Expressions of the configuration: CEL, compiled at load with its names checked.
//!
//! Numbers and number literals are all doubles. A missing or null value makes arithmetic null and a comparison
//! false (`x == null` and `has(x)` ask for it); any other failure is a [`Failure`], which the caller counts.
//! The way of a text: `parse` asks `cel` for its tree, `lower` turns names, literals, arithmetic, comparisons
//! and logic into a small tree of our own that allocates nothing, and leaves the rest (functions, `in`, lists,
//! macros) as leaves that `interpret` hands to `cel`'s interpreter. `aggregate` reads the values of `select`.
//! Source: the CEL language definition, <https://github.com/google/cel-spec>.

mod aggregate;
mod eval;
mod interpret;
mod lower;
mod parse;

use std::sync::Arc;

pub use aggregate::aggregate;

use crate::model::{Cell, Value};
use eval::Node;

/// Longest expression in bytes. Nothing that a person wrote is longer.
pub const EXPRESSION_BYTES_MAX: usize = 2048;

/// The names that expressions of one place use, each with its slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Vec<Arc<str>>);

impl Names {
    /// The slot of `name`, new if it has none yet.
    pub fn slot(&mut self, name: &str) -> usize {
        self.find(name).unwrap_or_else(|| {
            self.0.push(name.into());
            self.0.len() - 1
        })
    }

    /// The slot of `name`.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|known| **known == *name)
    }

    /// Names in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter()
    }

    /// The number of slots.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Where a program gets the values of its names.
pub trait Scope {
    /// The value of the name in `slot`; null where there is none.
    fn get(&self, slot: usize) -> Cell<'_>;
}

/// A compiled expression. Its slots are those of the [`Names`] it was compiled with.
#[derive(Debug)]
pub struct Program {
    /// As written; for an aggregate's argument, the whole aggregate.
    pub text: Arc<str>,
    node: Node,
    references: Vec<Reference>,
}

/// A name in an expression, with the place where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The name.
    pub name: Arc<str>,
    /// Its place in the text, in bytes, from 1.
    pub column: usize,
}

/// What an expression is known to yield before it runs (null aside).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A condition.
    Bool,
    /// A number.
    Number,
    /// A text.
    Text,
}

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CompileError {
    /// Where in the text, in bytes, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// Why an expression could not be evaluated: counted by the caller, never fatal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

/// Compiles `text`; names it uses get slots in `names`.
///
/// # Errors
/// [`CompileError`] when it is no CEL, or uses what no value here can have.
pub fn compile(text: &str, names: &mut Names) -> Result<Program, CompileError> {
    parse::with_stack(|| {
        let parsed = parse::parse(text)?;
        lower::program(text, &parsed, &parsed.root, names)
    })
}

impl Program {
    /// Whether the expression holds; null does not.
    ///
    /// # Errors
    /// [`Failure`] when it is no boolean or cannot be evaluated.
    pub fn test(&self, scope: &dyn Scope) -> Result<bool, Failure> {
        match self.node.eval(scope)? {
            eval::Operand::Null => Ok(false),
            eval::Operand::Bool(value) => Ok(value),
            other => Err(Failure(format!("expected a boolean, got {}", other.article()))),
        }
    }

    /// The number it yields; `None` where it is null or missing. It may be infinite or no number.
    ///
    /// # Errors
    /// [`Failure`] when it is no number or cannot be evaluated.
    pub fn number(&self, scope: &dyn Scope) -> Result<Option<f64>, Failure> {
        match self.node.eval(scope)? {
            eval::Operand::Null => Ok(None),
            eval::Operand::Number(value) => Ok(Some(value)),
            other => Err(Failure(format!("expected a number, got {}", other.article()))),
        }
    }

    /// The value it yields; null where that is a number without a JSON form.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be evaluated.
    pub fn value(&self, scope: &dyn Scope) -> Result<Value, Failure> {
        Ok(match self.node.eval(scope)? {
            eval::Operand::Null => Value::Null,
            eval::Operand::Bool(value) => Value::Bool(value),
            eval::Operand::Number(value) => Value::finite(value),
            eval::Operand::Text(value) => Value::Text(value.as_ref().into()),
        })
    }

    /// The slot, if the expression is nothing but a name.
    pub fn plain_name(&self) -> Option<usize> {
        if let Node::Name(slot) = self.node { Some(slot) } else { None }
    }

    /// The names it uses, in the order of the text.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// What it yields, as far as that is known without values.
    pub fn kind(&self) -> Option<Kind> {
        self.node.kind()
    }
}

#[cfg(test)]
mod tests;
