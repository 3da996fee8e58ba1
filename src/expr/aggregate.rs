//! The values of `select`: `avg(speed_kmh)`, `count()`, `sum(volts * amps)`.
//!
//! An aggregate is the outermost call; its argument is any expression over the pipeline's inputs.

use cel::common::ast::{CallExpr, Expr, IdedExpr};

use super::parse::{Parsed, parse, with_stack};
use super::{CompileError, Kind, Names, Program, lower};
use crate::config::Aggregate;

/// Aggregates of this version.
pub(super) const KNOWN: [&str; 6] = ["avg", "count", "max", "min", "stddev_pop", "sum"];

/// Aggregates that are promised, but not in this version.
const LATER: [&str; 13] = [
    "decrease",
    "delta",
    "distance_km",
    "distinct",
    "first",
    "first_arrived",
    "increase",
    "last",
    "last_arrived",
    "percentile",
    "stddev_samp",
    "var_pop",
    "var_samp",
];

/// Compiles the value of a `select` column; names it uses get slots in `names`.
///
/// # Errors
/// [`CompileError`] when it is no aggregate of an expression.
pub fn aggregate(text: &str, names: &mut Names) -> Result<Aggregate, CompileError> {
    with_stack(|| compile(text, names))
}

fn compile(text: &str, names: &mut Names) -> Result<Aggregate, CompileError> {
    let parsed = parse(text)?;
    let Expr::Call(call) = &parsed.root.expr else {
        return Err(parsed.error(&parsed.root, format!("expected an aggregate: {}", known())));
    };
    let argument = argument(&parsed, call)?;
    let Some(argument) = argument else { return Ok(Aggregate::Count) };
    let program = lower::program(text, &parsed, argument, names)?;
    numeric(&parsed, call, &program)?;
    Ok(match call.func_name.as_str() {
        "avg" => Aggregate::Avg(program),
        "count" => Aggregate::CountOf(program),
        "max" => Aggregate::Max(program),
        "min" => Aggregate::Min(program),
        "stddev_pop" => Aggregate::StddevPop(program),
        _ => Aggregate::Sum(program),
    })
}

fn known() -> String {
    format!("{} of an expression", KNOWN.join(", "))
}

/// The one argument of a known aggregate; `None` for `count()`.
fn argument<'a>(parsed: &Parsed, call: &'a CallExpr) -> Result<Option<&'a IdedExpr>, CompileError> {
    let name = call.func_name.as_str();
    let fail = |message| Err(parsed.error(&parsed.root, message));
    if call.target.is_some() || name.starts_with(|c: char| !c.is_ascii_alphabetic()) {
        return fail(format!("expected one aggregate around all: {}", known()));
    }
    if LATER.contains(&name) {
        return fail(format!("aggregate \"{name}\" is not in this version (known: {})", KNOWN.join(", ")));
    }
    if !KNOWN.contains(&name) {
        return fail(format!("unknown aggregate \"{name}\" (known: {})", KNOWN.join(", ")));
    }
    match &call.args[..] {
        [] if name == "count" => Ok(None),
        [argument] => Ok(Some(argument)),
        arguments => fail(format!("{name} takes one expression, got {}", arguments.len())),
    }
}

/// `count(expression)` counts where it is true, all others need numbers.
fn numeric(parsed: &Parsed, call: &CallExpr, program: &Program) -> Result<(), CompileError> {
    let expected = if call.func_name == "count" { Kind::Bool } else { Kind::Number };
    match program.kind() {
        Some(kind) if kind != expected => {
            let word = if expected == Kind::Bool { "a name or a condition" } else { "a number" };
            Err(parsed.error(&call.args[0], format!("{} takes {word}", call.func_name)))
        }
        _ => Ok(()),
    }
}
