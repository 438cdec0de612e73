//! What TensorRT says: errors are kept for the sentence that ends a call, everything goes to the log.

use std::ffi::{CStr, c_char, c_void};
use std::sync::{Mutex, PoisonError};

use crate::abi::Api;

/// A logger of TensorRT's.
pub(crate) struct Logger {
    api: &'static Api,
    object: *mut c_void,
    errors: *mut Errors,
}

type Errors = Mutex<Vec<String>>;

/// More say nothing new.
const MOST: usize = 8;

// SAFETY: the object only calls `heard`, which locks.
unsafe impl Send for Logger {}
// SAFETY: as above.
unsafe impl Sync for Logger {}

impl Logger {
    pub fn new(api: &'static Api) -> Self {
        let errors = Box::into_raw(Box::new(Errors::default()));
        // SAFETY: `errors` lives until the logger is freed.
        let object = unsafe { (api.logger_new)(errors.cast(), heard) };
        Self { api, object, errors }
    }

    /// For TensorRT; valid as long as this is.
    pub fn object(&self) -> *mut c_void {
        self.object
    }

    /// The errors since the last call, joined.
    pub fn take(&self) -> Option<String> {
        // SAFETY: freed in `drop` only.
        let errors = unsafe { &*self.errors };
        let taken = std::mem::take(&mut *errors.lock().unwrap_or_else(PoisonError::into_inner));
        (!taken.is_empty()).then(|| taken.join("; "))
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        // SAFETY: both were made in `new`; everything that logs is gone before its library is.
        unsafe {
            (self.api.logger_free)(self.object);
            drop(Box::from_raw(self.errors));
        }
    }
}

unsafe extern "C" fn heard(errors: *mut c_void, severity: i32, message: *const c_char) {
    // SAFETY: `errors` is the box of `new`, the message a string of TensorRT's.
    let (errors, message) = unsafe { (&*errors.cast::<Errors>(), text(message)) };
    match severity {
        ..=1 => {
            tracing::debug!("TensorRT: {message}");
            let mut errors = errors.lock().unwrap_or_else(PoisonError::into_inner);
            if errors.len() < MOST && !errors.contains(&message) {
                errors.push(message);
            }
        }
        2 => tracing::debug!("TensorRT: {message}"),
        _ => tracing::trace!("TensorRT: {message}"),
    }
}

/// A C string, empty where there is none.
///
/// # Safety
/// `text` is null or a string that ends with zero.
pub(crate) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().trim().to_owned()
}
