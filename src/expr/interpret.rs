//! Parts of an expression that only `cel` can evaluate: functions, `in`, lists, macros.
//!
//! There is one root context for the process (30 µs to make), and an inner scope per evaluation (0.7 µs). A
//! leaf that fails while one of its names is null is null itself, like any operator with a null operand.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::common::types::{CelBool, CelDouble, CelNull, CelString};
use cel::common::value::Val;
use cel::{Context, Value};

use super::eval::Operand;
use super::{Failure, Scope};
use crate::model::Cell;

/// Functions and types of the language; it never changes.
static ROOT: LazyLock<Context<'static, 'static>> = LazyLock::new(Context::default);

/// Functions that `cel` offers here; what macros expand to is not among them.
pub(super) const FUNCTIONS: [&str; 8] =
    ["bool", "contains", "double", "endsWith", "int", "size", "startsWith", "string"];

/// Deepest tree of a part: the interpreter takes some 10 KiB of stack a level when not optimised.
pub(super) const DEPTH_MAX: usize = 48;

/// A part for the interpreter.
#[derive(Debug)]
pub(super) struct Leaf {
    tree: IdedExpr,
    /// Names it uses, with their slots.
    names: Vec<(Arc<str>, usize)>,
}

impl Leaf {
    /// The part `tree`, whose free names are `names`.
    pub(super) fn new(tree: &IdedExpr, names: Vec<(Arc<str>, usize)>) -> Self {
        let mut tree = tree.clone();
        make_doubles(&mut tree);
        Self { tree, names }
    }

    /// The part's value.
    pub(super) fn eval<'a>(&'a self, scope: &'a dyn Scope) -> Result<Operand<'a>, Failure> {
        let mut inner = ROOT.new_inner_scope();
        let mut has_null = false;
        for (name, slot) in &self.names {
            let cell = scope.get(*slot);
            has_null |= cell == Cell::Null;
            inner.add_variable_as_val(&**name, boxed(cell));
        }
        match Value::resolve(&self.tree, &inner) {
            Ok(value) => operand(value),
            Err(_) if has_null => Ok(Operand::Null),
            Err(error) => Err(Failure(error.to_string())),
        }
    }
}

fn boxed(cell: Cell<'_>) -> Box<dyn Val + '_> {
    match cell {
        Cell::Null => Box::new(CelNull),
        Cell::Bool(value) => Box::new(CelBool::from(value)),
        Cell::Number(value) => Box::new(CelDouble::from(value)),
        Cell::Text(value) => Box::new(CelString::from(value)),
    }
}

fn operand<'a>(value: Value) -> Result<Operand<'a>, Failure> {
    Ok(match value {
        Value::Null => Operand::Null,
        Value::Bool(value) => Operand::Bool(value),
        Value::Int(value) => Operand::Number(value as f64),
        Value::UInt(value) => Operand::Number(value as f64),
        Value::Float(value) => Operand::Number(value),
        Value::String(value) => Operand::Text(Cow::Owned(Arc::unwrap_or_clone(value))),
        other => return Err(Failure(format!("{:?} is no value here", other.type_of()))),
    })
}

/// Number literals are doubles everywhere but as the index of a list.
fn make_doubles(tree: &mut IdedExpr) {
    match &mut tree.expr {
        Expr::Literal(literal) => match literal {
            LiteralValue::Int(value) => *literal = LiteralValue::Double((*value.inner() as f64).into()),
            LiteralValue::UInt(value) => *literal = LiteralValue::Double((*value.inner() as f64).into()),
            _ => {}
        },
        Expr::Call(call) if call.func_name == cel::common::ast::operators::INDEX => {
            if let Some(list) = call.args.first_mut() {
                make_doubles(list);
            }
        }
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| make_doubles(target));
            call.args.iter_mut().for_each(make_doubles);
        }
        Expr::Comprehension(loops) => {
            make_doubles(&mut loops.iter_range);
            // `exists_one` counts, so its start has to be a double where its step is.
            make_doubles(&mut loops.accu_init);
            make_doubles(&mut loops.loop_step);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(make_doubles),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    make_doubles(&mut entry.value);
                }
            }
        }
        Expr::Select(select) => make_doubles(&mut select.operand),
        Expr::Ident(_) | Expr::Struct(_) | Expr::Unspecified => {}
    }
}
