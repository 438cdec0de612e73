//! A CUDA kernel of our own, compiled when it is needed.

use std::ffi::{CString, c_char, c_int, c_uint, c_void};

use super::ffi::{TorchError, check};

unsafe extern "C" {
    fn yf_kernel_open(
        source: *const c_char,
        name: *const c_char,
        device: c_int,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn yf_kernel_launch(
        kernel: *const c_void,
        blocks_x: c_uint,
        blocks_y: c_uint,
        threads: c_uint,
        arguments: *mut *mut c_void,
    ) -> *mut c_char;
    #[cfg(test)]
    fn yf_kernel_compile(
        source: *const c_char,
        architecture: *const c_char,
        bytes: *mut usize,
    ) -> *mut c_char;
}

/// A compiled kernel, on its GPU for the rest of the process.
pub struct Kernel(*mut c_void);

// SAFETY: the compiled function is only read; the driver's calls may come from any thread.
unsafe impl Send for Kernel {}
// SAFETY: as above.
unsafe impl Sync for Kernel {}

impl Kernel {
    /// Compiles the function `name` of `source` for GPU `device`; takes about a second.
    ///
    /// # Errors
    /// Where there is no NVRTC beside libtorch, or it does not know the GPU.
    pub fn open(source: &str, name: &str, device: usize) -> Result<Self, TorchError> {
        let (source, name) = (c_string(source)?, c_string(name)?);
        let mut kernel = std::ptr::null_mut();
        // SAFETY: NUL-terminated strings; `kernel` receives a new one.
        check(unsafe { yf_kernel_open(source.as_ptr(), name.as_ptr(), device as c_int, &mut kernel) })?;
        Ok(Kernel(kernel))
    }

    /// Launches it on this thread's current stream. Can be recorded in a graph.
    ///
    /// # Errors
    /// What the driver reports.
    ///
    /// # Safety
    /// `arguments` point to what the kernel's parameters are declared as, and pointers among them to as much memory of
    /// its GPU as it touches, until the device has done its work.
    pub unsafe fn launch(
        &self,
        blocks: [u32; 2],
        threads: u32,
        arguments: &mut [*mut c_void],
    ) -> Result<(), TorchError> {
        // SAFETY: as above.
        check(unsafe { yf_kernel_launch(self.0, blocks[0], blocks[1], threads, arguments.as_mut_ptr()) })
    }
}

fn c_string(text: &str) -> Result<CString, TorchError> {
    CString::new(text).map_err(|_| TorchError("a kernel's source has a zero byte".to_owned()))
}

/// Bytes of the compiled program; needs NVRTC, but no GPU.
///
/// # Errors
/// No NVRTC, or what it says of the program.
#[cfg(test)]
pub fn compile(source: &str, architecture: &str) -> Result<usize, TorchError> {
    let (source, architecture) = (c_string(source)?, c_string(architecture)?);
    let mut bytes = 0;
    // SAFETY: NUL-terminated strings; `bytes` is live.
    check(unsafe { yf_kernel_compile(source.as_ptr(), architecture.as_ptr(), &mut bytes) })?;
    Ok(bytes)
}
