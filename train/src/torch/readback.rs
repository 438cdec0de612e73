//! Numbers on their way from the device: nobody waits for them until they are looked at.

use std::ffi::c_void;

use super::ffi::{self, TorchError, check, handle};
use super::{Kind, Tensor};

/// A small tensor that is being copied to the host.
pub struct Readback {
    host: Tensor,
    arrived: Option<Event>,
}

struct Event(*mut c_void);

impl Readback {
    /// Starts the copy of what `tensor` holds once the device gets there.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn of(tensor: &Tensor) -> Result<Self, TorchError> {
        if !tensor.device().is_cuda() {
            return Ok(Readback { host: tensor.detach().copy(), arrived: None });
        }
        let (mut host, mut event) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: a live tensor; both out-parameters are live.
        check(unsafe { ffi::yf_read_back(handle(tensor), &mut host, &mut event) })?;
        Ok(Readback { host: ffi::own(host), arrived: Some(Event(event)) })
    }

    /// Whether [`Readback::values`] would not wait.
    ///
    /// # Errors
    /// What the device reports.
    pub fn is_ready(&self) -> Result<bool, TorchError> {
        let mut ready = 1;
        if let Some(event) = &self.arrived {
            // SAFETY: a live event.
            check(unsafe { ffi::yf_event_ready(event.0, &mut ready) })?;
        }
        Ok(ready != 0)
    }

    /// The numbers, row by row; waits for them.
    ///
    /// # Errors
    /// What the device reports.
    pub fn values(&self) -> Result<Vec<f64>, TorchError> {
        if let Some(event) = &self.arrived {
            // SAFETY: a live event.
            check(unsafe { ffi::yf_event_wait(event.0) })?;
        }
        Ok(Vec::<f64>::try_from(self.host.f_to_kind(Kind::Double)?.f_flatten(0, -1)?)?)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made by `yf_read_back`, freed once.
        unsafe { ffi::yf_event_free(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_read_whatever_comes_after() {
        let tensor = Tensor::from_slice(&[1.5f32, -2.0]);
        let back = Readback::of(&tensor).unwrap();
        let _ = tensor.shallow_clone().zero_();
        assert!(back.is_ready().unwrap());
        assert_eq!(back.values().unwrap(), [1.5, -2.0]);
    }
}
