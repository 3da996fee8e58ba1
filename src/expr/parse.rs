//! Text to `cel`'s tree, with places.
//!
//! `cel`'s `has()` takes a member only (`has(a.b)`), but our names are plain: `has(x)` is renamed to a
//! function of the same length before parsing, so that places stay right, and lowered as `x != null`.

use cel::common::ast::{IdedExpr, SourceInfo};
use cel::parser::{ParseErrors, Parser};

use super::{CompileError, EXPRESSION_BYTES_MAX};

/// What `has(x)` is called in the tree.
pub(super) const HAS: &str = "HAS";

/// Deepest nesting of brackets, each `?` counted as one.
const DEPTH_MAX: usize = 32;

/// Most characters of operators: `a + b + c + …` is a tree as deep as it is long.
const OPERATORS_MAX: usize = 200;

/// A parsed text.
pub(super) struct Parsed {
    /// The whole expression.
    pub(super) root: IdedExpr,
    places: SourceInfo,
}

impl Parsed {
    /// The column of a node, from 1.
    pub(super) fn column(&self, node: &IdedExpr) -> usize {
        self.places.offset_for(node.id).map_or(1, |(start, _)| start as usize + 1)
    }

    /// A problem at a node.
    pub(super) fn error(&self, node: &IdedExpr, message: impl Into<String>) -> CompileError {
        CompileError { column: self.column(node), message: message.into() }
    }
}

/// Stack for parsing: `cel`'s parser recurses some ten large frames a level.
const STACK_BYTES: usize = 32 << 20;

/// Runs `work` where the deepest expression allowed fits the stack.
pub(super) fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(STACK_BYTES);
        let thread = builder.spawn_scoped(scope, work).expect("a thread can be made while loading");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Parses `text`.
pub(super) fn parse(text: &str) -> Result<Parsed, CompileError> {
    if text.trim().is_empty() {
        return Err(CompileError { column: 1, message: "the expression is empty".into() });
    }
    if text.len() > EXPRESSION_BYTES_MAX {
        let message = format!("the expression has {} bytes, more than {EXPRESSION_BYTES_MAX}", text.len());
        return Err(CompileError { column: 1, message });
    }
    let text_for_cel = rename_has(text)?;
    let (root, places) =
        Parser::new().parse_with_source_info(&text_for_cel).map_err(|errors| first(text, &errors))?;
    Ok(Parsed { root, places })
}

/// The first of the parser's complaints: those after it are mostly its consequences.
fn first(text: &str, errors: &ParseErrors) -> CompileError {
    let Some(error) = errors.errors.first() else {
        return CompileError { column: 1, message: "not an expression".into() };
    };
    let (line, column) = (error.pos.0.max(1) as usize, error.pos.1.max(1) as usize);
    let before: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let message = error.msg.strip_prefix("Syntax error: ").unwrap_or(&error.msg);
    CompileError { column: before + column, message: plain(message) }
}

/// The parser generator's token lists say nothing to the writer of a rule.
fn plain(message: &str) -> String {
    let short = message.split(" expecting {").next().unwrap_or(message);
    let short = short.replace("'<EOF>'", "end of the expression").replace("<EOF>", "end of the expression");
    format!("syntax error: {short}")
}

/// `has(x)` to `HAS(x)`, outside of quoted texts; refuses what would make too deep a tree.
fn rename_has(text: &str) -> Result<String, CompileError> {
    let mut renamed = String::with_capacity(text.len());
    let mut rest = text;
    let (mut depth, mut operators) = (0_usize, 0_usize);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' => quoted_bytes(rest, first),
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        let is_call = after.trim_start().starts_with('(') && !renamed.ends_with('.');
        depth = match first {
            '(' | '[' | '{' | '?' => depth + 1,
            ')' | ']' | '}' => depth.saturating_sub(1),
            _ => depth,
        };
        operators += usize::from("+-*/%<>=!&|".contains(first));
        if depth > DEPTH_MAX || operators > OPERATORS_MAX {
            let message = format!("more than {DEPTH_MAX} levels of brackets or {OPERATORS_MAX} operators");
            return Err(CompileError { column: renamed.len() + 1, message });
        }
        renamed.push_str(if token == "has" && is_call { HAS } else { token });
        rest = after;
    }
    Ok(renamed)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Bytes of the quoted text at the start of `text`, quotes included; all of it where the end is missing.
fn quoted_bytes(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}
