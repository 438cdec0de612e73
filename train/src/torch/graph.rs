//! CUDA graphs: work that is recorded once and then started as one.

use std::ffi::c_void;

use super::ffi::{self, TorchError, check};

/// Recorded work of this thread's stream. It reads and writes the tensors it was recorded with, where they lay.
pub struct CudaGraph(*mut c_void);

impl CudaGraph {
    /// Records `work`, which is not run, and what it returns: tensors in memory that belongs to the graph. Graphs that
    /// share a pool must be replayed one after the other, and what one has left there the next may overwrite.
    ///
    /// # Errors
    /// What cannot be recorded, e.g. a wait for the device; then nothing is left recording.
    pub fn record<T>(
        shares_pool_with: Option<&CudaGraph>,
        work: impl FnOnce() -> Result<T, TorchError>,
    ) -> Result<(Self, T), TorchError> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: `handle` is live.
        check(unsafe { ffi::yf_graph_new(&mut handle) })?;
        let graph = CudaGraph(handle);
        let pool = shares_pool_with.map_or(std::ptr::null_mut(), |other| other.0);
        // SAFETY: live graphs.
        check(unsafe { ffi::yf_graph_begin(graph.0, pool) })?;
        let done = work();
        // SAFETY: a live graph that is recording.
        let ended = check(unsafe { ffi::yf_graph_end(graph.0) });
        let value = done?;
        ended?;
        Ok((graph, value))
    }

    /// Starts the recorded work and does not wait for it.
    ///
    /// # Errors
    /// What CUDA reports.
    pub fn replay(&self) -> Result<(), TorchError> {
        // SAFETY: a live graph that is recorded.
        check(unsafe { ffi::yf_graph_replay(self.0) })
    }
}

impl Drop for CudaGraph {
    fn drop(&mut self) {
        // SAFETY: made by `yf_graph_new`, freed once.
        unsafe { ffi::yf_graph_free(self.0) };
    }
}
