//! The lowered tree and its evaluation: no allocation, unless texts are joined or `cel` is asked.
//!
//! Invariant: where `cel` gives a value for doubles and booleans, the tree gives the same, and where `cel`
//! fails, the tree fails (a property in the tests). Beyond `cel`: nulls, and `%` of doubles.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use super::interpret::Leaf;
use super::{Failure, Kind, Scope};
use crate::model::Cell;

/// A value on the way through the tree.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand<'a> {
    /// Missing.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number, maybe not finite.
    Number(f64),
    /// A text: a field's, a literal's, or one that was made here.
    Text(Cow<'a, str>),
}

/// A node of the tree.
#[derive(Debug)]
pub(super) enum Node {
    /// The value of a name.
    Name(usize),
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A quoted text.
    Text(Arc<str>),
    /// `!x`.
    Not(Box<Node>),
    /// `-x`.
    Negate(Box<Node>),
    /// `x == null`.
    IsNull(Box<Node>),
    /// `x + y` and the like.
    Arithmetic(Arithmetic, Box<[Node; 2]>),
    /// `x < y` and the like.
    Compare(Comparison, Box<[Node; 2]>),
    /// `x && y`: false as soon as one side is, even where the other fails.
    And(Box<[Node; 2]>),
    /// `x || y`: true as soon as one side is, even where the other fails.
    Or(Box<[Node; 2]>),
    /// `x ? y : z`.
    Choose(Box<[Node; 3]>),
    /// What only `cel` can do.
    Leaf(Box<Leaf>),
}

/// An arithmetic operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// A comparison operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl<'a> From<Cell<'a>> for Operand<'a> {
    fn from(cell: Cell<'a>) -> Self {
        match cell {
            Cell::Null => Self::Null,
            Cell::Bool(value) => Self::Bool(value),
            Cell::Number(value) => Self::Number(value),
            Cell::Text(value) => Self::Text(Cow::Borrowed(value)),
        }
    }
}

impl Operand<'_> {
    /// What it is, for error texts.
    pub(super) const fn article(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
        }
    }
}

impl Node {
    /// The value of this node.
    pub(super) fn eval<'a>(&'a self, scope: &'a dyn Scope) -> Result<Operand<'a>, Failure> {
        Ok(match self {
            Self::Name(slot) => scope.get(*slot).into(),
            Self::Null => Operand::Null,
            Self::Bool(value) => Operand::Bool(*value),
            Self::Number(value) => Operand::Number(*value),
            Self::Text(value) => Operand::Text(Cow::Borrowed(value)),
            Self::Not(of) => not(&of.eval(scope)?)?,
            Self::Negate(of) => negate(&of.eval(scope)?)?,
            Self::IsNull(of) => Operand::Bool(of.eval(scope)? == Operand::Null),
            Self::Arithmetic(operator, sides) => {
                operator.apply(sides[0].eval(scope)?, sides[1].eval(scope)?)?
            }
            Self::Compare(operator, sides) => {
                Operand::Bool(operator.apply(&sides[0].eval(scope)?, &sides[1].eval(scope)?)?)
            }
            Self::And(sides) => join(sides, scope, false)?,
            Self::Or(sides) => join(sides, scope, true)?,
            Self::Choose(parts) => match parts[0].eval(scope)? {
                Operand::Bool(true) => parts[1].eval(scope)?,
                Operand::Bool(false) | Operand::Null => parts[2].eval(scope)?,
                other => return Err(no_boolean("?", &other)),
            },
            Self::Leaf(leaf) => leaf.eval(scope)?,
        })
    }

    /// What this node yields, as far as that is known without values.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self {
            Self::Name(_) | Self::Null | Self::Leaf(_) => None,
            Self::Number(_) | Self::Negate(_) => Some(Kind::Number),
            Self::Text(_) => Some(Kind::Text),
            Self::Arithmetic(Arithmetic::Add, sides) => sides[0].kind().or(sides[1].kind()),
            Self::Arithmetic(..) => Some(Kind::Number),
            Self::Choose(parts) => parts[1].kind().filter(|kind| parts[2].kind() == Some(*kind)),
            _ => Some(Kind::Bool),
        }
    }
}

fn not<'a>(of: &Operand<'a>) -> Result<Operand<'a>, Failure> {
    match of {
        Operand::Null => Ok(Operand::Null),
        Operand::Bool(value) => Ok(Operand::Bool(!value)),
        other => Err(no_boolean("!", other)),
    }
}

fn negate<'a>(of: &Operand<'a>) -> Result<Operand<'a>, Failure> {
    match of {
        Operand::Null => Ok(Operand::Null),
        Operand::Number(value) => Ok(Operand::Number(-value)),
        other => Err(Failure(format!("- takes a number, got {}", other.article()))),
    }
}

fn no_boolean(operator: &str, got: &Operand<'_>) -> Failure {
    Failure(format!("{operator} takes booleans, got {}", got.article()))
}

/// `&&` (`decisive` false) and `||` (`decisive` true), with `cel`'s absorption: a decisive side wins over a
/// failure of the left one. A null side is undecided.
fn join<'a>(sides: &'a [Node; 2], scope: &'a dyn Scope, decisive: bool) -> Result<Operand<'a>, Failure> {
    let side = |node: &'a Node| match node.eval(scope)? {
        Operand::Bool(value) => Ok(Some(value)),
        Operand::Null => Ok(None),
        other => Err(no_boolean(if decisive { "||" } else { "&&" }, &other)),
    };
    let left = side(&sides[0]);
    if left == Ok(Some(decisive)) {
        return Ok(Operand::Bool(decisive));
    }
    let right = side(&sides[1])?;
    if right == Some(decisive) {
        return Ok(Operand::Bool(decisive));
    }
    Ok(left?.and(right).map_or(Operand::Null, Operand::Bool))
}

impl Arithmetic {
    fn apply<'a>(self, left: Operand<'a>, right: Operand<'a>) -> Result<Operand<'a>, Failure> {
        match (left, right) {
            (Operand::Null, _) | (_, Operand::Null) => Ok(Operand::Null),
            (Operand::Number(left), Operand::Number(right)) => Ok(Operand::Number(self.of(left, right))),
            (Operand::Text(left), Operand::Text(right)) if self == Self::Add => {
                Ok(Operand::Text(left + right))
            }
            (left, right) => {
                let (left, right) = (left.article(), right.article());
                Err(Failure(format!("{} takes numbers, got {left} and {right}", self.sign())))
            }
        }
    }

    fn of(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Remainder => left % right,
        }
    }

    const fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

impl Comparison {
    /// Null compares false with everything; values of two kinds are different, but in no order.
    fn apply(self, left: &Operand<'_>, right: &Operand<'_>) -> Result<bool, Failure> {
        let order = match (left, right) {
            (Operand::Null, _) | (_, Operand::Null) => return Ok(false),
            (Operand::Number(left), Operand::Number(right)) => left.partial_cmp(right),
            (Operand::Text(left), Operand::Text(right)) => Some(left.cmp(right)),
            (Operand::Bool(left), Operand::Bool(right)) => Some(left.cmp(right)),
            _ => None,
        };
        match self {
            Self::Equal => Ok(order == Some(Ordering::Equal)),
            Self::NotEqual => Ok(order != Some(Ordering::Equal)),
            _ => order
                .map(|order| self.holds(order))
                .ok_or_else(|| Failure(format!("{} and {} have no order", left.article(), right.article()))),
        }
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}
