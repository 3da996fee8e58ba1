//! A sensor's state as bytes, by generation and alert, so that a changed configuration takes what still fits.

use super::{PipelineState, SensorState};
use crate::alert;
use crate::config::Pipeline;
use crate::engine::generations;
use crate::engine::plan::{AlertPlan, Keying, LanePlan, identity};
use crate::model::Offset;
use crate::model::bytes::{Input, Truncated, put_text, put_varint, put_zigzag};
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
        put_varint(out, (alerts.len() + self.kept.len()) as u64);
        for (alert, state) in alerts {
            put_varint(out, identity(&plan.config, alert.index));
            put_part(out, |out| state.put(out));
        }
        for (identity, part) in &self.kept {
            put_varint(out, *identity);
            put_part(out, |out| out.extend_from_slice(part));
        }
    }

    /// Reads the state of [`Self::put`]. Pipelines and alerts it does not know begin anew, and so do those whose
    /// state was saved before they joined: a generation may go and come back.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn take(plan: &LanePlan, keying: &Keying, bytes: &[u8]) -> Result<Self, StateError> {
        let Saved { applied, rests, mut pipelines, alerts } = Saved::parse(bytes)?;
        let mut state = Self::new(keying, applied);
        state.rests = rests;
        let saved: Vec<_> = pipelines.iter().map(|(generation, name, _)| (*generation, *name)).collect();
        let wanted = keying.pipelines.iter().map(|pipeline| &plan.config.pipelines[pipeline.index]);
        for (at, from) in generations::pair(wanted, &saved) {
            if applied < keying.pipelines[at].joined_at {
                continue;
            }
            let part = &mut pipelines[from].2;
            let alerts = std::mem::take(&mut state.pipelines[at].alerts);
            state.pipelines[at] = PipelineState {
                watermark_ms: part.zigzag()?,
                largest_ms: part.zigzag()?,
                heard_ns: part.varint()?,
                windows: Windows::take(&plan.config.pipelines[keying.pipelines[at].index], part)?,
                alerts,
            };
        }
        state.take_alerts(plan, keying, alerts)?;
        Ok(state)
    }

    /// Takes over what `bytes`, a state of the same key, knows of the plan's alerts; whether it knew of any.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn inherit(&mut self, plan: &LanePlan, keying: &Keying, bytes: &[u8]) -> Result<bool, StateError> {
        let Saved { mut alerts, .. } = Saved::parse(bytes)?;
        let own: Vec<_> =
            self.all_alerts(keying).map(|(alert, _)| identity(&plan.config, alert.index)).collect();
        alerts.retain(|(known, _)| own.contains(known));
        let any = !alerts.is_empty();
        self.take_alerts(plan, keying, alerts)?;
        Ok(any)
    }

    /// Takes over the pipelines of `born`, the state of the same key in a birth that met the lane at `met`.
    pub fn adopt(&mut self, keying: &Keying, (born, born_keying): (Self, &Keying), met: Offset) {
        for (plan, state) in born_keying.pipelines.iter().zip(born.pipelines) {
            if let Some(at) = keying.pipelines.iter().position(|own| own.index == plan.index) {
                self.pipelines[at] = state;
            }
        }
        for (identity, part) in born.kept {
            self.kept.retain(|(known, _)| *known != identity);
            self.kept.push((identity, part));
        }
        self.applied = met;
        self.rests &= born.rests;
    }

    /// Whether no alert of the pipelines has anything to tell or to wait for.
    pub fn is_calm(&self, plan: &LanePlan, keying: &Keying) -> bool {
        let is_calm =
            |(alert, state): (&AlertPlan, &alert::State)| state.is_calm(&plan.config.alerts[alert.index]);
        self.all_alerts(keying).all(is_calm)
    }

    fn take_alerts(
        &mut self,
        plan: &LanePlan,
        keying: &Keying,
        alerts: Vec<(u64, Input<'_>)>,
    ) -> Result<(), Truncated> {
        for (known, mut part) in alerts {
            let mut own = self.all_alerts_mut(keying);
            let found = own.find(|(alert, _)| identity(&plan.config, alert.index) == known);
            if let Some((_, state)) = found {
                *state = alert::State::take(&mut part)?;
            } else if plan.waiting.contains(&known) {
                drop(own);
                self.kept.push((known, part.0.into()));
            }
        }
        Ok(())
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

/// A state as it was saved, cut into its parts.
struct Saved<'a> {
    applied: Offset,
    rests: bool,
    /// Generation, name and state.
    pipelines: Vec<(u64, &'a str, Input<'a>)>,
    /// Identity and state.
    alerts: Vec<(u64, Input<'a>)>,
}

impl<'a> Saved<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, StateError> {
        let mut input = Input(bytes);
        let version = input.byte()?;
        if version != VERSION {
            return Err(StateError::Newer(version));
        }
        let mut saved = Self {
            applied: Offset(input.varint()?),
            rests: input.byte()? == 1,
            pipelines: Vec::new(),
            alerts: Vec::new(),
        };
        for _ in 0..input.count(bytes.len())? {
            saved.pipelines.push((input.varint()?, input.text()?, take_part(&mut input)?));
        }
        for _ in 0..input.count(bytes.len())? {
            saved.alerts.push((input.varint()?, take_part(&mut input)?));
        }
        Ok(saved)
    }
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
