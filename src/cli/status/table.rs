//! A status for people: one line on the whole, then a table for each kind of part.

use std::fmt::Write as _;

use crate::admin::Status;

/// Spaces between columns.
const GAP: &str = "  ";

/// The text of `status`.
pub fn show(status: &Status) -> String {
    let mut out = head(status);
    table(
        &mut out,
        &["listener", "kind", "address"],
        status.listeners.iter().map(|it| [it.name.clone(), it.kind.clone(), it.address.clone()]),
    );
    table(
        &mut out,
        &["stream", "durable", "oldest", "queued", "state"],
        status.streams.iter().map(|it| {
            let state = if it.failed { "FAILED" } else { "ok" };
            [
                it.name.clone(),
                it.durable.to_string(),
                it.oldest.to_string(),
                bytes(it.queued_bytes),
                state.to_owned(),
            ]
        }),
    );
    table(
        &mut out,
        &["lane", "position", "emitted", "checkpoint", "lag"],
        status.lanes.iter().map(|it| {
            let [position, emitted, checkpoint] =
                [it.position, it.emitted, it.checkpoint].map(|at| at.to_string());
            [it.name.clone(), position, emitted, checkpoint, lag(it.lag_records, it.lag_seconds)]
        }),
    );
    table(
        &mut out,
        &["sink", "lag", "state"],
        status.sinks.iter().map(|it| {
            let state = if it.breaker_open { "HELD BACK" } else { "ok" };
            [it.name.clone(), lag(it.lag_records, it.lag_seconds), state.to_owned()]
        }),
    );
    table(
        &mut out,
        &["alert", "firing"],
        status.alerts.iter().map(|it| [it.name.clone(), it.firing.to_string()]),
    );
    out
}

fn head(status: &Status) -> String {
    let ready = match (&status.not_ready, &status.lanes_wait) {
        (Some(why), _) => format!("NOT READY: {why}"),
        (None, Some(what)) => format!("ready, LANES WAIT: {what}"),
        (None, None) => "ready".to_owned(),
    };
    format!(
        "gateway {}, version {}, configuration {}, up {}, {} free on disk, {ready}\n",
        status.gateway,
        status.version,
        status.config_hash,
        span(status.uptime_seconds),
        bytes(status.disk_free_bytes),
    )
}

/// An empty line, then the table; nothing where it has no rows.
fn table<const N: usize>(out: &mut String, header: &[&str; N], rows: impl Iterator<Item = [String; N]>) {
    let rows: Vec<[String; N]> = rows.collect();
    if rows.is_empty() {
        return;
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    out.push('\n');
    for row in [header.map(str::to_owned)].iter().chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a text cannot fail.
            let _ = write!(line, "{cell:<width$}{GAP}");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// `none`, or `1200 records, 3.2 s`.
fn lag(records: u64, seconds: f64) -> String {
    if records == 0 { "none".to_owned() } else { format!("{records} records, {}", span(seconds)) }
}

/// A duration in its two largest units.
fn span(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let minutes = (seconds / 60.0) as u64;
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} min {:.0} s", seconds % 60.0),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units() {
        for (seconds, text) in [
            (0.04, "0.0 s"),
            (59.0, "59.0 s"),
            (61.0, "1 min 1 s"),
            (7_260.0, "2 h 1 min"),
            (273_600.0, "3 d 4 h"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn sizes_have_one_decimal() {
        for (count, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (20 << 30, "20.0 GiB")] {
            assert_eq!(bytes(count), text);
        }
    }
}
