//! `forebay journal gaps`: offsets that hold nothing, one line each.

use std::io::{self, Write};

use serde::Serialize;

use super::scan::Scan;
use crate::cli::data_dir::DataDir;
use crate::cli::{Failure, OK, Style};
use crate::model::{Offset, StreamName};

/// Offsets without records.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Gap {
    stream: StreamName,
    /// First offset.
    from: Offset,
    /// One past the last offset.
    to: Offset,
    /// How it is known.
    kind: &'static str,
    /// What is known of it.
    why: String,
}

/// Writes the gaps of all streams in `data`. Yields the exit code.
///
/// # Errors
/// Where the journal cannot be read, or the answer not be written.
pub fn run(data: &DataDir, style: Style, out: &mut dyn Write) -> Result<u8, Failure> {
    for stream in StreamName::ALL {
        let Some(scan) = Scan::of(data, stream)? else { continue };
        for gap in gaps(&scan) {
            write(&gap, style, out).map_err(Failure::Output)?;
        }
    }
    Ok(OK)
}

fn gaps(scan: &Scan) -> Vec<Gap> {
    let stream = scan.stream;
    let found = scan.problems.iter().filter(|problem| problem.from < problem.to).map(|problem| Gap {
        stream,
        from: problem.from,
        to: problem.to,
        kind: "found",
        why: format!("{} in {} at byte {}", problem.why.as_str(), problem.file, problem.at_bytes),
    });
    let recorded = scan.recorded.iter().map(|(range, why)| Gap {
        stream,
        from: range.start,
        to: range.end,
        kind: "recorded",
        why: why.clone(),
    });
    let mut gaps: Vec<Gap> = found.chain(recorded).collect();
    gaps.sort();
    gaps
}

fn write(gap: &Gap, style: Style, out: &mut dyn Write) -> io::Result<()> {
    match style {
        Style::Json => writeln!(out, "{}", serde_json::to_string(gap)?),
        Style::Text => {
            let Gap { stream, from, to, kind, why } = gap;
            let records = to.0 - from.0;
            writeln!(out, "{}: offsets {from} to {to} ({records} records), {kind}: {why}", stream.as_str())
        }
    }
}
