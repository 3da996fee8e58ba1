//! The state of one alert for one key (pure): quiet, pending, firing.
//!
//! A threshold alert judges every row of what it reads. It fires once `when` has held for `for` (event time),
//! resolves once `clear` holds (default: `when` does not), or as `stale` when no row came for
//! `resolve_after` (service time). An absence alert fires when nothing came for its span (service time) and
//! resolves with the next reading. Firing and resolving make an episode; its id is the hash of alert, key
//! and the offset of its first cause, so a replay gives the same.

use std::sync::Arc;

use crate::config::{Alert, Condition, SeverityRule};
use crate::expr::{Failure, Scope};
use crate::model::output::Values;
use crate::model::{AlertRow, AlertState, Offset, ResultId, Severity, Timestamp};

mod codec;
pub mod template;

/// What happens to an alert's row: it caused this output.
pub type Change = AlertRow;

/// The alert's state for one key.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    phase: Phase,
    /// Service time of the latest row, once there was one.
    heard_ns: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Quiet,
    /// The condition holds since this event time, caused first by this offset.
    Pending(Timestamp, Offset),
    /// What was last sent, and when (service time).
    Firing(Box<AlertRow>, u64),
}

impl Default for State {
    fn default() -> Self {
        Self { phase: Phase::Quiet, heard_ns: None }
    }
}

/// A row as an alert sees it.
pub struct Row<'a> {
    /// Values by the slots of the alert's inputs.
    pub scope: &'a dyn Scope,
    /// Event time: the window's end, or the reading's time.
    pub time: Timestamp,
    /// The record that caused the row.
    pub cause: Offset,
    /// First and last reading behind it.
    pub offsets: [Offset; 2],
    /// What goes into the alert's `values`.
    pub values: &'a dyn Fn() -> Values,
    /// What goes into the alert's `tags`.
    pub tags: &'a dyn Fn() -> Values,
}

/// A moment at which timers are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Wall time.
    pub wall: Timestamp,
    /// Service time.
    pub service_ns: u64,
    /// The tick's offset.
    pub cause: Offset,
}

impl State {
    /// Judges a row that came at service time `service_ns`.
    ///
    /// # Errors
    /// [`Failure`] of an expression; the state is then as before, but for the row being heard.
    pub fn on_row(
        &mut self,
        alert: &Alert,
        key: &Arc<str>,
        row: &Row<'_>,
        service_ns: u64,
    ) -> Result<Option<Change>, Failure> {
        self.heard_ns = Some(service_ns);
        let (when, clear) = match &alert.condition {
            Condition::Threshold { when, clear } => (when, clear.as_ref()),
            Condition::Absent(_) => return Ok(self.resolve(row.time, row.cause, None)),
        };
        if let Phase::Firing(..) = self.phase {
            let is_over = match clear {
                Some(clear) => clear.test(row.scope)?,
                None => !when.test(row.scope)?,
            };
            if is_over {
                return Ok(Some(self.resolve_with(alert, key, row)));
            }
            return self.escalate(alert, row, service_ns);
        }
        if !when.test(row.scope)? {
            self.phase = Phase::Quiet;
            return Ok(None);
        }
        let (since, first) = match self.phase {
            Phase::Pending(since, first) => (since, first),
            _ => (row.time, row.cause),
        };
        if row.time.floor_millis().saturating_sub(since.floor_millis()) < alert.hold_ms {
            self.phase = Phase::Pending(since, first);
            return Ok(None);
        }
        let severity = severity(alert, row.scope)?;
        let episode = episode(alert, key, first);
        let change = describe(alert, key, row, (AlertState::Firing, severity), episode);
        self.phase = Phase::Firing(Box::new(change.clone()), service_ns);
        Ok(Some(change))
    }

    /// Looks at the timers.
    pub fn on_tick(&mut self, alert: &Alert, key: &Arc<str>, moment: Moment) -> Option<Change> {
        let silent_ns = moment.service_ns.saturating_sub(self.heard_ns?);
        if let Condition::Absent(span) = alert.condition
            && !matches!(self.phase, Phase::Firing(..))
            && u128::from(silent_ns) >= span.as_nanos()
        {
            let change = silent(alert, key, moment);
            self.phase = Phase::Firing(Box::new(change.clone()), moment.service_ns);
            return Some(change);
        }
        let Phase::Firing(sent, sent_ns) = &mut self.phase else { return None };
        if alert.resolve_after.is_some_and(|span| u128::from(silent_ns) >= span.as_nanos()) {
            return self.resolve(moment.wall, moment.cause, Some("stale"));
        }
        let since_sent = moment.service_ns.saturating_sub(*sent_ns);
        if alert.repeat.is_some_and(|span| u128::from(since_sent) >= span.as_nanos()) {
            *sent_ns = moment.service_ns;
            let reason = Some("repeat".into());
            let id = sent.episode.with_text("repeat").with_number(moment.cause.0);
            return Some(AlertRow { id, reason, ..(**sent).clone() });
        }
        None
    }

    /// The service time at which [`Self::on_tick`] has something to do next.
    pub fn next_tick_ns(&self, alert: &Alert) -> Option<u64> {
        let heard = self.heard_ns?;
        let after = |from: u64, span: std::time::Duration| from.saturating_add(span.as_nanos() as u64);
        match &self.phase {
            Phase::Firing(_, sent) => {
                let stale = alert.resolve_after.map(|span| after(heard, span));
                let repeat = alert.repeat.map(|span| after(*sent, span));
                [stale, repeat].into_iter().flatten().min()
            }
            _ => match alert.condition {
                Condition::Absent(span) => Some(after(heard, span)),
                Condition::Threshold { .. } => None,
            },
        }
    }

    /// Whether the alert is firing.
    pub fn is_firing(&self) -> bool {
        matches!(self.phase, Phase::Firing(..))
    }

    /// Whether the state is as good as none: nothing was sent, nothing waits.
    pub fn is_calm(&self, alert: &Alert) -> bool {
        matches!(self.phase, Phase::Quiet) && self.next_tick_ns(alert).is_none()
    }

    /// Resolves with the values of the row that ends it.
    fn resolve_with(&mut self, alert: &Alert, key: &Arc<str>, row: &Row<'_>) -> Change {
        let Phase::Firing(sent, _) = &self.phase else { unreachable!("only a firing alert resolves") };
        let change = describe(alert, key, row, (AlertState::Resolved, sent.severity), sent.episode);
        self.phase = Phase::Quiet;
        change
    }

    /// Resolves with the values last sent, if firing.
    fn resolve(&mut self, time: Timestamp, cause: Offset, reason: Option<&str>) -> Option<Change> {
        let Phase::Firing(sent, _) = std::mem::replace(&mut self.phase, Phase::Quiet) else { return None };
        let state = AlertState::Resolved;
        let id = sent.episode.with_text(state.as_str()).with_number(cause.0);
        Some(AlertRow { id, state, time, reason: reason.map(Into::into), ..*sent })
    }

    /// A firing alert whose severity rises says so.
    fn escalate(&mut self, alert: &Alert, row: &Row<'_>, service_ns: u64) -> Result<Option<Change>, Failure> {
        let Phase::Firing(sent, sent_ns) = &mut self.phase else { return Ok(None) };
        let severity = severity(alert, row.scope)?;
        if severity <= sent.severity {
            return Ok(None);
        }
        let (key, episode) = (sent.key.clone(), sent.episode);
        **sent = describe(alert, &key, row, (AlertState::Firing, severity), episode);
        sent.reason = Some("escalated".into());
        *sent_ns = service_ns;
        Ok(Some((**sent).clone()))
    }
}

fn episode(alert: &Alert, key: &str, first: Offset) -> ResultId {
    ResultId::EMPTY.with_text(&alert.name).with_text(key).with_number(first.0)
}

fn severity(alert: &Alert, scope: &dyn Scope) -> Result<Severity, Failure> {
    match &alert.severity {
        SeverityRule::Fixed(severity) => Ok(*severity),
        SeverityRule::Computed(program) => {
            let value = program.value(scope)?;
            let crate::model::Value::Text(word) = &value else {
                return Err(Failure(format!("severity is {value:?}, not info, warning or critical")));
            };
            Severity::parse(word)
                .ok_or_else(|| Failure(format!("severity is {word:?}, not info, warning or critical")))
        }
    }
}

fn describe(
    alert: &Alert,
    key: &Arc<str>,
    row: &Row<'_>,
    (state, severity): (AlertState, Severity),
    episode: ResultId,
) -> Change {
    AlertRow {
        id: episode.with_text(state.as_str()).with_number(row.cause.0),
        alert: alert.name.clone(),
        key: key.clone(),
        state,
        severity,
        time: row.time,
        reason: None,
        summary: template::render(&alert.summary, row.scope),
        values: (row.values)(),
        tags: (row.tags)(),
        episode,
        offsets: row.offsets.map(|offset| offset.0),
    }
}

/// An absence has no row: the key is all that is known.
struct KeyOnly<'a> {
    alert: &'a Alert,
    key: &'a str,
}

impl Scope for KeyOnly<'_> {
    fn get(&self, slot: usize) -> crate::model::Cell<'_> {
        match self.alert.inputs.iter().nth(slot).map(|name| &**name) {
            Some("sensor" | "key") => crate::model::Cell::Text(self.key),
            _ => crate::model::Cell::Null,
        }
    }
}

fn silent(alert: &Alert, key: &Arc<str>, moment: Moment) -> Change {
    let scope = KeyOnly { alert, key };
    let episode = episode(alert, key, moment.cause);
    AlertRow {
        id: episode.with_text(AlertState::Firing.as_str()).with_number(moment.cause.0),
        alert: alert.name.clone(),
        key: key.clone(),
        state: AlertState::Firing,
        severity: severity(alert, &scope).unwrap_or(Severity::Warning),
        time: moment.wall,
        reason: None,
        summary: template::render(&alert.summary, &scope),
        values: Values::new(),
        tags: Values::new(),
        episode,
        offsets: [moment.cause.0; 2],
    }
}

#[cfg(test)]
mod tests;
