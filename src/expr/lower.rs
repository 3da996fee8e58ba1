//! `cel`'s tree to ours: names get slots, what cannot be lowered becomes a leaf.

use std::sync::Arc;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, operators};

use super::eval::{Arithmetic, Comparison, Node};
use super::interpret::{DEPTH_MAX, FUNCTIONS, Leaf};
use super::parse::{HAS, Parsed};
use super::{CompileError, Kind, Names, Program, Reference};

/// Compiles a part of `parsed`.
pub(super) fn program(
    text: &str,
    parsed: &Parsed,
    part: &IdedExpr,
    names: &mut Names,
) -> Result<Program, CompileError> {
    let mut lowering = Lowering { parsed, names, references: Vec::new() };
    let node = lowering.node(part)?;
    let mut references = lowering.references;
    references.sort_by_key(|reference| reference.column);
    Ok(Program { text: text.into(), node, references })
}

struct Lowering<'a> {
    parsed: &'a Parsed,
    names: &'a mut Names,
    references: Vec<Reference>,
}

impl Lowering<'_> {
    fn node(&mut self, part: &IdedExpr) -> Result<Node, CompileError> {
        match &part.expr {
            Expr::Ident(name) => Ok(Node::Name(self.slot(part, name))),
            Expr::Literal(literal) => self.literal(part, literal),
            Expr::Call(call) => self.call(part, call),
            Expr::Select(select) => Err(self.parsed.error(
                part,
                format!("\".{}\": values have no members; names are plain words", select.field),
            )),
            Expr::Struct(_) | Expr::Map(_) | Expr::List(_) | Expr::Unspecified => {
                Err(self.parsed.error(part, "expected a number, text or boolean"))
            }
            Expr::Comprehension(_) => self.leaf(part),
        }
    }

    fn literal(&self, part: &IdedExpr, literal: &LiteralValue) -> Result<Node, CompileError> {
        Ok(match literal {
            LiteralValue::Boolean(value) => Node::Bool(*value.inner()),
            LiteralValue::Double(value) => Node::Number(*value.inner()),
            LiteralValue::Int(value) => Node::Number(*value.inner() as f64),
            LiteralValue::UInt(value) => Node::Number(*value.inner() as f64),
            LiteralValue::String(value) => Node::Text(value.inner().into()),
            LiteralValue::Null => Node::Null,
            LiteralValue::Bytes(_) => return Err(self.parsed.error(part, "there are no byte strings here")),
        })
    }

    fn call(&mut self, part: &IdedExpr, call: &CallExpr) -> Result<Node, CompileError> {
        if call.target.is_some() {
            return self.leaf(part);
        }
        match (call.func_name.as_str(), &call.args[..]) {
            (HAS, [of]) => Ok(Node::Not(Box::new(self.is_null(of)?))),
            (operators::LOGICAL_NOT, [of]) => Ok(Node::Not(Box::new(self.typed(of, Kind::Bool)?))),
            (operators::NEGATE, [of]) => Ok(Node::Negate(Box::new(self.typed(of, Kind::Number)?))),
            (operators::LOGICAL_AND, [left, right]) => Ok(Node::And(self.both(left, right, Kind::Bool)?)),
            (operators::LOGICAL_OR, [left, right]) => Ok(Node::Or(self.both(left, right, Kind::Bool)?)),
            (operators::CONDITIONAL, [when, yes, no]) => {
                let parts = [self.typed(when, Kind::Bool)?, self.node(yes)?, self.node(no)?];
                Ok(Node::Choose(Box::new(parts)))
            }
            (name, [left, right]) => {
                if let Some(operator) = arithmetic(name) {
                    let sides = match operator {
                        Arithmetic::Add => Box::new([self.node(left)?, self.node(right)?]),
                        _ => self.both(left, right, Kind::Number)?,
                    };
                    return Ok(Node::Arithmetic(operator, sides));
                }
                match comparison(name) {
                    Some(operator) => self.compare(operator, left, right),
                    None => self.leaf(part),
                }
            }
            _ => self.leaf(part),
        }
    }

    fn both(
        &mut self,
        left: &IdedExpr,
        right: &IdedExpr,
        kind: Kind,
    ) -> Result<Box<[Node; 2]>, CompileError> {
        Ok(Box::new([self.typed(left, kind)?, self.typed(right, kind)?]))
    }

    /// A node that must yield `kind`; one whose kind is not known yet is checked when it runs.
    fn typed(&mut self, part: &IdedExpr, kind: Kind) -> Result<Node, CompileError> {
        let node = self.node(part)?;
        match node.kind() {
            Some(other) if other != kind => {
                Err(self.parsed.error(part, format!("expected {}, this is {}", word(kind), word(other))))
            }
            _ => Ok(node),
        }
    }

    fn compare(
        &mut self,
        operator: Comparison,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Result<Node, CompileError> {
        let of_null = match (&left.expr, &right.expr) {
            (_, Expr::Literal(LiteralValue::Null)) => Some(left),
            (Expr::Literal(LiteralValue::Null), _) => Some(right),
            _ => None,
        };
        match (operator, of_null) {
            (Comparison::Equal, Some(of)) => self.is_null(of),
            (Comparison::NotEqual, Some(of)) => Ok(Node::Not(Box::new(self.is_null(of)?))),
            (_, Some(of)) => Err(self.parsed.error(of, "null has no order")),
            (_, None) => {
                let sides = [self.node(left)?, self.node(right)?];
                if let (Some(one), Some(other)) = (sides[0].kind(), sides[1].kind())
                    && one != other
                {
                    let message = format!("{} is compared with {}", word(one), word(other));
                    return Err(self.parsed.error(right, message));
                }
                Ok(Node::Compare(operator, Box::new(sides)))
            }
        }
    }

    fn is_null(&mut self, of: &IdedExpr) -> Result<Node, CompileError> {
        Ok(Node::IsNull(Box::new(self.node(of)?)))
    }

    fn leaf(&mut self, part: &IdedExpr) -> Result<Node, CompileError> {
        if depth(part) > DEPTH_MAX {
            let message =
                format!("more than {DEPTH_MAX} operators and brackets deep within a function or macro");
            return Err(self.parsed.error(part, message));
        }
        let mut found = Vec::new();
        self.free_names(part, &mut Vec::new(), &mut found)?;
        let mut names: Vec<(Arc<str>, usize)> = Vec::new();
        for (node, name) in found {
            let slot = self.slot(node, name);
            if names.iter().all(|(_, known)| *known != slot) {
                names.push((name.into(), slot));
            }
        }
        Ok(Node::Leaf(Box::new(Leaf::new(part, names))))
    }

    fn slot(&mut self, part: &IdedExpr, name: &str) -> usize {
        self.references.push(Reference { name: name.into(), column: self.parsed.column(part) });
        self.names.slot(name)
    }

    /// Names of a leaf that no macro binds; checks its functions on the way.
    fn free_names<'e>(
        &self,
        part: &'e IdedExpr,
        bound: &mut Vec<&'e str>,
        found: &mut Vec<(&'e IdedExpr, &'e str)>,
    ) -> Result<(), CompileError> {
        match &part.expr {
            Expr::Ident(name) if bound.contains(&name.as_str()) || name.starts_with('@') => {}
            Expr::Ident(name) => found.push((part, name)),
            Expr::Call(call) => {
                self.check_function(part, call)?;
                for inner in call.target.as_deref().into_iter().chain(&call.args) {
                    self.free_names(inner, bound, found)?;
                }
            }
            Expr::Comprehension(loops) => {
                self.free_names(&loops.iter_range, bound, found)?;
                let outer = bound.len();
                bound.extend([loops.iter_var.as_str(), loops.accu_var.as_str()]);
                bound.extend(loops.iter_var2.as_deref());
                for inner in [&loops.accu_init, &loops.loop_cond, &loops.loop_step, &loops.result] {
                    self.free_names(inner, bound, found)?;
                }
                bound.truncate(outer);
            }
            Expr::List(list) => {
                for inner in &list.elements {
                    self.free_names(inner, bound, found)?;
                }
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.free_names(&entry.key, bound, found)?;
                        self.free_names(&entry.value, bound, found)?;
                    }
                }
            }
            Expr::Select(select) => self.free_names(&select.operand, bound, found)?,
            Expr::Struct(_) => return Err(self.parsed.error(part, "there are no structures here")),
            Expr::Literal(_) | Expr::Unspecified => {}
        }
        Ok(())
    }

    fn check_function(&self, part: &IdedExpr, call: &CallExpr) -> Result<(), CompileError> {
        let name = call.func_name.as_str();
        let is_operator = name.starts_with(|c: char| !c.is_ascii_alphabetic());
        if is_operator || FUNCTIONS.contains(&name) {
            return Ok(());
        }
        let message = if name == HAS {
            "has() takes a name and cannot stand within a function or macro".to_owned()
        } else {
            format!("unknown function \"{name}\" (known: {}, has)", FUNCTIONS.join(", "))
        };
        Err(self.parsed.error(part, message))
    }
}

/// Levels of a tree.
fn depth(part: &IdedExpr) -> usize {
    let deepest = |parts: &mut dyn Iterator<Item = &IdedExpr>| parts.map(depth).max().unwrap_or(0);
    let inner = match &part.expr {
        Expr::Call(call) => deepest(&mut call.target.as_deref().into_iter().chain(&call.args)),
        Expr::Comprehension(loops) => {
            let parts = [&loops.iter_range, &loops.loop_cond, &loops.loop_step, &loops.result];
            deepest(&mut parts.into_iter())
        }
        Expr::List(list) => deepest(&mut list.elements.iter()),
        Expr::Map(map) => map.entries.iter().map(entry_depth).max().unwrap_or(0),
        Expr::Select(select) => depth(&select.operand),
        Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => 0,
    };
    inner + 1
}

fn entry_depth(entry: &IdedEntryExpr) -> usize {
    match &entry.expr {
        EntryExpr::MapEntry(entry) => depth(&entry.key).max(depth(&entry.value)),
        EntryExpr::StructField(field) => depth(&field.value),
    }
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "a condition",
        Kind::Number => "a number",
        Kind::Text => "a text",
    }
}

fn arithmetic(name: &str) -> Option<Arithmetic> {
    Some(match name {
        operators::ADD => Arithmetic::Add,
        operators::SUBSTRACT => Arithmetic::Subtract,
        operators::MULTIPLY => Arithmetic::Multiply,
        operators::DIVIDE => Arithmetic::Divide,
        operators::MODULO => Arithmetic::Remainder,
        _ => return None,
    })
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}
