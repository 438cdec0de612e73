//! Mixed precision (arXiv 1710.03740): autocast around the forward pass, a dynamic loss scale for fp16.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use super::ffi::{self, TorchError, check, handle};
use super::{Device, Kind, Readback, Tensor, foreach, no_grad};

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
    /// Steps skipped so far because a gradient was not finite.
    #[serde(default)]
    pub skipped: u64,
}

impl ScalerState {
    /// From the three numbers of [`GradScaler::read_back`].
    pub fn of(values: &[f64]) -> Self {
        let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
        ScalerState { scale: at(0), growth_tracker: at(1) as i64, skipped: at(2) as u64 }
    }
}

/// A dynamic loss scale as PyTorch's: doubled after 2,000 good steps, halved by a bad one. Without a scale (fp32,
/// bf16) it only watches for gradients that are not finite.
pub struct GradScaler {
    enabled: bool,
    scale: Tensor,
    growth_tracker: Tensor,
    found_inf: Tensor,
    skipped: Tensor,
}

impl GradScaler {
    const GROWTH: f64 = 2.0;
    const BACKOFF: f64 = 0.5;
    const GROWTH_INTERVAL: i64 = 2000;

    /// A scaler with an initial scale, or `None` to scale by 1 for good.
    pub fn new(initial: Option<f64>, device: Device) -> Self {
        Self::resume(
            initial.is_some(),
            ScalerState { scale: initial.unwrap_or(1.0), growth_tracker: 0, skipped: 0 },
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
            skipped: Tensor::full([1], state.skipped as f64, (Kind::Double, device)),
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

    /// One float on the device: 1 if the last [`GradScaler::unscale`] met a gradient that is not finite.
    pub fn found_inf(&self) -> &Tensor {
        &self.found_inf
    }

    /// Grows or backs off after a step, and counts it where it was skipped.
    pub fn update(&self) -> Result<(), TorchError> {
        let _ = no_grad(|| self.skipped.shallow_clone().f_add_(&self.found_inf))?;
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

    /// Its state, read back from the device in one copy.
    pub fn state(&self) -> Result<ScalerState, TorchError> {
        Ok(ScalerState::of(&self.read_back()?.values()?))
    }

    /// Its state on its way to the host, for [`ScalerState::of`].
    pub fn read_back(&self) -> Result<Readback, TorchError> {
        let all = no_grad(|| {
            let parts = [&self.scale, &self.growth_tracker, &self.skipped].map(|t| t.to_kind(Kind::Double));
            Tensor::f_cat(&parts, 0)
        })?;
        Readback::of(&all)
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
        assert_eq!(scaler.state().unwrap(), ScalerState { scale: 32_768.0, growth_tracker: 0, skipped: 1 });
        for _ in 0..2000 {
            let good = [Tensor::from_slice(&[32_768.0f32])];
            scaler.unscale(&good).unwrap();
            assert_eq!(good[0].double_value(&[0]), 1.0);
            scaler.update().unwrap();
        }
        assert_eq!(scaler.state().unwrap(), ScalerState { scale: 65_536.0, growth_tracker: 0, skipped: 1 });
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
