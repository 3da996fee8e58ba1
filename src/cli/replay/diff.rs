//! `forebay replay --diff`: what another configuration would have put out, beside what the running one did.
//!
//! Both run over the same records in one pass. Rows are known by what they are about ([`row::Place`]: pipeline, key,
//! window, revision; or alert, key, time and state), not by their ids, which change with a pipeline's generation. Each
//! side is sorted, in memory or in a temporary file ([`sort`]), and the two are walked together: memory does not grow
//! with the journal.

use std::cmp::Ordering;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

pub mod row;
pub mod show;
pub mod sort;

use self::row::Item;
use self::show::{Change, Counted, show};
use self::sort::{Sorted, Sorter};
use super::arguments::ReplayOptions;
use super::machine::Selection;
use super::play;
use super::range::Range;
use super::summary::{Counts, Effort, Summary};
use super::{OpenWindows, Setting, cannot_read, last_arrival, open_output, ready};
use crate::cli::{FAILED, Failure, OK};
use crate::config::{self, Config};
use crate::engine::emission::Effects;
use crate::journal::Record;
use crate::telemetry::clock;

/// Compares what the configuration of `setting` puts out with what the running one does. `folder` is where relative
/// paths of the running one begin.
///
/// # Errors
/// Where the running configuration cannot be found, or journal, output or temporary files fail.
pub fn run(setting: &Setting, options: &ReplayOptions, folder: &Path) -> Result<u8, Failure> {
    let (running, origin) = running(setting, folder)?;
    // Whoever closed stderr does not want to know.
    let _ = writeln!(io::stderr().lock(), "running   {origin}");
    let changed = &setting.config;
    let selected = Selection::known(changed, &options.pipeline);
    let selected_before = Selection::known(&running, &options.pipeline);
    known_somewhere(options, &running, changed)?;
    let span = selected.span(changed).max(selected_before.span(&running));
    let range = Range::find(&setting.past, setting.bounds, span).map_err(|error| cannot_read(&error))?;
    let id = &setting.data.journal_id;
    let mut machines = [ready(&running, &selected_before, id, &range), ready(changed, &selected, id, &range)];
    let mut sides = [Side::default(), Side::default()];
    let (begun, cpu) = (clock::monotonic(), clock::process_cpu());
    let mut take = |number: usize, effects: Effects| sides[number].take(effects);
    let played = play::play(&setting.past, &range, &mut machines, &mut take)?;
    if options.open_windows() == OpenWindows::Fire {
        play::finish(&range, &mut machines, last_arrival(&played), &mut take)?;
    }
    let [before, after] = sides;
    let mut out = io::BufWriter::new(open_output(&setting.config, options.output.as_deref())?);
    let counted = compare(before.finish()?, after.rows.finish().map_err(sorting)?, |change| {
        show(&change, setting.style, &mut out).map_err(Failure::Output)
    })?;
    out.flush().map_err(Failure::Output)?;
    let effort = Effort { took: begun.elapsed(), cpu: clock::process_cpu().saturating_sub(cpu) };
    let summary = Summary { range: &range, played: &played, counts: &after.counts, effort };
    let mut errors = io::stderr().lock();
    let _ = summary.write(setting.style, &mut errors);
    let _ = counted.write(setting.style, &mut errors);
    Ok(if counted.is_same() { OK } else { FAILED })
}

/// The last configuration in the journal before the end of the range, and where it was found.
fn running(setting: &Setting, folder: &Path) -> Result<(Arc<Config>, String), Failure> {
    let text_of = |record: &Record| match record {
        Record::Config { hash, text } => Some((hash.clone(), text.clone())),
        _ => None,
    };
    let (_, to) = setting.bounds;
    let found = setting.past.last_before(to, usize::MAX, text_of).map_err(|error| cannot_read(&error))?;
    if let Some((offset, (hash, text))) = found {
        let name = format!("configuration {hash} of offset {offset}");
        let (config, _) = config::from_text(&name, &text, folder)?;
        return Ok((Arc::new(config), name));
    }
    let path = super::super::arguments::default_config_path()?;
    let (config, _) = config::load(&path)?;
    Ok((Arc::new(config), format!("{} (the journal holds no configuration there)", path.display())))
}

fn known_somewhere(options: &ReplayOptions, running: &Config, changed: &Config) -> Result<(), Failure> {
    for name in &options.pipeline {
        let has = |config: &Config| config.pipelines.iter().any(|pipeline| *pipeline.name == **name);
        if !has(running) && !has(changed) {
            return Err(Failure::Usage(format!("neither configuration has a pipeline {name:?}")));
        }
    }
    Ok(())
}

/// What one configuration puts out.
#[derive(Default)]
struct Side {
    rows: Sorter,
    counts: Counts,
}

impl Side {
    fn take(&mut self, effects: Effects) -> Result<(), Failure> {
        self.counts.add(&effects);
        let items = effects.emissions.iter().filter_map(|emission| Item::of(&emission.output));
        for item in items {
            self.rows.push(item).map_err(sorting)?;
        }
        Ok(())
    }

    fn finish(self) -> Result<Sorted, Failure> {
        self.rows.finish().map_err(sorting)
    }
}

fn sorting(error: io::Error) -> Failure {
    let dir = std::env::temp_dir();
    Failure::Failed(format!("cannot sort rows in {}: {error}", dir.display()))
}

/// Walks both sides together.
fn compare(
    mut before: Sorted,
    mut after: Sorted,
    mut out: impl FnMut(Change<'_>) -> Result<(), Failure>,
) -> Result<Counted, Failure> {
    let mut counted = Counted::default();
    let (mut old, mut new) = (before.read().map_err(sorting)?, after.read().map_err(sorting)?);
    loop {
        let order = match (&old, &new) {
            (None, None) => return Ok(counted),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.place.cmp(&new.place),
        };
        let (gone, come) =
            (order.is_le().then(|| old.take()).flatten(), order.is_ge().then(|| new.take()).flatten());
        if let Some(change) = counted.change(gone.as_ref(), come.as_ref()) {
            out(change)?;
        }
        if gone.is_some() {
            old = before.read().map_err(sorting)?;
        }
        if come.is_some() {
            new = after.read().map_err(sorting)?;
        }
    }
}

#[cfg(test)]
mod tests;
