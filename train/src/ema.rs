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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::{Device, Kind, Tensor};

    #[test]
    fn follows_the_weights_by_the_ramped_decay() {
        let one = |x: f64| Parameters {
            declared: vec![],
            tensors: vec![Tensor::full([1], x, (Kind::Float, Device::Cpu))],
        };
        let mut ema = Ema::new(&one(1.0));
        let mut expected = 1.0;
        for update in 1..=3 {
            ema.update(&one(5.0)).unwrap();
            let decay = 0.9999 * (1.0 - (-f64::from(update) / 2000.0).exp());
            expected = decay * expected + (1.0 - decay) * 5.0;
            assert!((ema.parameters.tensors[0].double_value(&[0]) - expected).abs() < 1e-6);
        }
        assert_eq!(ema.updates, 3);
    }
}
