//! Batches that were given to the device and whose losses have not arrived yet.

use std::collections::VecDeque;

use crate::learner::{Losses, Parts};
use crate::torch::{Readback, ScalerState, TorchError};

/// Batches that may be on their way while the next are given to the device.
pub const IN_FLIGHT: usize = 4;

/// The batches of an epoch that are on their way, in their order, and the mean of those that are not any more.
#[derive(Default)]
pub struct Flight {
    batches: VecDeque<InFlight>,
    sums: Parts,
    counted: usize,
}

/// A batch on its way.
pub struct InFlight {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Batch within it, from 0.
    pub index: usize,
    /// Learning rate of the weights.
    pub lr: f64,
    /// Pairs in it.
    pub pairs: usize,
    /// Its losses.
    pub losses: Losses,
    /// The loss scale after it.
    pub scaler: Readback,
}

/// A batch that has arrived.
pub struct Landed {
    /// Which one.
    pub batch: InFlight,
    /// Its losses.
    pub parts: Parts,
    /// The loss scale after it.
    pub scaler: ScalerState,
}

impl Flight {
    /// A batch was given to the device.
    pub fn take_off(&mut self, batch: InFlight) {
        self.batches.push_back(batch);
    }

    /// The next batch that has arrived. It is waited for where more than `most` are on their way; otherwise there may be
    /// none.
    ///
    /// # Errors
    /// What the device reports.
    pub fn next(&mut self, most: usize) -> Result<Option<Landed>, TorchError> {
        let waits = self.batches.len() > most;
        match self.batches.front() {
            Some(first) if waits || first.losses.are_there()? => {}
            _ => return Ok(None),
        }
        let Some(batch) = self.batches.pop_front() else { return Ok(None) };
        let parts = batch.losses.parts()?;
        let scaler = ScalerState::of(&batch.scaler.values()?);
        if parts.iter().all(|x| x.is_finite()) {
            (0..3).for_each(|i| self.sums[i] += parts[i]);
            self.counted += 1;
        }
        Ok(Some(Landed { batch, parts, scaler }))
    }

    /// Mean of the finite losses so far; NaN before the first.
    pub fn means(&self) -> Parts {
        self.sums.map(|sum| if self.counted > 0 { sum / self.counted as f64 } else { f64::NAN })
    }
}
