//! One function a rule: a source in, its breaches out.

use std::path::Path;

use super::source::{self, Source};
use super::{FILE_LINES_MAX, FUNCTION_LINES_MAX, Finding, HOMES, LAYERS, LONG_FILES, LONG_FUNCTIONS, PURE};

impl Source {
    fn finding(&self, position: usize, what: String, why: &'static str) -> Finding {
        Finding { path: self.path.clone(), line: self.line_of(position), what, why }
    }
}

/// The entry of `table` that a module path falls under: the longest match.
fn place<'t>(module: &[String], table: impl Iterator<Item = &'t str>) -> Option<&'t str> {
    let falls_under = |name: &&str| {
        let parts: Vec<&str> = name.split("::").collect();
        module.len() >= parts.len() && module.iter().zip(&parts).all(|(have, want)| have == want)
    };
    table.filter(falls_under).max_by_key(|name| name.len())
}

fn layer_of(module: &[String]) -> Option<(usize, &'static [&'static str])> {
    let name = place(module, LAYERS.iter().copied().flatten().copied().flatten().copied())?;
    let groups =
        LAYERS.iter().enumerate().flat_map(|(layer, groups)| groups.iter().map(move |g| (layer, *g)));
    groups.into_iter().find(|(_, group)| group.contains(&name))
}

/// Every `crate::…` (in `main.rs` also `forebay::…`) and `super::…` path leads to the same group or below.
pub(crate) fn layers(source: &Source) -> Vec<Finding> {
    const WHY: &str = "a lower layer must build, test and be read without what stands on it (src/lib.rs)";
    let module = source.module();
    if module.is_empty() {
        return Vec::new();
    }
    let Some((own, group)) = layer_of(&module) else {
        let what = format!("module {} has no layer: give it one in LAYERS", module.join("::"));
        return vec![source.finding(0, what, WHY)];
    };
    let mut findings = Vec::new();
    for (position, target) in paths(source, &module) {
        // What has no layer is a name of the crate's root, or a macro.
        let Some((layer, their)) = layer_of(&target) else { continue };
        if layer < own || their == group {
            continue;
        }
        let standing = if layer == own { "beside" } else { "above" };
        let what = format!("{} reaches {}, which stands {standing} it", module.join("::"), target.join("::"));
        findings.push(source.finding(position, what, WHY));
    }
    findings
}

/// Where each path of the file that starts in this crate leads.
fn paths(source: &Source, module: &[String]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for (position, name) in source.names() {
        let from_root = name == "crate" || name == "forebay" && module == ["main"];
        let base = match name {
            _ if from_root => Vec::new(),
            "super" if !source.code[..position].ends_with("::") => module[..module.len() - 1].to_vec(),
            _ => continue,
        };
        if let Some(tail) = source.code[position + name.len()..].strip_prefix("::") {
            let targets = expand(tail).into_iter().map(|tail| resolve(&base, tail));
            found.extend(targets.filter(|target| !target.is_empty()).map(|target| (position, target)));
        }
    }
    found
}

fn resolve(base: &[String], tail: Vec<String>) -> Vec<String> {
    tail.into_iter().fold(base.to_vec(), |mut path, part| {
        match part.as_str() {
            "super" => drop(path.pop()),
            "self" => {}
            _ => path.push(part),
        }
        path
    })
}

/// The paths of a use tree: `{a::B, c}` gives `a::B` and `c`.
fn expand(tail: &str) -> Vec<Vec<String>> {
    let tail = tail.trim_start();
    if tail.starts_with('{') {
        let inside = &tail[1..source::block_length(tail).saturating_sub(1).max(1)];
        return split_members(inside).into_iter().flat_map(expand).collect();
    }
    let length = tail.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(tail.len());
    let name = tail[..length].to_owned();
    if name.is_empty() {
        return vec![Vec::new()];
    }
    match tail[length..].strip_prefix("::") {
        None => vec![vec![name]],
        Some(rest) => {
            let join = |rest: Vec<String>| [name.clone()].into_iter().chain(rest).collect();
            expand(rest).into_iter().map(join).collect()
        }
    }
}

fn split_members(inside: &str) -> Vec<&str> {
    let (mut depth, mut start, mut members) = (0_i32, 0, Vec::new());
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    members.push(&inside[start..]);
    members.retain(|member| !member.trim().is_empty());
    members
}

/// Crates with a home are named nowhere else.
pub(crate) fn homes(source: &Source) -> Vec<Finding> {
    let path = source.path.to_string_lossy();
    let mut findings = Vec::new();
    for (position, name) in source.names() {
        let Some((_, homes, why)) = HOMES.iter().find(|(krate, ..)| *krate == name) else { continue };
        let at_home = homes.iter().any(|home| path.starts_with(home));
        if !at_home && names_a_crate(&source.code, position, name) {
            findings.push(source.finding(position, format!("{name} is not at home here"), why));
        }
    }
    findings
}

/// Whether the name at `position` starts a path (`sled::Db`, `use sled;`), and is no field, module or variable.
fn names_a_crate(code: &str, position: usize, name: &str) -> bool {
    let (before, after) = (code[..position].trim_end(), code[position + name.len()..].trim_start());
    let continues_a_path = before.ends_with("::")
        && before[..before.len() - 2].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let imported = before.ends_with("use") || before.ends_with("extern crate");
    !continues_a_path && (after.starts_with("::") || imported)
}

/// Pure modules name nothing that waits, does IO, reads a clock, counts or logs.
pub(crate) fn purity(source: &Source) -> Vec<Finding> {
    const WHY: &str =
        "pure modules give the same output for the same input: replay, backtest and simulation rest on it";
    const NAMES: &[&str] =
        &["async", "await", "tokio", "SystemTime", "Instant", "prometheus", "tracing", "telemetry"];
    const PATHS: &[&str] =
        &["std::fs", "std::net", "std::thread", "std::process", "std::env", "std::io::std"];
    if place(&source.module(), PURE.iter().copied()).is_none() {
        return Vec::new();
    }
    let names = source.names().filter(|(_, name)| NAMES.contains(name));
    let paths = PATHS.iter().flat_map(|path| source.code.match_indices(path));
    let named = names
        .chain(paths)
        .map(|(position, name)| source.finding(position, format!("{name} in a pure module"), WHY));
    named.collect()
}

/// `unwrap()` is for tests.
pub(crate) fn unwraps(source: &Source) -> Vec<Finding> {
    const WHY: &str = "a panic must say why it cannot happen: use expect(\"…\"), or return an error";
    let calls = source.code.match_indices(".unwrap()");
    calls.map(|(position, call)| source.finding(position, format!("{call} outside tests"), WHY)).collect()
}

/// A file says what it is for, and no module hides in a `mod.rs`.
pub(crate) fn headers(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !source.text.starts_with("//! ") {
        let why = "a reader learns from the first line what the file is for and where it stands";
        findings.push(source.finding(0, "does not start with `//! `".to_owned(), why));
    }
    if source.path.ends_with("mod.rs") {
        let why = "a folder full of tabs named mod.rs tells a reader nothing";
        findings.push(source.finding(0, "is a mod.rs: use foo.rs beside foo/".to_owned(), why));
    }
    findings
}

/// Files and functions fit a reader's head.
pub(crate) fn sizes(source: &Source) -> Vec<Finding> {
    const WHY: &str =
        "past this a file or function holds a second idea; an exception needs a reason in tests/it/house.rs";
    let path = source.path.to_string_lossy();
    let mut findings = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX && !LONG_FILES.iter().any(|(file, _)| path == *file) {
        findings.push(source.finding(0, format!("{lines} lines"), WHY));
    }
    for (position, name, lines) in functions(source) {
        let excepted = LONG_FUNCTIONS.iter().any(|(file, function, _)| path == *file && name == *function);
        if lines > FUNCTION_LINES_MAX && !excepted {
            findings.push(source.finding(position, format!("fn {name} has {lines} lines"), WHY));
        }
    }
    findings
}

/// Position, name and number of lines of each function outside tests.
fn functions(source: &Source) -> Vec<(usize, &str, usize)> {
    let names: Vec<(usize, &str)> = source.names().collect();
    let measure = |pair: &[(usize, &'_ str)]| {
        let (start, (at, _)) = (pair[0].0, pair[1]);
        let code = &source.code[at..];
        let open = source::head_length(code);
        let end = open + source::block_length(&code[open..]);
        code[open..].starts_with('{').then(|| (start, 1 + source.code[start..at + end].matches('\n').count()))
    };
    let heads = names.windows(2).filter(|pair| pair[0].1 == "fn");
    heads.filter_map(|pair| measure(pair).map(|(start, lines)| (start, pair[1].1, lines))).collect()
}

/// Exceptions that nothing needs any more.
pub(crate) fn stale_exceptions(sources: &[Source]) -> Vec<Finding> {
    const WHY: &str = "an exception that outlives its reason hides the next breach";
    let stale = |what: String| Finding { path: "tests/it/house.rs".into(), line: 1, what, why: WHY };
    let find = |file: &str| sources.iter().find(|source| source.path == Path::new(file));
    let long_file =
        |file: &str| find(file).is_some_and(|source| source.text.lines().count() > FILE_LINES_MAX);
    let long_function = |file: &str, function: &str| {
        let all = find(file).map(functions).unwrap_or_default();
        all.iter().any(|(_, name, lines)| *name == function && *lines > FUNCTION_LINES_MAX)
    };
    let files = LONG_FILES
        .iter()
        .filter(|(file, _)| !long_file(file))
        .map(|(file, _)| stale(format!("{file} is not long")));
    let functions = LONG_FUNCTIONS.iter().filter(|(file, function, _)| !long_function(file, function));
    files
        .chain(functions.map(|(file, function, _)| stale(format!("{file}: fn {function} is not long"))))
        .collect()
}

/// Each dependency has a comment: on its line, or above the block of lines it stands in.
pub(crate) fn reasons(path: &Path, text: &str) -> Vec<Finding> {
    const WHY: &str = "a dependency is code we answer for: its line says what it is here for";
    let (mut in_dependencies, mut block_has_reason, mut findings) = (false, false, Vec::new());
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        match line.chars().next() {
            None => block_has_reason = false,
            Some('#') => block_has_reason = true,
            Some('[') => {
                in_dependencies =
                    line.trim_end_matches(']').ends_with("dependencies") && !line.starts_with("[workspace");
                block_has_reason = false;
            }
            Some(_) if in_dependencies && !block_has_reason && !line.contains('#') => {
                let what = format!("`{line}` has no reason");
                findings.push(Finding { path: path.into(), line: index + 1, what, why: WHY });
            }
            Some(_) => {}
        }
    }
    findings
}
