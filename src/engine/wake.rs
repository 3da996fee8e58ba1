//! When a sleeping sensor wants to be woken: a small row beside its state, written in the same batch.
//!
//! A start reads these rows and not the states, so that `absent` and due windows fire for exactly the sensors that
//! fell silent. A row holds indices, so it counts only under the configuration and program that wrote it: otherwise
//! the state is asked.

use crate::engine::plan::{LanePlan, PipelinePlan};
use crate::engine::step::{Due, Place, SensorState};
use crate::engine::wheel::KeyRef;
use crate::model::bytes::{Input, Truncated, put_varint, put_zigzag};
use crate::model::{ResultId, Timestamp};

/// What is known of a sensor without its state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// When it has something to do without a reading.
    pub due: Due,
    /// Alerts that are firing: indices into the configuration's.
    pub firing: Vec<usize>,
}

impl Wake {
    /// What `state` says of `key`.
    pub fn of(plan: &LanePlan, key: &KeyRef, state: &SensorState) -> Self {
        let keying = &plan.keyings[usize::from(key.0)];
        // Deadlines do not depend on what time it is.
        let place = Place { plan, keying, key: &key.1, service_ns: 0, wall: Timestamp::default() };
        Self { due: state.due(&place), firing: state.firing(keying).collect() }
    }

    /// The row.
    pub fn encode(&self, plan: &LanePlan) -> Vec<u8> {
        let mut out = stamp(plan).to_le_bytes().to_vec();
        put_varint(&mut out, self.due.service_ns.map_or(0, |at| at.saturating_add(1)));
        put_varint(&mut out, self.due.ends_ms.len() as u64);
        for (pipeline, end) in &self.due.ends_ms {
            put_varint(&mut out, *pipeline as u64);
            put_zigzag(&mut out, *end);
        }
        put_varint(&mut out, self.firing.len() as u64);
        self.firing.iter().for_each(|alert| put_varint(&mut out, *alert as u64));
        out
    }

    /// What the row says; `None` if it was written under another configuration or by another program.
    pub fn decode(plan: &LanePlan, row: &[u8]) -> Option<Self> {
        Self::take(plan, row).ok().flatten()
    }

    fn take(plan: &LanePlan, row: &[u8]) -> Result<Option<Self>, Truncated> {
        let mut input = Input(row);
        if input.u64()? != stamp(plan) {
            return Ok(None);
        }
        let mut wake = Self::default();
        wake.due.service_ns = input.varint()?.checked_sub(1);
        for _ in 0..input.count(plan.source_scoped.len())? {
            let pipeline = input.count(plan.source_scoped.len().saturating_sub(1))?;
            wake.due.ends_ms.push((pipeline, input.zigzag()?));
        }
        for _ in 0..input.count(plan.config.alerts.len())? {
            wake.firing.push(input.count(plan.config.alerts.len().saturating_sub(1))?);
        }
        Ok(Some(wake))
    }
}

/// What a row's meaning depends on.
fn stamp(plan: &LanePlan) -> u64 {
    let stamp = ResultId::EMPTY.with_text(env!("CARGO_PKG_VERSION")).with_text(&plan.config.hash);
    let pipelines = plan.keyings.iter().flat_map(|keying| &keying.pipelines);
    let joined = |stamp: ResultId, pipeline: &PipelinePlan| {
        stamp.with_number(pipeline.index as u64).with_number(pipeline.joined_at.0)
    };
    pipelines.fold(stamp, joined).short()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn plan(text: &str) -> LanePlan {
        let source = "[source.s]\ntopic = \"s/{id}\"\n[alert.gone]\non = \"s\"\nabsent = \"5m\"\n";
        let (config, _) =
            crate::config::from_text("c", &format!("{source}{text}"), std::path::Path::new("/")).unwrap();
        LanePlan::new(&Arc::new(config), &"main".into(), "j")
    }

    const SHARED: &str = r#"
        [pipeline.p]
        from = ["s"]
        window = { kind = "tumbling", size = "1m" }
        watermark = { scope = "source" }
        select = { n = "count()" }
    "#;

    #[test]
    fn a_row_comes_back_under_its_own_configuration_only() {
        let plan_of = plan(SHARED);
        for (service_ns, ends_ms, firing) in
            [(None, vec![], vec![]), (Some(0), vec![(0, -5)], vec![0]), (Some(u64::MAX - 1), vec![], vec![])]
        {
            let wake = Wake { due: Due { service_ns, ends_ms }, firing };
            let row = wake.encode(&plan_of);
            assert_eq!(Wake::decode(&plan_of, &row).as_ref(), Some(&wake));
            assert_eq!(Wake::decode(&plan(&format!("{SHARED}# edited")), &row), None);
            assert!((0..row.len()).all(|end| Wake::decode(&plan_of, &row[..end]).is_none()));
        }
    }
}
