//! Devices, flags, memory.

use super::ffi::{self, TorchError, check, handle};
use super::{Device, Tensor};

/// `cuda.cpp` as a shared object.
const CUDA_HALF: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libyf_cuda.so"));

/// Opens a device; this thread then computes on a stream of its own there. `None` takes a GPU where there is one. A GPU is looked for only in a libtorch that has its
/// CUDA half, which is loaded here, before anything asks torch about CUDA: it keeps its first answer.
///
/// # Errors
/// When a GPU is asked for and there is none, or libtorch has no CUDA half.
pub fn open_device(wanted: Option<&yf_plan::Device>) -> Result<Device, TorchError> {
    let index = match wanted {
        Some(yf_plan::Device::Cpu) => return Ok(Device::Cpu),
        Some(yf_plan::Device::Cuda(indices)) => indices.first().copied().unwrap_or(0),
        None => 0,
    };
    let loaded = gpus();
    let count = loaded.as_ref().map_or(0, |&count| count);
    match (wanted, loaded) {
        (_, Ok(_)) if index < count => {
            // SAFETY: a plain number.
            check(unsafe { ffi::yf_own_stream(index as i32) })?;
            // The first allocation there opens it; before, it can tell nothing of its memory.
            let _ = Tensor::f_zeros([1], (tch::Kind::Float, Device::Cuda(index)))?;
            Ok(Device::Cuda(index))
        }
        (None, _) => Ok(Device::Cpu),
        (Some(_), Err(e)) => Err(TorchError(format!(
            "this libtorch has no CUDA ({}); run `make cuda`, or use --device cpu",
            e.0
        ))),
        (Some(_), Ok(_)) => {
            Err(TorchError(format!("there is no GPU {index} ({count} found); use --device cpu")))
        }
    }
}

/// GPUs that libtorch can use. Loads its CUDA half, before anything asks torch about CUDA: it keeps its first answer.
///
/// # Errors
/// When libtorch has no CUDA half.
pub fn gpus() -> Result<usize, TorchError> {
    // SAFETY: the object lives as long as the program.
    check(unsafe { ffi::yf_load_cuda(CUDA_HALF.as_ptr(), CUDA_HALF.len()) })?;
    Ok(usize::try_from(tch::Cuda::device_count()).unwrap_or(0))
}

/// With or without TF32 in matrix products and convolutions of fp32; the reference computes with it. cuDNN's search for the fastest
/// kernel stays off: it costs some twenty seconds a run, and `yf bench train` finds no gain in it under fp16.
pub fn set_flags(tf32: bool) -> Result<(), TorchError> {
    // SAFETY: plain numbers.
    check(unsafe { ffi::yf_flags(i32::from(tf32), 0, 0) })
}

/// Threads of libtorch on the host. Beside a GPU more than a few only stand in the way of those that decode.
pub fn limit_threads(device: Device) {
    if device.is_cuda() {
        tch::set_num_threads(2);
    }
}

/// Seeds libtorch's own generator, which only the initial weights draw from.
pub fn seed(seed: u64) {
    tch::manual_seed(seed as i64);
}

/// A host tensor on `device`. A GPU is sent it through pinned memory, and nobody waits.
pub fn upload(host: &Tensor, device: Device) -> Result<Tensor, TorchError> {
    let Device::Cuda(index) = device else {
        return Ok(host.shallow_clone());
    };
    let mut out = std::ptr::null_mut();
    // SAFETY: a live tensor; `out` receives a new one.
    check(unsafe { ffi::yf_to_device(handle(host), index as i32, &mut out) })?;
    Ok(ffi::own(out))
}

/// The tensor with its channels innermost in memory, as tensor cores want it; a CPU too gains a tenth by it.
pub fn channels_last(tensor: &Tensor) -> Result<Tensor, TorchError> {
    let mut out = std::ptr::null_mut();
    // SAFETY: a live tensor; `out` receives a new one.
    check(unsafe { ffi::yf_to_channels_last(handle(tensor), &mut out) })?;
    Ok(ffi::own(out))
}

/// Re-lays a four-dimensional parameter in place with its channels innermost.
pub fn lay_channels_last(param: &Tensor) -> Result<(), TorchError> {
    // SAFETY: a live tensor.
    check(unsafe { ffi::yf_channels_last(handle(param)) })
}

/// Largest memory in use so far, bytes: of the GPU's allocator, or of the process on a CPU.
pub fn peak_memory(device: Device) -> u64 {
    if let Device::Cuda(index) = device {
        let mut bytes = 0;
        // SAFETY: `bytes` is live.
        return check(unsafe { ffi::yf_peak_memory(index as i32, &mut bytes) }).map_or(0, |()| bytes as u64);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kb| kb * 1024)
}

/// Gives the GPU memory back that nothing uses.
pub fn empty_cache() -> Result<(), TorchError> {
    // SAFETY: a call without arguments.
    check(unsafe { ffi::yf_empty_cache() })
}

/// Bytes of a GPU's memory that nobody has taken, and bytes in all.
pub fn memory(index: usize) -> Result<(u64, u64), TorchError> {
    let (mut free, mut total) = (0, 0);
    // SAFETY: both are live.
    check(unsafe { ffi::yf_memory(index as i32, &mut free, &mut total) })?;
    Ok((free as u64, total as u64))
}

/// [`peak_memory`] counts anew from what is in use now.
pub fn reset_peak_memory(index: usize) -> Result<(), TorchError> {
    // SAFETY: a plain number.
    check(unsafe { ffi::yf_reset_peak_memory(index as i32) })
}

/// Waits until the device has done all it was given.
pub fn synchronize(device: Device) -> Result<(), TorchError> {
    match device {
        // SAFETY: a plain number.
        Device::Cuda(index) => check(unsafe { ffi::yf_synchronize(index as i32) }),
        _ => Ok(()),
    }
}
