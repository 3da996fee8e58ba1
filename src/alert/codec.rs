//! An alert's state as bytes.

use super::{Phase, State};
use crate::model::bytes::{Input, Truncated, put_text, put_varint, put_zigzag};
use crate::model::{AlertRow, Offset, Timestamp};

impl State {
    /// Appends the state to `out`.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.heard_ns.map_or(0, |heard| heard + 1));
        match &self.phase {
            Phase::Quiet => out.push(0),
            Phase::Pending(since, first) => {
                out.push(1);
                put_zigzag(out, since.nanos());
                put_varint(out, first.0);
            }
            Phase::Firing(sent, sent_ns) => {
                out.push(2);
                put_text(out, &serde_json::to_string(sent).expect("rows have text keys"));
                // A row's JSON is in milliseconds and may round.
                put_zigzag(out, sent.time.nanos());
                put_varint(out, *sent_ns);
            }
        }
    }

    /// Reads the state of [`Self::put`].
    ///
    /// # Errors
    /// [`Truncated`] if the bytes are no state.
    pub fn take(input: &mut Input<'_>) -> Result<Self, Truncated> {
        let heard_ns = input.varint()?.checked_sub(1);
        let phase = match input.byte()? {
            0 => Phase::Quiet,
            1 => Phase::Pending(Timestamp::from_nanos(input.zigzag()?), Offset(input.varint()?)),
            2 => {
                let sent: AlertRow = serde_json::from_str(input.text()?).map_err(|_| Truncated)?;
                let sent = AlertRow { time: Timestamp::from_nanos(input.zigzag()?), ..sent };
                Phase::Firing(Box::new(sent), input.varint()?)
            }
            _ => return Err(Truncated),
        };
        Ok(Self { phase, heard_ns })
    }
}
