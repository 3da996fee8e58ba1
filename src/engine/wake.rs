//! When a sleeping sensor wants to be woken: a small row beside its state, written in the same batch.
//!
//! A start reads these rows and not the states, so that `absent` and due windows fire for exactly the sensors that
//! fell silent. A row holds indices, so it counts only under the configuration and program that wrote it: otherwise
//! the state is asked.

use crate::engine::plan::LanePlan;
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
    ResultId::EMPTY.with_text(env!("CARGO_PKG_VERSION")).with_text(&plan.config.hash).short()
}
