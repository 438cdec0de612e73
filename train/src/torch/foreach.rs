//! One kernel over many tensors: optimizers, averages, clipping.

use super::ffi::{self, TorchError, check, handle, handles};
use super::{Kind, Tensor};

/// `to += weight * (from - to)` for each pair; `weight` is one number on their device.
pub fn lerp(to: &[Tensor], from: &[Tensor], weight: &Tensor) -> Result<(), TorchError> {
    let (a, b) = (handles(to), handles(from));
    // SAFETY: both lists hold live tensors of the same number.
    check(unsafe { ffi::yf_lerp(a.as_ptr(), b.as_ptr(), a.len().min(b.len()), handle(weight)) })
}

/// Fills each with zeros.
pub fn zero(tensors: &[Tensor]) -> Result<(), TorchError> {
    let list = handles(tensors);
    // SAFETY: live tensors.
    check(unsafe { ffi::yf_zero(list.as_ptr(), list.len()) })
}

/// Adds a scalar tensor to each.
pub fn add_to_each(tensors: &[Tensor], value: &Tensor) -> Result<(), TorchError> {
    let list = handles(tensors);
    // SAFETY: live tensors.
    check(unsafe { ffi::yf_add_to_each(list.as_ptr(), list.len(), handle(value)) })
}

/// Multiplies gradients by `inverse_scale` and sets `found_inf` (one float) to 1 where one is not finite.
pub fn unscale(gradients: &[Tensor], found_inf: &Tensor, inverse_scale: &Tensor) -> Result<(), TorchError> {
    let list = handles(gradients);
    // SAFETY: live tensors on one device.
    check(unsafe { ffi::yf_unscale(list.as_ptr(), list.len(), handle(found_inf), handle(inverse_scale)) })
}

/// Scales gradients down to a total 2-norm of `max_norm`; returns the norm before, a scalar on the device.
pub fn clip_gradients(gradients: &[Tensor], max_norm: f64) -> Result<Tensor, TorchError> {
    let (list, mut total) = (handles(gradients), std::ptr::null_mut());
    // SAFETY: live tensors; `total` receives a new tensor.
    check(unsafe { ffi::yf_clip_gradients(list.as_ptr(), list.len(), max_norm, &mut total) })?;
    Ok(ffi::own(total))
}

/// Stochastic gradient descent with Nesterov momentum; nothing changes where `found_inf` is 1. Learning rate and
/// momentum are one number each on the device.
pub fn sgd(
    params: &[Tensor],
    gradients: &[Tensor],
    buffers: &[Tensor],
    (lr, momentum, decay): (&Tensor, &Tensor, f64),
    found_inf: &Tensor,
) -> Result<(), TorchError> {
    let (p, g, b) = (handles(params), handles(gradients), handles(buffers));
    assert!(p.len() == g.len() && p.len() == b.len());
    // SAFETY: three lists of live tensors of the same number.
    check(unsafe {
        ffi::yf_fused_sgd(
            p.as_ptr(),
            g.as_ptr(),
            b.as_ptr(),
            p.len(),
            handle(lr),
            handle(momentum),
            decay,
            handle(found_inf),
        )
    })
}

/// AdamW; `steps` are one float a parameter, already advanced. Nothing changes where `found_inf` is 1. The learning
/// rate is one number on the device.
pub fn adamw(
    params: &[Tensor],
    gradients: &[Tensor],
    (m, v, steps): (&[Tensor], &[Tensor], &[Tensor]),
    (lr, beta1, beta2, decay): (&Tensor, f64, f64, f64),
    found_inf: &Tensor,
) -> Result<(), TorchError> {
    const EPS: f64 = 1e-8;
    let (p, g) = (handles(params), handles(gradients));
    let (m, v, s) = (handles(m), handles(v), handles(steps));
    assert!(p.len() == g.len() && p.len() == m.len() && p.len() == v.len() && p.len() == s.len());
    debug_assert!(steps.iter().all(|t| t.kind() == Kind::Float));
    // SAFETY: five lists of live tensors of the same number.
    check(unsafe {
        ffi::yf_fused_adamw(
            p.as_ptr(),
            g.as_ptr(),
            m.as_ptr(),
            v.as_ptr(),
            s.as_ptr(),
            p.len(),
            handle(lr),
            beta1,
            beta2,
            decay,
            EPS,
            handle(found_inf),
        )
    })
}
