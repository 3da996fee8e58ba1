//! Who is put off when room on disk or time runs out: `bulk` sources first, `alarm` sources never by this.
//!
//! On the data's path this stands inside the door, in front of intake. The application measures ([`Room::set_disk`],
//! [`Room::set_pressed`]); listeners only look. While there is room, looking costs one load.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::config::Priority;

/// How long a connection's bulk burst waits at most while processing is behind. Its socket is not read meanwhile.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Share of the room in use from which bulk sources are refused.
const SCARCE_FROM: f64 = 0.85;
/// Share of the room in use from which only alarm sources are taken.
const CRITICAL_FROM: f64 = 0.95;

/// How much room there is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Everything is taken.
    Ample,
    /// `bulk` sources are refused.
    Scarce,
    /// Only `alarm` sources are taken.
    Critical,
}

impl Level {
    /// The level at which `used` of the room, from 0 to 1, is in use.
    pub fn of(used: f64) -> Self {
        match used {
            used if used > CRITICAL_FROM => Self::Critical,
            used if used >= SCARCE_FROM => Self::Scarce,
            _ => Self::Ample,
        }
    }

    /// Whether sources of `priority` are taken.
    pub fn takes(self, priority: Priority) -> bool {
        match self {
            Self::Ample => true,
            Self::Scarce => priority != Priority::Bulk,
            Self::Critical => priority == Priority::Alarm,
        }
    }
}

/// The share of a stream's room that is in use: what somebody still needs of it.
pub fn used_by_pins(pinned_bytes: u64, bytes_max: u64) -> f64 {
    pinned_bytes as f64 / bytes_max.max(1) as f64
}

/// The file system on the same scale: bulk sources are refused where less than `min_free_bytes` is free, all but
/// alarms below a third of it.
pub fn used_of_disk(free_bytes: u64, min_free_bytes: u64) -> f64 {
    if min_free_bytes == 0 {
        return 0.0;
    }
    SCARCE_FROM + (1.0 - SCARCE_FROM) * (1.0 - free_bytes as f64 / min_free_bytes as f64)
}

/// How much room there is, as every door sees it.
pub struct Room {
    disk: AtomicU8,
    pressed: watch::Sender<bool>,
}

impl Default for Room {
    fn default() -> Self {
        Self { disk: AtomicU8::new(Level::Ample as u8), pressed: watch::Sender::new(false) }
    }
}

impl Room {
    /// Sets the room on disk; what it was before.
    pub fn set_disk(&self, level: Level) -> Level {
        Self::level(self.disk.swap(level as u8, Ordering::Relaxed))
    }

    /// Whether processing is so far behind that bulk sources are slowed. What it was before.
    pub fn set_pressed(&self, is_pressed: Pressure) -> Pressure {
        let before = self.pressed.send_replace(is_pressed == Pressure::High);
        if before { Pressure::High } else { Pressure::None }
    }

    /// The room on disk.
    pub fn disk(&self) -> Level {
        Self::level(self.disk.load(Ordering::Relaxed))
    }

    /// Whether bulk sources are slowed.
    pub fn is_pressed(&self) -> bool {
        *self.pressed.borrow()
    }

    /// Waits until bulk sources need not be slowed, but not for long: what is slowed still goes on.
    pub async fn relieved(&self) {
        let mut pressed = self.pressed.subscribe();
        // It ends with the pressure, or the time is over; the sender is ours.
        let _ = tokio::time::timeout(PAUSE_MAX, pressed.wait_for(|pressed| !pressed)).await;
    }

    fn level(byte: u8) -> Level {
        match byte {
            0 => Level::Ample,
            1 => Level::Scarce,
            _ => Level::Critical,
        }
    }
}

/// Whether processing keeps up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// It does.
    None,
    /// A lane with alerts lags.
    High,
}

#[cfg(test)]
mod tests {
    use super::*;
    use Priority::{Alarm, Bulk, Normal};

    #[test]
    fn bulk_goes_first_and_alarms_are_always_taken() {
        for (used, taken) in [
            (0.0, &[Bulk, Normal, Alarm][..]),
            (0.8499, &[Bulk, Normal, Alarm]),
            (0.85, &[Normal, Alarm]),
            (0.95, &[Normal, Alarm]),
            (0.951, &[Alarm]),
            (7.0, &[Alarm]),
        ] {
            let takes: Vec<_> = [Bulk, Normal, Alarm]
                .into_iter()
                .filter(|priority| Level::of(used).takes(*priority))
                .collect();
            assert_eq!(takes, taken, "{used}");
        }
    }

    #[test]
    fn the_file_system_is_on_the_same_scale() {
        let gib = 1 << 30;
        for (free, level) in [
            (100 * gib, Level::Ample),
            (3 * gib + 1, Level::Ample),
            (3 * gib, Level::Scarce),
            (gib + 1, Level::Scarce),
            (gib - 1, Level::Critical),
            (0, Level::Critical),
        ] {
            assert_eq!(Level::of(used_of_disk(free, 3 * gib)), level, "{free}");
        }
        assert_eq!(Level::of(used_of_disk(1, 0)), Level::Ample, "no reserve was asked for");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_with_the_pressure_or_after_a_while() {
        let room = Room::default();
        let begun = tokio::time::Instant::now();
        room.relieved().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        room.set_pressed(Pressure::High);
        room.relieved().await;
        assert_eq!(begun.elapsed(), PAUSE_MAX);
        let relief = async {
            tokio::time::sleep(PAUSE_MAX / 4).await;
            room.set_pressed(Pressure::None)
        };
        let ((), before) = tokio::join!(room.relieved(), relief);
        assert_eq!(before, Pressure::High);
        assert_eq!(begun.elapsed(), PAUSE_MAX + PAUSE_MAX / 4);
    }
}
