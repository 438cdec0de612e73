//! The order of work on a device: a stream, points of time on it, and launches recorded from it.

use std::ops::Range;
use std::ptr;
use std::sync::Arc;

use super::driver::Handle;
use super::{Gpu, HostMemory};
use crate::error::CudaError;

/// `CU_STREAM_NON_BLOCKING`: nothing waits for the default stream.
const NON_BLOCKING: u32 = 1;
/// `CU_STREAM_CAPTURE_MODE_THREAD_LOCAL`: other threads may do what they like meanwhile.
const THREAD_LOCAL: i32 = 1;

/// Work of one after the other.
pub struct Stream {
    gpu: Arc<Gpu>,
    handle: Handle,
}

// SAFETY: the driver's functions lock.
unsafe impl Send for Stream {}

impl Stream {
    /// A stream that waits for no other, nor is waited for.
    ///
    /// # Errors
    /// What the driver reports.
    pub fn new(gpu: &Arc<Gpu>) -> Result<Self, CudaError> {
        let mut handle = ptr::null_mut();
        gpu.make_current()?;
        // SAFETY: the driver writes a handle.
        let made = unsafe { (gpu.driver.stream_create)(&mut handle, NON_BLOCKING) };
        gpu.driver.check("cuStreamCreate", made)?;
        Ok(Self { gpu: Arc::clone(gpu), handle })
    }

    /// Its handle, for those who call NVIDIA's libraries.
    pub fn raw(&self) -> Handle {
        self.handle
    }

    /// Waits for everything begun.
    ///
    /// # Errors
    /// What the driver reports.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        let driver = self.gpu.driver;
        // SAFETY: the stream is there.
        driver.check("cuStreamSynchronize", unsafe { (driver.stream_synchronize)(self.handle) })
    }

    /// Begins to copy these bytes to the same place behind an address of the device.
    ///
    /// # Safety
    /// The device has that place, and the bytes on both sides stay as they are until the stream is waited for. The GPU is
    /// this thread's.
    ///
    /// # Errors
    /// What the driver reports.
    pub unsafe fn upload(&self, from: &HostMemory, to: u64, bytes: Range<usize>) -> Result<(), CudaError> {
        let (driver, source) = (self.gpu.driver, from.bytes()[bytes.clone()].as_ptr().cast());
        // SAFETY: as the caller promises.
        let begun = unsafe { (driver.upload)(to + bytes.start as u64, source, bytes.len(), self.handle) };
        driver.check("cuMemcpyHtoDAsync", begun)
    }

    /// Begins to copy the first bytes from an address of the device to the host.
    ///
    /// # Safety
    /// Both hold as many bytes, and nobody looks at the host's until the stream is waited for. The GPU is this thread's.
    ///
    /// # Errors
    /// What the driver reports.
    pub unsafe fn download(&self, from: u64, to: &mut HostMemory, bytes: usize) -> Result<(), CudaError> {
        let (driver, target) = (self.gpu.driver, to.bytes_mut().as_mut_ptr().cast());
        // SAFETY: as the caller promises.
        let begun = unsafe { (driver.download)(target, from, bytes, self.handle) };
        driver.check("cuMemcpyDtoHAsync", begun)
    }

    /// Records what `work` begins on this stream, instead of doing it.
    ///
    /// # Errors
    /// What the driver reports.
    pub fn record<E: From<CudaError>>(&self, work: impl FnOnce() -> Result<(), E>) -> Result<Graph, E> {
        let driver = self.gpu.driver;
        // SAFETY: the stream is there.
        driver.check("cuStreamBeginCapture", unsafe { (driver.capture_begin)(self.handle, THREAD_LOCAL) })?;
        let worked = work();
        let (mut graph, mut exec) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: ends what was begun above, also where the work failed; the driver writes a handle, or none.
        let ended = unsafe { (driver.capture_end)(self.handle, &mut graph) };
        let made = worked.and_then(|()| {
            driver.check("cuStreamEndCapture", ended)?;
            // SAFETY: the graph was just recorded.
            let made = unsafe { (driver.graph_instantiate)(&mut exec, graph, 0) };
            Ok(driver.check("cuGraphInstantiate", made)?)
        });
        if !graph.is_null() {
            // SAFETY: what was made of it is independent of it.
            unsafe { (driver.graph_destroy)(graph) };
        }
        made.map(|()| Graph { gpu: Arc::clone(&self.gpu), handle: exec })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.gpu.make_current();
        // SAFETY: made in `new`.
        unsafe { (self.gpu.driver.stream_destroy)(self.handle) };
    }
}

/// Recorded launches.
pub struct Graph {
    gpu: Arc<Gpu>,
    handle: Handle,
}

// SAFETY: used by one thread at a time.
unsafe impl Send for Graph {}

impl Graph {
    /// Begins all of them.
    ///
    /// # Safety
    /// The memory that they were recorded with is still there.
    ///
    /// # Errors
    /// What the driver reports.
    pub unsafe fn launch(&self, stream: &Stream) -> Result<(), CudaError> {
        let driver = self.gpu.driver;
        // SAFETY: as the caller promises.
        driver.check("cuGraphLaunch", unsafe { (driver.graph_launch)(self.handle, stream.handle) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let _ = self.gpu.make_current();
        // SAFETY: made in `Stream::record`.
        unsafe { (self.gpu.driver.graph_exec_destroy)(self.handle) };
    }
}

/// A point of time on a stream.
pub struct Event {
    gpu: Arc<Gpu>,
    handle: Handle,
}

// SAFETY: the driver's functions lock.
unsafe impl Send for Event {}

impl Event {
    /// A point that is not marked yet.
    ///
    /// # Errors
    /// What the driver reports.
    pub fn new(gpu: &Arc<Gpu>) -> Result<Self, CudaError> {
        let mut handle = ptr::null_mut();
        gpu.make_current()?;
        // SAFETY: the driver writes a handle.
        gpu.driver.check("cuEventCreate", unsafe { (gpu.driver.event_create)(&mut handle, 0) })?;
        Ok(Self { gpu: Arc::clone(gpu), handle })
    }

    /// Now, in the order of the stream.
    ///
    /// # Errors
    /// What the driver reports.
    pub fn record(&self, stream: &Stream) -> Result<(), CudaError> {
        let driver = self.gpu.driver;
        // SAFETY: both are there.
        driver.check("cuEventRecord", unsafe { (driver.event_record)(self.handle, stream.handle) })
    }

    /// Milliseconds since another; the stream has been waited for.
    ///
    /// # Errors
    /// What the driver reports.
    pub fn since(&self, earlier: &Event) -> Result<f64, CudaError> {
        let (driver, mut ms) = (self.gpu.driver, 0.0_f32);
        // SAFETY: the driver writes one number.
        let read = unsafe { (driver.event_elapsed)(&mut ms, earlier.handle, self.handle) };
        driver.check("cuEventElapsedTime", read).map(|()| f64::from(ms))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        let _ = self.gpu.make_current();
        // SAFETY: made in `new`.
        unsafe { (self.gpu.driver.event_destroy)(self.handle) };
    }
}
