//! What NVIDIA's driver says is wrong.

/// Everything this crate reports.
#[derive(Debug, thiserror::Error)]
pub enum CudaError {
    /// There is no CUDA device, or it cannot be used.
    #[error("no CUDA device: {0}")]
    NoDevice(String),
    /// A call failed.
    #[error("CUDA: {call}: {why}")]
    Call {
        /// The function.
        call: &'static str,
        /// What the driver says.
        why: String,
    },
}
