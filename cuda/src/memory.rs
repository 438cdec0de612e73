//! Memory of the device, and memory of the host that the device reads without a detour.

use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::Gpu;
use crate::error::CudaError;

/// Bytes on a device; not initialised.
pub struct DeviceMemory {
    gpu: Arc<Gpu>,
    address: u64,
}

impl DeviceMemory {
    /// So many bytes, at least one.
    ///
    /// # Errors
    /// What the driver reports.
    pub fn new(gpu: &Arc<Gpu>, bytes: usize) -> Result<Self, CudaError> {
        let mut address = 0;
        gpu.make_current()?;
        // SAFETY: the driver writes an address.
        gpu.driver.check("cuMemAlloc", unsafe { (gpu.driver.alloc)(&mut address, bytes.max(1)) })?;
        Ok(Self { gpu: Arc::clone(gpu), address })
    }

    /// Where they begin.
    pub fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        let _ = self.gpu.make_current();
        // SAFETY: allocated in `new`; whoever used it has waited for the device.
        unsafe { (self.gpu.driver.free)(self.address) };
    }
}

/// Page-locked bytes of the host, zero at first.
pub struct HostMemory {
    gpu: Arc<Gpu>,
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: plain memory, owned.
unsafe impl Send for HostMemory {}

impl HostMemory {
    /// So many bytes, at least one.
    ///
    /// # Errors
    /// What the driver reports.
    pub fn new(gpu: &Arc<Gpu>, bytes: usize) -> Result<Self, CudaError> {
        let (mut start, len) = (ptr::null_mut(), bytes.max(1));
        gpu.make_current()?;
        // SAFETY: the driver writes an address.
        gpu.driver.check("cuMemHostAlloc", unsafe { (gpu.driver.alloc_host)(&mut start, len, 0) })?;
        let start = NonNull::new(start.cast::<u8>())
            .ok_or(CudaError::Call { call: "cuMemHostAlloc", why: "it gave no memory".to_owned() })?;
        // SAFETY: `len` bytes from `start` are ours.
        unsafe { ptr::write_bytes(start.as_ptr(), 0, len) };
        Ok(Self { gpu: Arc::clone(gpu), start, len })
    }

    /// All of them.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: as many bytes, initialised in `new`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// All of them, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        let _ = self.gpu.make_current();
        // SAFETY: allocated in `new`; whoever used it has waited for the device.
        unsafe { (self.gpu.driver.free_host)(self.start.as_ptr().cast()) };
    }
}
