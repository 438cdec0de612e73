//! The C interface of `shim.cpp`, and the turning of its messages into errors.

use std::ffi::{CStr, c_char, c_int, c_void};

use tch::Tensor;

/// An `at::Tensor*`.
pub type Handle = *mut c_void;

unsafe extern "C" {
    fn yf_free(message: *mut c_char);
    pub fn yf_load_cuda(object: *const u8, size: usize) -> *mut c_char;
    pub fn yf_own_stream(device: c_int) -> *mut c_char;
    pub fn yf_graph_new(graph: *mut *mut c_void) -> *mut c_char;
    pub fn yf_graph_begin(graph: *mut c_void, shares_pool_with: *mut c_void) -> *mut c_char;
    pub fn yf_graph_end(graph: *mut c_void) -> *mut c_char;
    pub fn yf_graph_replay(graph: *mut c_void) -> *mut c_char;
    pub fn yf_graph_free(graph: *mut c_void);
    pub fn yf_read_back(tensor: Handle, host: *mut Handle, event: *mut *mut c_void) -> *mut c_char;
    pub fn yf_event_ready(event: *mut c_void, ready: *mut c_int) -> *mut c_char;
    pub fn yf_event_wait(event: *mut c_void) -> *mut c_char;
    pub fn yf_event_free(event: *mut c_void);
    pub fn yf_autocast_enter(
        is_cuda: c_int,
        enabled: c_int,
        kind: c_int,
        was_enabled: *mut c_int,
        was_kind: *mut c_int,
    ) -> *mut c_char;
    pub fn yf_autocast_exit(is_cuda: c_int, was_enabled: c_int, was_kind: c_int) -> *mut c_char;
    pub fn yf_unscale(
        gradients: *const Handle,
        n: usize,
        found_inf: Handle,
        inverse_scale: Handle,
    ) -> *mut c_char;
    pub fn yf_update_scale(
        scale: Handle,
        growth_tracker: Handle,
        found_inf: Handle,
        growth: f64,
        backoff: f64,
        interval: i64,
    ) -> *mut c_char;
    pub fn yf_clip_gradients(
        gradients: *const Handle,
        n: usize,
        max_norm: f64,
        total: *mut Handle,
    ) -> *mut c_char;
    pub fn yf_fused_sgd(
        params: *const Handle,
        gradients: *const Handle,
        buffers: *const Handle,
        n: usize,
        lr: Handle,
        momentum: Handle,
        decay: f64,
        found_inf: Handle,
    ) -> *mut c_char;
    pub fn yf_fused_adamw(
        params: *const Handle,
        gradients: *const Handle,
        m: *const Handle,
        v: *const Handle,
        steps: *const Handle,
        n: usize,
        lr: Handle,
        beta1: f64,
        beta2: f64,
        decay: f64,
        eps: f64,
        found_inf: Handle,
    ) -> *mut c_char;
    pub fn yf_lerp(to: *const Handle, from: *const Handle, n: usize, weight: Handle) -> *mut c_char;
    pub fn yf_zero(tensors: *const Handle, n: usize) -> *mut c_char;
    pub fn yf_add_to_each(tensors: *const Handle, n: usize, value: Handle) -> *mut c_char;
    pub fn yf_channels_last(param: Handle) -> *mut c_char;
    pub fn yf_to_channels_last(tensor: Handle, out: *mut Handle) -> *mut c_char;
    pub fn yf_to_device(host: Handle, device: c_int, out: *mut Handle) -> *mut c_char;
    pub fn yf_flags(tf32: c_int, benchmark: c_int, deterministic: c_int) -> *mut c_char;
    pub fn yf_peak_memory(device: c_int, bytes: *mut i64) -> *mut c_char;
    pub fn yf_memory(device: c_int, free: *mut i64, total: *mut i64) -> *mut c_char;
    pub fn yf_reset_peak_memory(device: c_int) -> *mut c_char;
    pub fn yf_empty_cache() -> *mut c_char;
    pub fn yf_synchronize(device: c_int) -> *mut c_char;
}

/// What libtorch reports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("libtorch: {0}")]
pub struct TorchError(pub String);

impl From<tch::TchError> for TorchError {
    fn from(error: tch::TchError) -> Self {
        // Only the first line is for people; the C++ stack trace follows.
        TorchError(error.to_string().lines().next().unwrap_or_default().to_owned())
    }
}

/// Takes a call's message over.
pub fn check(message: *mut c_char) -> Result<(), TorchError> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: the shim returns null or a NUL-terminated string from strdup, freed once here.
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        yf_free(message);
        text
    };
    Err(TorchError(text.lines().next().unwrap_or_default().to_owned()))
}

/// Frees what the shim took from malloc.
///
/// # Safety
/// `memory` comes from the shim and is freed once.
pub unsafe fn free(memory: *mut c_void) {
    // SAFETY: as the caller promises.
    unsafe { yf_free(memory.cast()) }
}

pub fn handle(tensor: &Tensor) -> Handle {
    tensor.as_ptr().cast_mut().cast()
}

pub fn handles(tensors: &[Tensor]) -> Vec<Handle> {
    tensors.iter().map(handle).collect()
}

/// Takes over a tensor that the shim made with `new`.
pub fn own(handle: Handle) -> Tensor {
    // SAFETY: the handle is a fresh at::Tensor* that nobody else frees.
    unsafe { Tensor::from_ptr(handle.cast()) }
}
