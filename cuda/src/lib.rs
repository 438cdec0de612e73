//! The little of CUDA that running networks needs: a device, a stream, memory, recorded launches, the time between.
//!
//! NVIDIA's driver is opened when it is needed: its library has one name in all versions, and a machine without it misses
//! nothing.

mod driver;
mod error;
mod memory;
mod stream;

use std::ffi::c_int;
use std::fmt;
use std::ptr;
use std::str::FromStr;

use driver::{Driver, Handle};

pub use error::CudaError;
pub use memory::{DeviceMemory, HostMemory};
pub use stream::{Event, Graph, Stream};

/// What a GPU can do, in NVIDIA's count: 8.6, written sm_86 where programs are built for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability {
    /// 8 of 8.6.
    pub major: u32,
    /// 6 of 8.6.
    pub minor: u32,
}

impl Capability {
    /// 86 for 8.6.
    pub fn number(self) -> i32 {
        i32::try_from(self.major * 10 + self.minor).unwrap_or(0)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Capability {
    type Err = String;

    /// Reads `sm_86`, `86` or `8.6`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no GPU architecture: sm_86, sm_89 and sm_120 are some");
        let number = text.strip_prefix("sm_").unwrap_or(text);
        let (major, minor) = match number.split_once('.') {
            Some(parts) => parts,
            None if number.is_ascii() && (2..=3).contains(&number.len()) => number.split_at(number.len() - 1),
            None => return Err(wrong()),
        };
        let digits = |part: &str| part.parse::<u32>().ok().filter(|number| *number < 100).ok_or_else(wrong);
        Ok(Self { major: digits(major)?, minor: digits(minor)? })
    }
}

/// The first NVIDIA GPU of this machine that the process may see, with its primary context.
pub struct Gpu {
    driver: &'static Driver,
    device: c_int,
    context: Handle,
    name: String,
    capability: Capability,
}

// SAFETY: a context is made current on the thread that calls; the driver's functions lock.
unsafe impl Send for Gpu {}
// SAFETY: as above.
unsafe impl Sync for Gpu {}

/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` and `_MINOR`.
const CAPABILITY: [c_int; 2] = [75, 76];

impl Gpu {
    /// Takes the first device.
    ///
    /// # Errors
    /// [`CudaError::NoDevice`] where there is none, [`CudaError::Call`] where it does not answer.
    pub fn first() -> Result<Self, CudaError> {
        let driver = Driver::get()?;
        let mut count = 0;
        // SAFETY: the driver writes one number.
        driver.check("cuDeviceGetCount", unsafe { (driver.device_count)(&mut count) })?;
        if count == 0 {
            return Err(CudaError::NoDevice(
                "NVIDIA's driver sees no GPU (is CUDA_VISIBLE_DEVICES empty?)".to_owned(),
            ));
        }
        let (mut device, mut context) = (0, ptr::null_mut());
        // SAFETY: the driver writes one number.
        driver.check("cuDeviceGet", unsafe { (driver.device)(&mut device, 0) })?;
        let [major, minor] = CAPABILITY.map(|which| {
            let mut value = 0;
            // SAFETY: as above; a failure leaves zero.
            unsafe { (driver.attribute)(&mut value, which, device) };
            u32::try_from(value).unwrap_or(0)
        });
        let mut name = [0_u8; 256];
        // SAFETY: there is room for as many characters as it is told.
        unsafe { (driver.device_name)(name.as_mut_ptr().cast(), name.len() as c_int, device) };
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        // SAFETY: the driver writes a handle; it is released in `drop`.
        driver.check("cuDevicePrimaryCtxRetain", unsafe { (driver.retain)(&mut context, device) })?;
        let name = String::from_utf8_lossy(&name[..end]).into_owned();
        Ok(Self { driver, device, context, name, capability: Capability { major, minor } })
    }

    /// What NVIDIA calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its architecture.
    pub fn capability(&self) -> Capability {
        self.capability
    }

    /// Calls of this thread, TensorRT's as well, are for this GPU.
    ///
    /// # Errors
    /// What the driver reports.
    pub fn make_current(&self) -> Result<(), CudaError> {
        // SAFETY: the context is retained.
        self.driver.check("cuCtxSetCurrent", unsafe { (self.driver.set_current)(self.context) })
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // SAFETY: retained in `first`; memory, streams and engines hold the GPU, so they are gone.
        unsafe { (self.driver.release)(self.device) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_read_as_people_write_them() {
        for (text, number) in [("sm_86", 86), ("89", 89), ("12.0", 120), ("sm_121", 121), ("7.5", 75)] {
            assert_eq!(text.parse::<Capability>().unwrap().number(), number);
        }
        for wrong in ["", "sm_", "8", "sm_8x", "1200", "ampere", "8.", "é6", "8.600"] {
            assert!(wrong.parse::<Capability>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_machine_without_a_gpu_says_so() {
        if let Err(error) = Gpu::first() {
            assert!(matches!(error, CudaError::NoDevice(_)), "{error}");
        }
    }
}
