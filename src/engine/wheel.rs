//! Which keys have something to do without a reading (pure): timers in service time, windows in event time.
//!
//! Lazy: an entry is only ever replaced by an earlier one. A key that is woken too early (its timer has
//! moved on since) finds nothing to do and says when it wants to be woken next.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::engine::step::Due;

/// A key of one grouping: index into the plan's keyings, and the key.
pub type KeyRef = (u16, Arc<str>);

/// The due keys of one lane (in one partition).
#[derive(Debug, Default)]
pub struct Wheel {
    timers: BTreeSet<(u64, KeyRef)>,
    timer_of: FxHashMap<KeyRef, u64>,
    /// Per pipeline with a watermark of its own for all keys.
    ends: Vec<Ends>,
}

#[derive(Clone, Debug, Default)]
struct Ends {
    order: BTreeSet<(i64, KeyRef)>,
    of: FxHashMap<KeyRef, i64>,
}

impl Wheel {
    /// A wheel for `source_scoped` pipelines with a shared watermark.
    pub fn new(source_scoped: usize) -> Self {
        Self { ends: vec![Ends::default(); source_scoped], ..Self::default() }
    }

    /// Notes when `key` wants to be woken.
    pub fn set(&mut self, key: &KeyRef, due: &Due) {
        if let Some(at) = due.service_ns {
            advance(&mut self.timers, &mut self.timer_of, key, at);
        }
        for (pipeline, end) in &due.ends_ms {
            let Ends { order, of } = &mut self.ends[*pipeline];
            advance(order, of, key, *end);
        }
    }

    /// Takes the keys whose timers are due at `service_ns`.
    pub fn take_timers(&mut self, service_ns: u64) -> Vec<KeyRef> {
        take(&mut self.timers, &mut self.timer_of, |at| *at <= service_ns)
    }

    /// Takes the keys with a window that is due at these watermarks (one per pipeline), each once.
    pub fn take_ends(&mut self, watermarks_ms: impl Iterator<Item = i64>) -> BTreeSet<KeyRef> {
        let mut keys = BTreeSet::new();
        for (Ends { order, of }, watermark) in self.ends.iter_mut().zip(watermarks_ms) {
            keys.extend(take(order, of, |end| end.saturating_sub(1) <= watermark));
        }
        keys
    }
}

fn advance<T: Ord + Copy>(
    order: &mut BTreeSet<(T, KeyRef)>,
    of: &mut FxHashMap<KeyRef, T>,
    key: &KeyRef,
    at: T,
) {
    match of.get_mut(key) {
        Some(known) if *known <= at => {}
        Some(known) => {
            order.remove(&(*known, key.clone()));
            *known = at;
            order.insert((at, key.clone()));
        }
        None => {
            of.insert(key.clone(), at);
            order.insert((at, key.clone()));
        }
    }
}

fn take<T: Ord>(
    order: &mut BTreeSet<(T, KeyRef)>,
    of: &mut FxHashMap<KeyRef, T>,
    is_due: impl Fn(&T) -> bool,
) -> Vec<KeyRef> {
    let mut keys = Vec::new();
    while order.first().is_some_and(|(at, _)| is_due(at)) {
        let (_, key) = order.pop_first().expect("there is a first one");
        of.remove(&key);
        keys.push(key);
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_earlier_entries_replace_and_each_is_taken_once() {
        let mut wheel = Wheel::new(1);
        let key = |name: &str| (0u16, Arc::from(name));
        let timer = |at| Due { service_ns: Some(at), ends_ms: vec![(0, at as i64)] };
        wheel.set(&key("a"), &timer(50));
        wheel.set(&key("a"), &timer(90));
        wheel.set(&key("b"), &timer(80));
        wheel.set(&key("b"), &timer(60));
        assert_eq!(wheel.take_timers(49), []);
        assert_eq!(wheel.take_timers(60), [key("a"), key("b")]);
        assert_eq!(wheel.take_timers(1_000), []);
        assert_eq!(wheel.take_ends([58].into_iter()), [key("a")].into());
        assert_eq!(wheel.take_ends([59].into_iter()), [key("b")].into());
    }
}
