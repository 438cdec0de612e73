//! The exponential moving average of the weights, which is what validation and export see.

use crate::torch::{self, Parameters, TorchError};

/// The decay's limit and the updates in which it is approached.
const DECAY: f64 = 0.9999;
const RAMP: f64 = 2000.0;

/// Averages of all parameters and buffers.
pub struct Ema {
    /// The averages.
    pub parameters: Parameters,
    /// Updates so far.
    pub updates: u64,
}

impl Ema {
    /// Starts from the weights as they are.
    pub fn new(parameters: &Parameters) -> Self {
        Ema { parameters: parameters.copy(), updates: 0 }
    }

    /// Moves towards the weights; early updates move further.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn update(&mut self, parameters: &Parameters) -> Result<(), TorchError> {
        self.updates += 1;
        let decay = DECAY * (1.0 - (-(self.updates as f64) / RAMP).exp());
        torch::lerp(&self.parameters.tensors, &parameters.tensors, 1.0 - decay)
    }
}
