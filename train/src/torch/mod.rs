//! libtorch behind one door: the only module that names `tch`, and the C++ (`shim.cpp`) for what tch lacks.

mod amp;
mod executor;
mod ffi;
mod foreach;
mod graph;
mod group;
mod kernel;
mod parameters;
mod readback;
mod runtime;
mod transfer;

pub use amp::{Autocast, GradScaler, ScalerState};
pub use executor::{Executor, Mode};
pub use ffi::TorchError;
pub use foreach::{adamw, add_to_each, clip_gradients, lerp, sgd, unscale, zero};
pub use graph::CudaGraph;
pub use group::{Group, Meeting, Reducer, Store, sync_batch_norm};
pub use kernel::Kernel;
#[cfg(test)]
pub use kernel::compile;
pub use parameters::{Parameters, to_array, to_tensor};
pub use readback::Readback;
pub use runtime::{
    channels_last, empty_cache, gpus, limit_threads, memory, open_device, peak_memory, reset_peak_memory,
    seed, set_flags, synchronize, upload,
};
pub use tch::{Device, IndexOp, Kind, Reduction, Tensor, no_grad};
pub use transfer::{Event, HostWords, Stream, free_memory, with_words};
