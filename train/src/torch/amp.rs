//! Mixed precision (arXiv 1710.03740): autocast around the forward pass, a dynamic loss scale for fp16.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use super::ffi::{self, TorchError, check, handle};
use super::{Device, Kind, Tensor, foreach};

/// Autocast on this thread until dropped.
pub struct Autocast {
    is_cuda: i32,
    was_enabled: i32,
    was_kind: i32,
    // The state belongs to the thread.
    _not_send: PhantomData<*const ()>,
}

impl Autocast {
    /// Computes in `kind` where that is safe; `None` switches autocast off.
    pub fn enter(device: Device, kind: Option<Kind>) -> Result<Self, TorchError> {
        let is_cuda = i32::from(device.is_cuda());
        let (mut was_enabled, mut was_kind) = (0, 0);
        let number = match kind {
            Some(Kind::Half) => 5,
            _ => 15,
        };
        // SAFETY: both out-parameters are live.
        check(unsafe {
            ffi::yf_autocast_enter(
                is_cuda,
                i32::from(kind.is_some()),
                number,
                &mut was_enabled,
                &mut was_kind,
            )
        })?;
        Ok(Autocast { is_cuda, was_enabled, was_kind, _not_send: PhantomData })
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // SAFETY: restores what `enter` read on this thread.
        if let Err(e) = check(unsafe { ffi::yf_autocast_exit(self.is_cuda, self.was_enabled, self.was_kind) })
        {
            tracing::error!("leaving autocast: {e}");
        }
    }
}

/// What a checkpoint keeps of a [`GradScaler`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScalerState {
    /// The loss scale.
    pub scale: f64,
    /// Steps since the scale last changed.
    pub growth_tracker: i64,
}

/// A dynamic loss scale as PyTorch's: doubled after 2,000 good steps, halved by a bad one. Without a scale (fp32,
/// bf16) it only watches for gradients that are not finite.
pub struct GradScaler {
    enabled: bool,
    scale: Tensor,
    growth_tracker: Tensor,
    found_inf: Tensor,
}

impl GradScaler {
    const GROWTH: f64 = 2.0;
    const BACKOFF: f64 = 0.5;
    const GROWTH_INTERVAL: i64 = 2000;

    /// A scaler with an initial scale, or `None` to scale by 1 for good.
    pub fn new(initial: Option<f64>, device: Device) -> Self {
        Self::resume(
            initial.is_some(),
            ScalerState { scale: initial.unwrap_or(1.0), growth_tracker: 0 },
            device,
        )
    }

    /// A scaler as a checkpoint kept it.
    pub fn resume(enabled: bool, state: ScalerState, device: Device) -> Self {
        GradScaler {
            enabled,
            scale: Tensor::full([1], state.scale, (Kind::Float, device)),
            growth_tracker: Tensor::full([1], state.growth_tracker, (Kind::Int, device)),
            found_inf: Tensor::zeros([1], (Kind::Float, device)),
        }
    }

    /// The loss times the scale.
    pub fn scale(&self, loss: &Tensor) -> Tensor {
        if self.enabled { loss * &self.scale.squeeze() } else { loss.shallow_clone() }
    }

    /// Divides gradients by the scale and looks for ones that are not finite.
    pub fn unscale(&self, gradients: &[Tensor]) -> Result<(), TorchError> {
        let _ = self.found_inf.shallow_clone().zero_();
        foreach::unscale(gradients, &self.found_inf, &self.scale.reciprocal())
    }

    /// After [`GradScaler::update`], in one copy from the device: whether the last gradients were finite, and the scale.
    pub fn verdict(&self) -> (bool, f64) {
        let host = Tensor::cat(&[&self.found_inf, &self.scale], 0).to_device(Device::Cpu);
        (host.double_value(&[0]) == 0.0, host.double_value(&[1]))
    }

    /// One float on the device: 1 if the last [`GradScaler::unscale`] met a gradient that is not finite.
    pub fn found_inf(&self) -> &Tensor {
        &self.found_inf
    }

    /// Grows or backs off after a step.
    pub fn update(&self) -> Result<(), TorchError> {
        if !self.enabled {
            return Ok(());
        }
        // SAFETY: three live tensors on one device.
        check(unsafe {
            ffi::yf_update_scale(
                handle(&self.scale),
                handle(&self.growth_tracker),
                handle(&self.found_inf),
                Self::GROWTH,
                Self::BACKOFF,
                Self::GROWTH_INTERVAL,
            )
        })
    }

    /// Its state, read back from the device.
    pub fn state(&self) -> ScalerState {
        ScalerState {
            scale: self.scale.double_value(&[0]),
            growth_tracker: self.growth_tracker.int64_value(&[0]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_step_halves_and_two_thousand_good_ones_double() {
        let scaler = GradScaler::new(Some(65_536.0), Device::Cpu);
        let bad = [Tensor::from_slice(&[1.0f32, f32::INFINITY])];
        scaler.unscale(&bad).unwrap();
        assert_eq!(scaler.found_inf().double_value(&[0]), 1.0);
        scaler.update().unwrap();
        assert_eq!(scaler.state(), ScalerState { scale: 32_768.0, growth_tracker: 0 });
        for _ in 0..2000 {
            let good = [Tensor::from_slice(&[32_768.0f32])];
            scaler.unscale(&good).unwrap();
            assert_eq!(good[0].double_value(&[0]), 1.0);
            scaler.update().unwrap();
        }
        assert_eq!(scaler.state(), ScalerState { scale: 65_536.0, growth_tracker: 0 });
    }

    #[test]
    fn autocast_computes_in_bf16_and_leaves_as_it_came() {
        let x = Tensor::ones([2, 2], (Kind::Float, Device::Cpu));
        {
            let _autocast = Autocast::enter(Device::Cpu, Some(Kind::BFloat16)).unwrap();
            assert_eq!(x.matmul(&x).kind(), Kind::BFloat16);
            let _off = Autocast::enter(Device::Cpu, None).unwrap();
            assert_eq!(x.matmul(&x).kind(), Kind::Float);
        }
        assert_eq!(x.matmul(&x).kind(), Kind::Float);
    }
}
