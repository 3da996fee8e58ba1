//! Source files as the rules see them: comments, texts and test items blanked out, lines kept.
//!
//! A small lexer, not a parser: it knows comments (nested), strings (raw, byte), characters and lifetimes,
//! which is enough to find names and to match braces.

use std::fs;
use std::path::{Path, PathBuf};

const TEST_MARK: &str = "#[cfg(test)]";

/// One file.
pub(crate) struct Source {
    /// Relative to the repository.
    pub(crate) path: PathBuf,
    /// As written.
    pub(crate) text: String,
    /// Code only: everything else is spaces, newlines are kept. Empty for a file of tests.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let code = if is_test_file(&path) { String::new() } else { without_tests(blank(&text)) };
        Self { path, text, code }
    }

    /// `["journal", "writer"]` for `src/journal/writer.rs`; nothing outside `src` and for `src/lib.rs`.
    pub(crate) fn module(&self) -> Vec<String> {
        let Ok(inside) = self.path.strip_prefix("src") else { return Vec::new() };
        let module = inside.with_extension("");
        let parts: Vec<String> = module.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if parts == ["lib"] { Vec::new() } else { parts }
    }

    /// Names with their byte positions in the code.
    pub(crate) fn names(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut rest = 0;
        std::iter::from_fn(move || {
            let start = rest + self.code[rest..].find(is_name_start)?;
            let length = self.code[start..].find(|c: char| !is_name(c)).unwrap_or(self.code.len() - start);
            rest = start + length;
            Some((start, &self.code[start..rest]))
        })
    }

    pub(crate) fn line_of(&self, position: usize) -> usize {
        1 + self.code[..position].matches('\n').count()
    }
}

fn is_name_start(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `foo/tests.rs`, `foo/tests/…` and everything under the workspace's `tests/`.
fn is_test_file(path: &Path) -> bool {
    path.iter().any(|part| part == "tests" || part == "tests.rs" || part == "benches")
}

/// All Rust files of the daemon, the protocols and the tests.
pub(crate) fn load(root: &Path) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in ["src", "tests", "protocols", "benches"] {
        walk(&root.join(folder), &mut paths);
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    paths.sort();
    let new = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Source::new(path.strip_prefix(root).expect("below root"), text)
    };
    without_test_modules(paths.iter().map(new).collect())
}

/// Takes files that their parent declares as `#[cfg(test)] mod name;` for what they are: tests, without code.
pub(crate) fn without_test_modules(mut sources: Vec<Source>) -> Vec<Source> {
    let tests: Vec<PathBuf> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        if tests.iter().any(|module| source.path.with_extension("").starts_with(module)) {
            source.code.clear();
        }
    }
    sources
}

/// Folder and name of each `#[cfg(test)] mod name;`, without extension.
fn test_modules(source: &Source) -> Vec<PathBuf> {
    let path = source.path.with_extension("");
    let is_root = path.ends_with("lib") || path.ends_with("main");
    let folder = if is_root { path.parent().unwrap_or(&path).to_owned() } else { path };
    let code = blank(&source.text);
    let items = code.match_indices(TEST_MARK).map(|(at, mark)| &code[at + mark.len()..]);
    let heads = items.map(|item| &item[..head_length(item)]);
    heads.filter_map(|head| head.rsplit_once("mod ")).map(|(_, name)| folder.join(name.trim())).collect()
}

/// The manifests of the workspace with their texts.
pub(crate) fn manifests(root: &Path) -> Vec<(PathBuf, String)> {
    let mut paths = vec![root.join("Cargo.toml")];
    walk(&root.join("protocols"), &mut paths);
    paths.retain(|path| path.ends_with("Cargo.toml"));
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("a manifest is readable");
        (path.strip_prefix(root).expect("below root").to_owned(), text)
    };
    paths.iter().map(read).collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("a folder of the repository is readable").path();
        if path.is_dir() && !path.ends_with("target") {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// `text` with comments and the insides of texts and characters as spaces.
pub(crate) fn blank(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(first) = rest.chars().next() {
        let after_name = out.chars().next_back().is_some_and(is_name);
        match opaque_length(rest, after_name) {
            Some(length) => {
                out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
                rest = &rest[length..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

/// Length of the comment, text or character that `rest` begins with.
fn opaque_length(rest: &str, after_name: bool) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment_length(rest));
    }
    if rest.starts_with('\'') {
        return character_length(rest);
    }
    if rest.starts_with('"') {
        return Some(text_length(rest));
    }
    let raw = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r')).filter(|_| !after_name)?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    raw[hashes..].starts_with('"').then(|| {
        let (head, end) = (rest.len() - raw.len() + hashes + 1, format!("\"{}", "#".repeat(hashes)));
        rest[head..].find(&end).map_or(rest.len(), |at| head + at + end.len())
    })
}

fn block_comment_length(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// A character literal, or `None` for a lifetime.
fn character_length(rest: &str) -> Option<usize> {
    let inside = &rest[1..];
    if let Some(escaped) = inside.strip_prefix('\\') {
        let first = escaped.chars().next().map_or(0, char::len_utf8);
        return escaped[first..].find('\'').map(|at| 2 + first + at + 1);
    }
    let first = inside.chars().next()?.len_utf8();
    inside[first..].starts_with('\'').then_some(1 + first + 1)
}

fn text_length(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `code` with every item under `#[cfg(test)]` as spaces.
fn without_tests(mut code: String) -> String {
    while let Some(start) = code.find(TEST_MARK) {
        let end = start + TEST_MARK.len() + item_length(&code[start + TEST_MARK.len()..]);
        let blanked: String = code[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        code.replace_range(start..end, &blanked);
    }
    code
}

/// Length of the item at the start of `code`: up to its `;`, or to the brace that closes its block.
fn item_length(code: &str) -> usize {
    let open = head_length(code);
    if code[open..].starts_with('{') {
        open + block_length(&code[open..])
    } else {
        (open + 1).min(code.len())
    }
}

/// Length of an item's head: up to its `{` or `;`, but not the one in `[u8; 4]`.
pub(crate) fn head_length(code: &str) -> usize {
    let mut depth = 0_i32;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' | ';' if depth <= 0 => return at,
            _ => {}
        }
    }
    code.len()
}

/// Length of the block that starts with `code`'s first brace.
pub(crate) fn block_length(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}
