//! A sensor's state as bytes, by generation and alert, so that a changed configuration takes what still fits.

use super::{PipelineState, SensorState};
use crate::alert;
use crate::config::{AlertInput, Config, Pipeline};
use crate::engine::generations;
use crate::engine::plan::{AlertPlan, Keying, LanePlan};
use crate::model::bytes::{Input, Truncated, put_text, put_varint, put_zigzag};
use crate::model::{Offset, ResultId};
use crate::window::Windows;

/// The format this program writes and reads.
pub const VERSION: u8 = 1;

/// Why a state cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The bytes are no state.
    #[error("damaged state")]
    Damaged,
    /// A newer program wrote it.
    #[error("state format {0}, this program reads {VERSION}")]
    Newer(u8),
}

impl From<Truncated> for StateError {
    fn from(_: Truncated) -> Self {
        Self::Damaged
    }
}

impl SensorState {
    /// Appends the state to `out`.
    pub fn put(&self, plan: &LanePlan, keying: &Keying, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_varint(out, self.applied.0);
        out.push(u8::from(self.rests));
        put_varint(out, self.pipelines.len() as u64);
        for (pipeline, state) in keying.pipelines.iter().zip(&self.pipelines) {
            let Pipeline { generation, name, .. } = &plan.config.pipelines[pipeline.index];
            put_varint(out, *generation);
            put_text(out, name);
            put_part(out, |out| {
                put_zigzag(out, state.watermark_ms);
                put_zigzag(out, state.largest_ms);
                put_varint(out, state.heard_ns);
                state.windows.put(out);
            });
        }
        let alerts: Vec<_> = self.all_alerts(keying).collect();
        put_varint(out, alerts.len() as u64);
        for (alert, state) in alerts {
            put_varint(out, identity(&plan.config, alert));
            put_part(out, |out| state.put(out));
        }
    }

    /// Reads the state of [`Self::put`]. Pipelines and alerts it does not know begin anew.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn take(plan: &LanePlan, keying: &Keying, bytes: &[u8]) -> Result<Self, StateError> {
        let mut input = Input(bytes);
        let version = input.byte()?;
        if version != VERSION {
            return Err(StateError::Newer(version));
        }
        let mut state = Self::new(keying, Offset(input.varint()?));
        state.rests = input.byte()? == 1;
        let mut parts = Vec::new();
        for _ in 0..input.count(bytes.len())? {
            parts.push((input.varint()?, input.text()?, take_part(&mut input)?));
        }
        let saved: Vec<_> = parts.iter().map(|(generation, name, _)| (*generation, *name)).collect();
        let pipelines = keying.pipelines.iter().map(|pipeline| &plan.config.pipelines[pipeline.index]);
        for (at, from) in generations::pair(pipelines, &saved) {
            let part = &mut parts[from].2;
            let alerts = std::mem::take(&mut state.pipelines[at].alerts);
            state.pipelines[at] = PipelineState {
                watermark_ms: part.zigzag()?,
                largest_ms: part.zigzag()?,
                heard_ns: part.varint()?,
                windows: Windows::take(&plan.config.pipelines[keying.pipelines[at].index], part)?,
                alerts,
            };
        }
        for _ in 0..input.count(bytes.len())? {
            let known = input.varint()?;
            let mut part = take_part(&mut input)?;
            for (alert, alert_state) in state.all_alerts_mut(keying) {
                if identity(&plan.config, alert) == known {
                    *alert_state = alert::State::take(&mut part)?;
                    break;
                }
            }
        }
        Ok(state)
    }

    fn all_alerts<'a>(
        &'a self,
        keying: &'a Keying,
    ) -> impl Iterator<Item = (&'a AlertPlan, &'a alert::State)> {
        let nested = keying.pipelines.iter().zip(&self.pipelines);
        let nested = nested.flat_map(|(plan, state)| plan.alerts.iter().zip(&state.alerts));
        nested.chain(keying.alerts.iter().zip(&self.alerts))
    }

    fn all_alerts_mut<'a>(
        &'a mut self,
        keying: &'a Keying,
    ) -> impl Iterator<Item = (&'a AlertPlan, &'a mut alert::State)> {
        let nested = keying.pipelines.iter().zip(&mut self.pipelines);
        let nested = nested.flat_map(|(plan, state)| plan.alerts.iter().zip(&mut state.alerts));
        nested.chain(keying.alerts.iter().zip(&mut self.alerts))
    }
}

/// An alert keeps its state while its name and what it reads stay: thresholds may change.
fn identity(config: &Config, alert: &AlertPlan) -> u64 {
    let alert = &config.alerts[alert.index];
    let input = match alert.on {
        AlertInput::Pipeline(index) => &config.pipelines[index].name,
        AlertInput::Source(index) => &config.sources[index].name,
    };
    ResultId::EMPTY.with_text(&alert.name).with_text(input).short()
}

fn put_part(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let mut part = Vec::new();
    put(&mut part);
    put_varint(out, part.len() as u64);
    out.extend_from_slice(&part);
}

fn take_part<'a>(input: &mut Input<'a>) -> Result<Input<'a>, Truncated> {
    let length = input.count(input.0.len())?;
    input.take(length).map(Input)
}
