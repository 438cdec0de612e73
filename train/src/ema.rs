//! The exponential moving average of the weights, which is what validation and export see.

use crate::torch::{self, Kind, Parameters, Tensor, TorchError, no_grad};

/// The decay's limit and the updates in which it is approached.
const DECAY: f64 = 0.9999;
const RAMP: f64 = 2000.0;

/// Averages of all parameters and buffers.
pub struct Ema {
    /// The averages.
    pub parameters: Parameters,
    /// Updates so far, one number on the device: the host need not know whether a step was skipped.
    updates: Tensor,
}

impl Ema {
    /// Starts from the weights as they are.
    pub fn new(parameters: &Parameters) -> Self {
        let device = parameters.tensors.first().map_or(torch::Device::Cpu, Tensor::device);
        Ema { parameters: parameters.copy(), updates: Tensor::zeros([], (Kind::Double, device)) }
    }

    /// Moves towards the weights, unless `found_inf` (one number on the device) is 1; early updates move further.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn update(&self, parameters: &Parameters, found_inf: &Tensor) -> Result<(), TorchError> {
        let weight = no_grad(|| -> Result<Tensor, TorchError> {
            let taken = found_inf.f_squeeze()?.f_to_kind(Kind::Double)?.f_neg()?.f_add_scalar(1.0)?;
            let _ = self.updates.shallow_clone().f_add_(&taken)?;
            // 1 - DECAY (1 - e^(-updates / RAMP))
            let ramp = self.updates.f_div_scalar(-RAMP)?.f_exp()?;
            let moved = ramp.f_mul_scalar(DECAY)?.f_add_scalar(1.0 - DECAY)?;
            Ok(moved.f_mul(&taken)?.f_to_kind(Kind::Float)?)
        })?;
        torch::lerp(&self.parameters.tensors, &parameters.tensors, &weight)
    }

    /// Updates so far; waits for the device.
    pub fn updates(&self) -> u64 {
        self.updates.double_value(&[]) as u64
    }

    /// Goes on from a number of updates.
    pub fn set_updates(&mut self, updates: u64) {
        let _ = self.updates.fill_(updates as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::Device;

    #[test]
    fn follows_the_weights_by_the_ramped_decay_and_not_where_a_step_was_skipped() {
        let number = |x: f64| Tensor::full([1], x, (Kind::Float, Device::Cpu));
        let one = |x: f64| Parameters::new(vec![], vec![number(x)]);
        let ema = Ema::new(&one(1.0));
        let mut expected = 1.0;
        for update in 1..=3 {
            ema.update(&one(5.0), &number(0.0)).unwrap();
            ema.update(&one(9.0), &number(1.0)).unwrap();
            let decay = 0.9999 * (1.0 - (-f64::from(update) / 2000.0).exp());
            expected = decay * expected + (1.0 - decay) * 5.0;
            assert!((ema.parameters.tensors[0].double_value(&[0]) - expected).abs() < 1e-6);
        }
        assert_eq!(ema.updates(), 3);
    }
}
