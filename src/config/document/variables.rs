//! `${NAME}` of the environment in the texts of a configuration.

use toml::Spanned;
use toml::de::DeValue;

/// Summaries have `{…}` of their own and no secrets, but a `$` before it may be a currency.
const NOT_EXPANDED: &str = "summary";

/// Fills the texts of `value`, which stands at the key path `path`; `fail` takes byte offset, path and message.
pub(super) fn expand(
    value: &mut Spanned<DeValue<'_>>,
    path: &str,
    variable: &dyn Fn(&str) -> Option<String>,
    fail: &mut dyn FnMut(usize, &str, String),
) {
    let at = value.span().start;
    match value.get_mut() {
        DeValue::String(text) if text.contains("${") => match filled(text, variable) {
            Ok(filled) => *text = filled.into(),
            Err(message) => fail(at, path, message),
        },
        DeValue::Array(values) => values.iter_mut().for_each(|value| expand(value, path, variable, fail)),
        DeValue::Table(table) => {
            for (key, value) in table.iter_mut() {
                if key.get_ref() != NOT_EXPANDED {
                    expand(value, &format!("{path}.{}", key.get_ref()), variable, fail);
                }
            }
        }
        _ => {}
    }
}

fn filled(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            filled.push_str(before);
            filled.push_str("${");
            rest = after;
            continue;
        }
        let (name, after) =
            after.split_once('}').ok_or("\"${\" without \"}\" (\"$${\" is a plain \"${\")")?;
        let value = variable(name).ok_or_else(|| format!("environment variable \"{name}\" is not set"))?;
        filled.push_str(before);
        filled.push_str(&value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}
