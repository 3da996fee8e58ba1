//! Which source takes a topic path: the first in file order whose pattern matches.
//!
//! Patterns are found by the topic's first level, so a site with a thousand sources walks only those that
//! may match. Captures are levels by number: nothing is stored for a match.

use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use crate::config::{TopicLevel, TopicPattern};

/// Whether `pattern` takes `topic`. As in MQTT, a wildcard does not take the first level of a `$` topic.
pub fn matches(pattern: &TopicPattern, topic: &str) -> bool {
    if topic.starts_with('$') && !matches!(pattern.levels.first(), Some(TopicLevel::Text(_))) {
        return false;
    }
    let mut levels = topic.split('/');
    for level in &pattern.levels {
        let takes = match (level, levels.next()) {
            (TopicLevel::Rest, _) => return true,
            (_, None) => false,
            (TopicLevel::Text(text), Some(found)) => **text == *found,
            (TopicLevel::Capture(_) | TopicLevel::Any, Some(_)) => true,
        };
        if !takes {
            return false;
        }
    }
    levels.next().is_none()
}

/// The level of `pattern` that is captured as `name`, from 0.
pub fn level_of(pattern: &TopicPattern, name: &str) -> Option<usize> {
    pattern.levels.iter().position(|level| matches!(level, TopicLevel::Capture(known) if **known == *name))
}

/// The first level of `pattern` that is captured, from 0.
pub fn first_capture(pattern: &TopicPattern) -> Option<usize> {
    pattern.levels.iter().position(|level| matches!(level, TopicLevel::Capture(_)))
}

/// Patterns by the first level they want.
pub struct Topics {
    patterns: Vec<TopicPattern>,
    /// Indices of the patterns that may take a topic with this first level, in file order.
    by_first: HashMap<Arc<str>, Vec<usize>, FxBuildHasher>,
    /// Those of them that take any first level.
    others: Vec<usize>,
}

impl Topics {
    /// An index over `patterns`, which are in file order.
    pub fn new(patterns: Vec<TopicPattern>) -> Self {
        let first = |at: usize| match patterns[at].levels.first() {
            Some(TopicLevel::Text(text)) => Some(text),
            _ => None,
        };
        let places = 0..patterns.len();
        let others = places.clone().filter(|at| first(*at).is_none()).collect();
        let mut by_first: HashMap<Arc<str>, Vec<usize>, FxBuildHasher> = HashMap::default();
        for text in places.clone().filter_map(first) {
            by_first.entry(text.clone()).or_insert_with(|| {
                places.clone().filter(|at| first(*at).is_none_or(|known| known == text)).collect()
            });
        }
        Self { patterns, by_first, others }
    }

    /// The index of the first pattern that takes `topic`.
    pub fn find(&self, topic: &str) -> Option<usize> {
        let first = topic.split('/').next().unwrap_or_default();
        let candidates = self.by_first.get(first).unwrap_or(&self.others);
        candidates.iter().copied().find(|at| matches(&self.patterns[*at], topic))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::pattern;
    use super::*;

    #[test]
    fn patterns_take_topics() {
        let table = [
            ("fleet/{v}/telemetry", "fleet/v17/telemetry", true),
            ("fleet/{v}/telemetry", "fleet/v17/telemetry/x", false),
            ("fleet/{v}/telemetry", "fleet/v17", false),
            ("fleet/{v}/telemetry", "fleet//telemetry", true),
            ("fleet/#", "fleet", true),
            ("fleet/#", "fleet/a/b/c", true),
            ("fleet/#", "fleets/a", false),
            ("+/x", "a/x", true),
            ("+/x", "a/b/x", false),
            ("#", "anything/at/all", true),
            ("#", "$SYS/broker/connection", false),
            ("{a}/broker", "$SYS/broker", false),
            ("$SYS/#", "$SYS/broker", true),
            ("a", "", false),
            ("{a}", "", true),
        ];
        for (text, topic, want) in table {
            assert_eq!(matches(&pattern(text), topic), want, "{text} takes {topic}");
            let found = Topics::new(vec![pattern(text)]).find(topic);
            assert_eq!(found.is_some(), want, "{text} finds {topic}");
        }
    }

    #[test]
    fn the_first_in_file_order_wins_also_over_one_with_a_text_in_front() {
        let patterns = ["+/a", "x/a", "x/#", "#"];
        let topics = Topics::new(patterns.map(pattern).to_vec());
        for (topic, want) in [("x/a", 0), ("x/b", 2), ("y/a", 0), ("y/b", 3)] {
            assert_eq!(topics.find(topic), Some(want), "{topic}");
        }
    }

    #[test]
    fn captures_are_levels() {
        let pattern = pattern("site/{site}/+/{meter}/#");
        assert_eq!((level_of(&pattern, "site"), level_of(&pattern, "meter")), (Some(1), Some(3)));
        assert_eq!((level_of(&pattern, "x"), first_capture(&pattern)), (None, Some(1)));
    }
}
