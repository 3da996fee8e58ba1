//! Texts with holes: `{sensor} averaged {avg_speed:.1} km/h` (pure; checked at load).

use std::fmt::Write;

use crate::config::{SummaryPart, Template};
use crate::expr::Scope;
use crate::model::Cell;

/// Fills the holes. A missing value shows as `-`.
pub fn render(template: &Template, scope: &dyn Scope) -> String {
    let mut text = String::with_capacity(template.text.len() + 16);
    for part in &template.parts {
        match part {
            SummaryPart::Text(part) => text.push_str(part),
            SummaryPart::Hole { slot, decimals } => fill(&mut text, scope.get(*slot), *decimals),
        }
    }
    text
}

fn fill(text: &mut String, value: Cell<'_>, decimals: Option<u8>) {
    let written = match (value, decimals) {
        (Cell::Null, _) => write!(text, "-"),
        (Cell::Bool(value), _) => write!(text, "{value}"),
        (Cell::Text(value), _) => write!(text, "{value}"),
        (Cell::Number(value), Some(decimals)) => write!(text, "{value:.*}", usize::from(decimals)),
        (Cell::Number(value), None) => write!(text, "{value}"),
    };
    written.expect("writing to a string cannot fail");
}
