//! From a document's members to a reading's fields.
//!
//! With `[source.X.fields]`: what its pointers point to; a member that is not there is null. Without: every
//! scalar member of the root object, save those that are the time or the sensor's name; nested objects and
//! arrays are passed over.

use std::borrow::Cow;
use std::sync::Arc;

use senml::units::{Unit, convert, lookup};

use crate::config::{FieldRule, Source};
use crate::model::{Cell, Reason};

use super::document::{Members, Node};
use super::limits::{FIELD_NAME_BYTES_MAX, FIELDS_MAX, TEXT_BYTES_MAX};
use super::rejection::Rejection;
use super::sensor::Naming;

/// Fields of one reading, in order.
pub type Fields<'a> = Vec<(&'a str, Cell<'a>)>;

/// The rule of a source.
#[derive(Debug)]
pub struct FieldMap {
    rules: Option<Vec<FieldRule>>,
    /// Members of the root that are no fields.
    taken: Vec<Arc<str>>,
}

impl FieldMap {
    /// The rule of `source`, whose sensors are named by `naming`.
    pub fn new(source: &Source, naming: &Naming) -> Self {
        let time = source.time.at.iter().filter(|at| at.tokens.len() == 1).flat_map(|at| at.tokens.first());
        Self { rules: source.fields.clone(), taken: time.chain(naming.members()).cloned().collect() }
    }

    /// Puts the fields of the object `root` into `fields`; says whether the payload has any of them.
    ///
    /// # Errors
    /// [`Reason::Field`] where a member that was asked for is an object or array, or beyond a limit.
    pub fn of_document<'a>(&'a self, root: Node<'a>, fields: &mut Fields<'a>) -> Result<bool, Rejection> {
        match &self.rules {
            Some(rules) => chosen(rules, root, fields),
            None => self.every_scalar(root.as_object(), fields),
        }
    }

    fn every_scalar<'a>(
        &self,
        members: Option<Members<'a>>,
        fields: &mut Fields<'a>,
    ) -> Result<bool, Rejection> {
        for (name, node) in members.into_iter().flatten() {
            let Some(cell) = node.cell() else { continue };
            if self.taken.iter().any(|taken| **taken == *name) {
                continue;
            }
            check(name, cell).map_err(|refusal| refusal.at(&pointer_to(name)))?;
            if fields.len() == FIELDS_MAX {
                return Err(refused(format!("more than {FIELDS_MAX} fields")));
            }
            fields.push((name, cell));
        }
        Ok(!fields.is_empty())
    }

    /// The field that a SenML record `name` is, its unit, and null where the source does not ask for it.
    pub fn of_record(&self, name: &str) -> Option<Target<'_>> {
        let Some(rules) = &self.rules else { return Some(Target { name: None, unit: None }) };
        let rule =
            rules.iter().find(|rule| matches!(rule.at.tokens.as_slice(), [token] if **token == *name))?;
        Some(Target { name: Some(&rule.name), unit: rule.unit.as_deref() })
    }
}

/// What becomes of a SenML record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The field's name; `None`: the record's own.
    pub name: Option<&'a str>,
    /// The unit the field has; `None`: the record's own.
    pub unit: Option<&'a str>,
}

fn chosen<'a>(rules: &'a [FieldRule], root: Node<'a>, fields: &mut Fields<'a>) -> Result<bool, Rejection> {
    let mut has_any = false;
    for rule in rules {
        let node = root.pointer(&rule.at);
        has_any |= node.is_some();
        let cell = node.map_or(Ok(Cell::Null), scalar);
        let cell = cell.and_then(|cell| check(&rule.name, cell).map(|()| cell));
        fields.push((&rule.name, cell.map_err(|refusal| refusal.at(&rule.at.text))?));
    }
    Ok(has_any)
}

fn scalar(node: Node<'_>) -> Result<Cell<'_>, Rejection> {
    node.cell().ok_or_else(|| refused(format!("{} is no value of a field", node.kind())))
}

/// Whether `name` and `cell` are within the limits of a field.
///
/// # Errors
/// [`Reason::Field`].
pub fn check(name: &str, cell: Cell<'_>) -> Result<(), Rejection> {
    if name.is_empty() || name.len() > FIELD_NAME_BYTES_MAX {
        return Err(refused(format!(
            "a field's name has 1 to {FIELD_NAME_BYTES_MAX} bytes, not {}",
            name.len()
        )));
    }
    match cell {
        Cell::Text(text) if text.len() > TEXT_BYTES_MAX => {
            Err(refused(format!("text is longer than {TEXT_BYTES_MAX} bytes")))
        }
        _ => Ok(()),
    }
}

/// `value` in the unit called `wanted`. A value without a unit is taken as it is.
///
/// # Errors
/// [`Reason::Unit`] where the units do not measure the same.
pub fn in_unit(value: f64, unit: Option<&Unit>, wanted: &str) -> Result<f64, Rejection> {
    let Some(unit) = unit.filter(|unit| unit.symbol != wanted) else { return Ok(value) };
    let converted = lookup(wanted).and_then(|wanted| convert(value, unit, wanted));
    converted.filter(|value| value.is_finite()).ok_or_else(|| {
        Rejection::new(Reason::Unit, format!("{value} {unit} cannot be converted to {wanted}"))
    })
}

/// RFC 6901 pointer to the member `name` of the root.
fn pointer_to(name: &str) -> String {
    let escaped = if name.contains(['~', '/']) {
        Cow::Owned(name.replace('~', "~0").replace('/', "~1"))
    } else {
        Cow::Borrowed(name)
    };
    format!("/{escaped}")
}

fn refused(text: impl Into<String>) -> Rejection {
    Rejection::new(Reason::Field, text)
}
