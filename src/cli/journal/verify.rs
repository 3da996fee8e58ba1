//! `forebay journal verify`: everything is read; what is wrong is named with its place.

use std::io::{self, Write};

use serde_json::json;

use super::bytes;
use super::scan::{Problem, Scan};
use crate::cli::data_dir::{DataDir, Gateway};
use crate::cli::{FAILED, Failure, OK, Style};
use crate::model::StreamName;

/// Reads the journal in `data` and writes what is wrong. Yields the exit code.
///
/// # Errors
/// Where the journal cannot be read, or the answer not be written.
pub fn run(data: &DataDir, style: Style, out: &mut dyn Write) -> Result<u8, Failure> {
    let mut scans = Vec::new();
    for stream in StreamName::ALL {
        scans.extend(Scan::of(data, stream)?);
    }
    let written = match style {
        Style::Text => write_text(data, &scans, out),
        Style::Json => write_json(data, &scans, out),
    };
    written.map_err(Failure::Output)?;
    Ok(if scans.iter().all(Scan::is_sound) { OK } else { FAILED })
}

fn write_text(data: &DataDir, scans: &[Scan], out: &mut dyn Write) -> io::Result<()> {
    for scan in scans {
        let Scan { segments, frames, records, .. } = scan;
        let (stream, size) = (scan.stream.as_str(), bytes(scan.bytes));
        let problems = scan.problems.len() as u64 + scan.problems_more;
        let verdict = if problems == 0 { "ok".to_owned() } else { format!("{problems} PROBLEMS") };
        writeln!(
            out,
            "{stream}: {segments} segments, {frames} frames, {records} records, {size}: {verdict}"
        )?;
        for problem in &scan.problems {
            writeln!(out, "  {}", line(problem))?;
        }
        if scan.problems_more > 0 {
            writeln!(out, "  and {} more", scan.problems_more)?;
        }
        match (scan.rest_bytes, data.gateway) {
            (0, _) => {}
            (rest, Gateway::Running) => {
                writeln!(out, "  {rest} bytes behind the durable end: being written")?
            }
            (rest, Gateway::Stopped) => {
                writeln!(out, "  {rest} bytes of a torn tail: the next start cuts it")?
            }
        }
    }
    Ok(())
}

/// `00000000000000000013.seg, byte 112: damaged, 112 bytes, offsets 14 to 15 missing`.
fn line(problem: &Problem) -> String {
    let Problem { file, at_bytes, bytes, from, to, why, .. } = problem;
    let mut line = format!("{file}, byte {at_bytes}: {}", why.as_str());
    if *bytes > 0 {
        line += &format!(", {bytes} bytes");
    }
    if from < to {
        line += &format!(", offsets {from} to {to} missing");
    }
    line
}

fn write_json(data: &DataDir, scans: &[Scan], out: &mut dyn Write) -> io::Result<()> {
    let problems: Vec<&Problem> = scans.iter().flat_map(|scan| &scan.problems).collect();
    let is_sound = scans.iter().all(Scan::is_sound);
    writeln!(
        out,
        "{}",
        json!({"ok": is_sound, "gateway": data.gateway, "streams": scans, "problems": problems})
    )
}
