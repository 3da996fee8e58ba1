//! Which rows go to which sinks (pure): every matching route applies, `final` ends the search.
//!
//! On the data's path this stands between a stream and a sink's outbox: each sink reads the streams itself and
//! keeps what its [`Wants`] says. Because an earlier `final` route can take a row away from a later one, what
//! a sink wants depends on the routes before its own; [`Routes::wants`] keeps only those that matter to it.

use std::sync::Arc;

use crate::config::{AlertInput, Config, OutputKind, Route};
use crate::model::{Output, RowView, Severity, StreamName};

/// The number of output kinds.
const KINDS: usize = 5;

/// All routes, compiled.
#[derive(Clone, Debug)]
pub struct Routes {
    rules: Vec<Rule>,
}

/// What one sink wants.
#[derive(Clone, Debug)]
pub struct Wants {
    /// The rules that decide, by kind of output; a kind without rules is not wanted.
    steps: [Box<[Step]>; KINDS],
}

/// An alert and what it is evaluated on: the name of a pipeline or source.
#[derive(Clone, Copy, Debug)]
pub struct AlertOrigin<'a> {
    /// The alert's name.
    pub alert: &'a str,
    /// The pipeline's or source's name.
    pub on: &'a str,
}

#[derive(Clone, Debug)]
struct Rule {
    /// One matcher a kind; `None`: the rule is not about that kind.
    matchers: [Option<Matcher>; KINDS],
    to: Vec<Arc<str>>,
    is_final: bool,
}

#[derive(Clone, Debug)]
struct Step {
    matcher: Matcher,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Wanted,
    /// A `final` route to other sinks only.
    Taken,
}

/// What a row must be like, its kind aside.
#[derive(Clone, Debug)]
struct Matcher {
    /// Alert names for alerts, else names of pipelines or sources; `None`: any.
    names: Option<Box<[Arc<str>]>>,
    /// Only alerts have one; empty: any.
    severities: Box<[Severity]>,
}

impl Routes {
    /// The routes of a configuration.
    pub fn of(config: &Config) -> Self {
        let origin = |on: &AlertInput| match *on {
            AlertInput::Pipeline(at) => Arc::clone(&config.pipelines[at].name),
            AlertInput::Source(at) => Arc::clone(&config.sources[at].name),
        };
        let names: Vec<_> = config.alerts.iter().map(|alert| (&alert.name, origin(&alert.on))).collect();
        let origins: Vec<_> = names.iter().map(|(alert, on)| AlertOrigin { alert, on }).collect();
        Self::new(&config.routes, &origins)
    }

    /// Compiles `routes`; `origins` says where alerts come from, so that a route's `from` covers them.
    pub fn new(routes: &[Route], origins: &[AlertOrigin<'_>]) -> Self {
        Self { rules: routes.iter().map(|route| Rule::new(route, origins)).collect() }
    }

    /// The sinks that get `row`, each once, in the order of the routes.
    pub fn targets(&self, row: RowView<'_>) -> Vec<&Arc<str>> {
        let kind = kind(row);
        let mut targets: Vec<&Arc<str>> = Vec::new();
        for rule in &self.rules {
            if rule.matchers[kind as usize].as_ref().is_some_and(|matcher| matcher.matches(row)) {
                targets.extend(rule.to.iter());
                if rule.is_final {
                    break;
                }
            }
        }
        let mut seen = Vec::with_capacity(targets.len());
        targets.retain(|target| {
            !seen.contains(target) && {
                seen.push(*target);
                true
            }
        });
        targets
    }

    /// What the sink called `sink` wants.
    pub fn wants(&self, sink: &str) -> Wants {
        Wants { steps: std::array::from_fn(|kind| self.steps(sink, kind)) }
    }

    fn steps(&self, sink: &str, kind: usize) -> Box<[Step]> {
        let step = |rule: &Rule| {
            let matcher = rule.matchers[kind].clone()?;
            let verdict = match (rule.to.iter().any(|to| **to == *sink), rule.is_final) {
                (true, _) => Verdict::Wanted,
                (false, true) => Verdict::Taken,
                (false, false) => return None,
            };
            Some(Step { matcher, verdict })
        };
        let mut steps: Vec<_> = self.rules.iter().filter_map(step).collect();
        // What is taken away after the last chance to be wanted changes nothing.
        let used = steps.iter().rposition(|step| step.verdict == Verdict::Wanted).map_or(0, |last| last + 1);
        steps.truncate(used);
        steps.into()
    }
}

impl Wants {
    /// Whether the sink wants `row`.
    pub fn wants(&self, row: RowView<'_>) -> bool {
        let steps = &self.steps[kind(row) as usize];
        steps
            .iter()
            .find(|step| step.matcher.matches(row))
            .is_some_and(|step| step.verdict == Verdict::Wanted)
    }

    /// Whether the sink may want rows of this kind.
    pub fn wants_kind(&self, kind: OutputKind) -> bool {
        !self.steps[kind as usize].is_empty()
    }

    /// The streams the sink must read.
    pub fn streams(&self) -> Vec<StreamName> {
        let is_read = |stream: &StreamName| kinds(*stream).iter().any(|kind| self.wants_kind(*kind));
        StreamName::ALL.into_iter().filter(is_read).collect()
    }
}

impl Rule {
    fn new(route: &Route, origins: &[AlertOrigin<'_>]) -> Self {
        let mut matchers = [const { None }; KINDS];
        let kinds = match &route.of {
            Some(kind) => std::slice::from_ref(kind),
            None => &[OutputKind::Result, OutputKind::Alert],
        };
        for kind in kinds {
            matchers[*kind as usize] = matcher(route, *kind, origins);
        }
        Self { matchers, to: route.to.clone(), is_final: route.is_final }
    }
}

/// `None` where the route asks for what rows of this kind do not have.
fn matcher(route: &Route, kind: OutputKind, origins: &[AlertOrigin<'_>]) -> Option<Matcher> {
    if kind == OutputKind::Alert {
        let names = alert_names(route, origins);
        return Some(Matcher { names, severities: route.severity.as_slice().into() });
    }
    let is_about_alerts = !route.alert.is_empty() || !route.severity.is_empty();
    let names = (!route.from.is_empty()).then(|| route.from.as_slice().into());
    (!is_about_alerts).then_some(Matcher { names, severities: Box::default() })
}

/// The alerts that `alert` and `from` leave; `None`: any.
fn alert_names(route: &Route, origins: &[AlertOrigin<'_>]) -> Option<Box<[Arc<str>]>> {
    if route.from.is_empty() {
        return (!route.alert.is_empty()).then(|| route.alert.as_slice().into());
    }
    let from = origins.iter().filter(|origin| route.from.iter().any(|from| **from == *origin.on));
    let named = from
        .filter(|origin| route.alert.is_empty() || route.alert.iter().any(|alert| **alert == *origin.alert));
    Some(named.map(|origin| Arc::from(origin.alert)).collect())
}

impl Matcher {
    fn matches(&self, row: RowView<'_>) -> bool {
        let is_named =
            self.names.as_ref().is_none_or(|names| names.iter().any(|wanted| **wanted == *name(row)));
        is_named
            && (self.severities.is_empty() || severity(row).is_some_and(|s| self.severities.contains(&s)))
    }
}

/// The kind of a row.
pub fn kind(row: RowView<'_>) -> OutputKind {
    match row {
        RowView::Output(Output::Result(_)) => OutputKind::Result,
        RowView::Output(Output::Late(_)) => OutputKind::Late,
        RowView::Output(Output::Alert(_)) => OutputKind::Alert,
        RowView::Reading(_) => OutputKind::Reading,
        RowView::DeadLetter(_) => OutputKind::DeadLetter,
    }
}

/// The kinds that a stream holds.
fn kinds(stream: StreamName) -> &'static [OutputKind] {
    match stream {
        StreamName::Readings => &[OutputKind::Reading],
        StreamName::Results => &[OutputKind::Result, OutputKind::Late, OutputKind::Alert],
        StreamName::DeadLetters => &[OutputKind::DeadLetter],
    }
}

fn name(row: RowView<'_>) -> &str {
    match row {
        RowView::Output(Output::Result(row)) => &row.pipeline,
        RowView::Output(Output::Late(row)) => &row.pipeline,
        RowView::Output(Output::Alert(row)) => &row.alert,
        RowView::Reading(reading) => reading.source(),
        RowView::DeadLetter(letter) => &letter.source,
    }
}

fn severity(row: RowView<'_>) -> Option<Severity> {
    if let RowView::Output(Output::Alert(row)) = row { Some(row.severity) } else { None }
}

#[cfg(test)]
mod tests;
