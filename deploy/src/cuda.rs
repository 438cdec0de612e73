//! The CUDA driver, for what a runtime leaves to its caller: page-locked memory, and copies to and from a GPU.
//!
//! The driver's library is on every machine that has an NVIDIA GPU, under one name for all versions; it is opened when it
//! is needed, so that a machine without it misses nothing.

use std::ffi::{c_int, c_uint, c_void};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use libloading::Library;

/// File of the driver's library.
const LIBRARY: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };

type Status = c_int;
type Context = *mut c_void;
type Stream = *mut c_void;

/// The functions that are used, under the driver's names without their prefix.
struct Functions {
    init: unsafe extern "C" fn(c_uint) -> Status,
    device_get: unsafe extern "C" fn(*mut c_int, c_int) -> Status,
    primary_retain: unsafe extern "C" fn(*mut Context, c_int) -> Status,
    primary_release: unsafe extern "C" fn(c_int) -> Status,
    set_current: unsafe extern "C" fn(Context) -> Status,
    host_alloc: unsafe extern "C" fn(*mut *mut c_void, usize, c_uint) -> Status,
    host_free: unsafe extern "C" fn(*mut c_void) -> Status,
    to_device: unsafe extern "C" fn(u64, *const c_void, usize, Stream) -> Status,
    to_host: unsafe extern "C" fn(*mut c_void, u64, usize, Stream) -> Status,
    synchronize: unsafe extern "C" fn(Stream) -> Status,
}

/// A GPU, in the context that every runtime of this process shares (the primary one).
pub struct Gpu {
    call: Functions,
    device: c_int,
    context: Context,
    _library: Library,
}

// SAFETY: the driver may be called from any thread, each of which is given the context first.
unsafe impl Send for Gpu {}
// SAFETY: as above; nothing here changes after it is made.
unsafe impl Sync for Gpu {}

/// What the driver says is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaError(String);

impl fmt::Display for CudaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CudaError {}

fn check(what: &str, status: Status) -> Result<(), CudaError> {
    let meaning = match status {
        0 => return Ok(()),
        2 => " (out of memory)",
        100 => " (there is no GPU)",
        101 => " (there is no GPU of that number)",
        803 => " (the driver and its library are of different versions)",
        _ => "",
    };
    Err(CudaError(format!("the CUDA driver refused to {what}: error {status}{meaning}")))
}

impl Gpu {
    /// The GPU of this number, from 0.
    ///
    /// # Errors
    /// Without a driver or a GPU.
    pub fn open(number: usize) -> Result<Arc<Self>, CudaError> {
        // SAFETY: the driver's library has no initialisers that could do harm.
        let library = unsafe { Library::new(LIBRARY) }
            .map_err(|e| CudaError(format!("no CUDA driver is installed ({LIBRARY}: {e})")))?;
        let call = Functions::of(&library)?;
        let (mut device, mut context) = (0, std::ptr::null_mut());
        // SAFETY: pointers to live variables.
        unsafe {
            check("start", (call.init)(0))?;
            let number = c_int::try_from(number).unwrap_or(c_int::MAX);
            check("open the GPU", (call.device_get)(&mut device, number))?;
            check("make a context", (call.primary_retain)(&mut context, device))?;
        }
        Ok(Arc::new(Gpu { call, device, context, _library: library }))
    }

    /// Page-locked memory of the host, all zeros.
    ///
    /// # Errors
    /// When there is not so much.
    pub fn host(self: &Arc<Self>, bytes: usize) -> Result<HostMemory, CudaError> {
        self.enter()?;
        let mut start = std::ptr::null_mut();
        // SAFETY: a pointer to a live variable; memory of at least one byte.
        check("lock memory", unsafe { (self.call.host_alloc)(&mut start, bytes.max(1), 0) })?;
        let start = NonNull::new(start.cast::<u8>()).ok_or_else(|| CudaError("no memory".to_owned()))?;
        // SAFETY: the driver has given these bytes.
        unsafe { start.as_ptr().write_bytes(0, bytes) };
        Ok(HostMemory { start, bytes, gpu: Arc::clone(self) })
    }

    /// Begins to copy to the device: quickest from [`HostMemory`], which may only be changed after [`wait`](Self::wait).
    ///
    /// # Safety
    /// `to` is the address of as many bytes on this GPU, which nothing uses meanwhile, and `from` lives until then.
    ///
    /// # Errors
    /// What the driver reports.
    pub unsafe fn upload(&self, from: &[u8], to: u64) -> Result<(), CudaError> {
        self.enter()?;
        // SAFETY: promised by the caller.
        let status =
            unsafe { (self.call.to_device)(to, from.as_ptr().cast(), from.len(), std::ptr::null_mut()) };
        check("copy to the GPU", status)
    }

    /// Copies from the device, and waits until it is there.
    ///
    /// # Safety
    /// `from` is the address of as many bytes on this GPU that are written.
    ///
    /// # Errors
    /// What the driver reports.
    pub unsafe fn download(&self, from: u64, to: &mut [u8]) -> Result<(), CudaError> {
        self.enter()?;
        // SAFETY: promised by the caller.
        let status =
            unsafe { (self.call.to_host)(to.as_mut_ptr().cast(), from, to.len(), std::ptr::null_mut()) };
        check("copy from the GPU", status)?;
        self.wait()
    }

    /// Waits for the copies.
    ///
    /// # Errors
    /// What went wrong on the GPU until now.
    pub fn wait(&self) -> Result<(), CudaError> {
        // SAFETY: the default stream always is there.
        check("copy", unsafe { (self.call.synchronize)(std::ptr::null_mut()) })
    }

    fn enter(&self) -> Result<(), CudaError> {
        // SAFETY: the context lives as long as this.
        check("enter its context", unsafe { (self.call.set_current)(self.context) })
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // SAFETY: retained once, released once.
        unsafe { (self.call.primary_release)(self.device) };
    }
}

impl Functions {
    fn of(library: &Library) -> Result<Self, CudaError> {
        /// The function of that name.
        ///
        /// # Safety
        /// It has this type.
        unsafe fn named<T: Copy>(library: &Library, name: &str) -> Result<T, CudaError> {
            // SAFETY: promised by the caller.
            let symbol = unsafe { library.get::<T>(name.as_bytes()) };
            symbol.map(|f| *f).map_err(|_| CudaError(format!("the CUDA driver is too old: it has no {name}")))
        }
        // SAFETY: the types are those of cuda.h.
        unsafe {
            Ok(Functions {
                init: named(library, "cuInit")?,
                device_get: named(library, "cuDeviceGet")?,
                primary_retain: named(library, "cuDevicePrimaryCtxRetain")?,
                primary_release: named(library, "cuDevicePrimaryCtxRelease_v2")?,
                set_current: named(library, "cuCtxSetCurrent")?,
                host_alloc: named(library, "cuMemHostAlloc")?,
                host_free: named(library, "cuMemFreeHost")?,
                to_device: named(library, "cuMemcpyHtoDAsync_v2")?,
                to_host: named(library, "cuMemcpyDtoHAsync_v2")?,
                synchronize: named(library, "cuStreamSynchronize")?,
            })
        }
    }
}

/// Page-locked memory of the host, which a GPU reads and writes without a detour.
pub struct HostMemory {
    start: NonNull<u8>,
    bytes: usize,
    gpu: Arc<Gpu>,
}

// SAFETY: plain memory that belongs to its owner.
unsafe impl Send for HostMemory {}

impl Deref for HostMemory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: so many bytes were given, and all are written.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }
}

impl DerefMut for HostMemory {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and nobody else has them.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        if self.gpu.enter().is_ok() {
            // SAFETY: allocated once, freed once.
            unsafe { (self.gpu.call.host_free)(self.start.as_ptr().cast()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_gpu_hears_a_sentence_and_one_with_a_gpu_gets_its_memory() {
        match Gpu::open(0) {
            Ok(gpu) => {
                let mut memory = gpu.host(64).unwrap();
                assert!(memory.iter().all(|byte| *byte == 0));
                memory[63] = 7;
                assert_eq!(memory[63], 7);
            }
            Err(error) => assert!(error.to_string().contains("driver"), "{error}"),
        }
    }
}
