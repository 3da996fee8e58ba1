//! Files of `kind = "file"` sinks: no two sinks may write to, or rotate into, the same one.
//!
//! Each such sink cuts its file to the length it has committed to, so a second writer's rows would be lost.
//! Paths are compared as text, after `.` and `..`: checking looks at no disk, so links are not followed.

use std::path::{Component, Path, PathBuf};

use super::super::document::At;
use crate::config::{FileSink, Sink, SinkKind};

/// A file sink, its path without `.` and `..`.
struct Writer<'d> {
    name: &'d str,
    path: PathBuf,
    keep: usize,
}

/// Reports every file sink whose files are those of a sink above it.
pub(super) fn check(places: &[At<'_, '_>], sinks: &[Option<Sink>]) {
    let mut above: Vec<Writer<'_>> = Vec::new();
    for (at, sink) in places.iter().zip(sinks) {
        let Some(Sink { kind: SinkKind::File(FileSink { path, keep, .. }), .. }) = sink else { continue };
        let writer = Writer { name: at.name(), path: plain(path), keep: *keep };
        if let Some(conflict) = above.iter().find_map(|other| conflict(other, &writer)) {
            at.key("path").error(format!("{conflict}: each would cut the other's rows"));
        }
        above.push(writer);
    }
}

/// What is wrong with `writer` beside the sink `above` it.
fn conflict(above: &Writer<'_>, writer: &Writer<'_>) -> Option<String> {
    let Writer { name, path, .. } = above;
    if writer.path == *path {
        return Some(format!("sink \"{name}\" above writes to \"{}\" too", path.display()));
    }
    if is_rotated_name(above, &writer.path) {
        return Some(format!("sink \"{name}\" above rotates into \"{}\"", writer.path.display()));
    }
    is_rotated_name(writer, path)
        .then(|| format!("rotates into \"{}\", the file of sink \"{name}\" above", path.display()))
}

/// Whether `path` is one of `.1` to `.keep` of the writer's own.
fn is_rotated_name(writer: &Writer<'_>, path: &Path) -> bool {
    let own = writer.path.as_os_str().as_encoded_bytes();
    let suffix =
        path.as_os_str().as_encoded_bytes().strip_prefix(own).and_then(|rest| rest.strip_prefix(b"."));
    let number = suffix.and_then(|suffix| std::str::from_utf8(suffix).ok());
    number.is_some_and(|text| {
        text.parse()
            .is_ok_and(|number: usize| (1..=writer.keep).contains(&number) && number.to_string() == text)
    })
}

/// The path less `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(plain.components().next_back(), Some(Component::Normal(_))) => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}
