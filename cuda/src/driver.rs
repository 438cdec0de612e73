//! The CUDA driver's functions, from a library found when it is needed.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::mem::ManuallyDrop;
use std::sync::OnceLock;

use crate::error::CudaError;

/// Names of the driver's library.
const LIBRARIES: [&str; 2] = ["libcuda.so.1", "libcuda.so"];

pub type Status = c_int;
pub type Handle = *mut c_void;
/// An address on the device.
pub type Address = u64;

macro_rules! driver {
    ($($name:ident = $symbol:literal ($($kind:ty),*);)*) => {
        /// Its functions, by their names without `cu`.
        pub struct Driver {
            $(pub $name: unsafe extern "C" fn($($kind),*) -> Status,)*
            _library: ManuallyDrop<libloading::Library>,
        }

        impl Driver {
            fn of(library: libloading::Library) -> Result<Self, libloading::Error> {
                // SAFETY: the signatures are those of cuda.h, unchanged since CUDA 11.4.
                unsafe {
                    Ok(Self {
                        $($name: *library.get($symbol)?,)*
                        _library: ManuallyDrop::new(library),
                    })
                }
            }
        }
    };
}

driver! {
    init = b"cuInit\0" (c_uint);
    error_string = b"cuGetErrorString\0" (Status, *mut *const c_char);
    device_count = b"cuDeviceGetCount\0" (*mut c_int);
    device = b"cuDeviceGet\0" (*mut c_int, c_int);
    device_name = b"cuDeviceGetName\0" (*mut c_char, c_int, c_int);
    attribute = b"cuDeviceGetAttribute\0" (*mut c_int, c_int, c_int);
    retain = b"cuDevicePrimaryCtxRetain\0" (*mut Handle, c_int);
    release = b"cuDevicePrimaryCtxRelease_v2\0" (c_int);
    set_current = b"cuCtxSetCurrent\0" (Handle);
    alloc = b"cuMemAlloc_v2\0" (*mut Address, usize);
    free = b"cuMemFree_v2\0" (Address);
    alloc_host = b"cuMemHostAlloc\0" (*mut Handle, usize, c_uint);
    free_host = b"cuMemFreeHost\0" (Handle);
    upload = b"cuMemcpyHtoDAsync_v2\0" (Address, *const c_void, usize, Handle);
    download = b"cuMemcpyDtoHAsync_v2\0" (*mut c_void, Address, usize, Handle);
    stream_create = b"cuStreamCreate\0" (*mut Handle, c_uint);
    stream_destroy = b"cuStreamDestroy_v2\0" (Handle);
    stream_synchronize = b"cuStreamSynchronize\0" (Handle);
    capture_begin = b"cuStreamBeginCapture_v2\0" (Handle, c_int);
    capture_end = b"cuStreamEndCapture\0" (Handle, *mut Handle);
    graph_instantiate = b"cuGraphInstantiateWithFlags\0" (*mut Handle, Handle, u64);
    graph_launch = b"cuGraphLaunch\0" (Handle, Handle);
    graph_destroy = b"cuGraphDestroy\0" (Handle);
    graph_exec_destroy = b"cuGraphExecDestroy\0" (Handle);
    event_create = b"cuEventCreate\0" (*mut Handle, c_uint);
    event_record = b"cuEventRecord\0" (Handle, Handle);
    event_elapsed = b"cuEventElapsedTime\0" (*mut f32, Handle, Handle);
    event_destroy = b"cuEventDestroy_v2\0" (Handle);
}

impl Driver {
    /// The driver of this machine, started.
    ///
    /// # Errors
    /// [`CudaError::NoDevice`] where there is none, or it does not start.
    pub fn get() -> Result<&'static Self, CudaError> {
        // A process has one driver, and loading it again would give the same.
        static DRIVER: OnceLock<Result<Driver, String>> = OnceLock::new();
        DRIVER.get_or_init(start).as_ref().map_err(|why| CudaError::NoDevice(why.clone()))
    }

    /// What a call came to.
    pub fn check(&self, call: &'static str, status: Status) -> Result<(), CudaError> {
        match status {
            0 => Ok(()),
            _ => Err(CudaError::Call { call, why: self.words(status) }),
        }
    }

    fn words(&self, status: Status) -> String {
        let mut text = std::ptr::null();
        // SAFETY: the driver gives a string of its own, or leaves it.
        unsafe {
            (self.error_string)(status, &mut text);
            if text.is_null() {
                return format!("error {status}");
            }
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    }
}

/// The loader's own words.
fn cause(error: &libloading::Error) -> String {
    use std::error::Error;
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

fn start() -> Result<Driver, String> {
    // SAFETY: the driver's initialisers run.
    let opened = LIBRARIES.map(|name| unsafe { libloading::Library::new(name) });
    let [first, second] = opened;
    let library = first.or_else(|why| second.map_err(|_| why));
    let library = library.map_err(|why| {
        format!("NVIDIA's driver is not on this machine, or not in this container ({})", cause(&why))
    })?;
    let driver = Driver::of(library)
        .map_err(|why| format!("NVIDIA's driver is older than CUDA 11.4 ({})", cause(&why)))?;
    // SAFETY: takes a number that must be zero.
    match unsafe { (driver.init)(0) } {
        0 => Ok(driver),
        status => Err(format!("NVIDIA's driver does not start: {}", driver.words(status))),
    }
}
