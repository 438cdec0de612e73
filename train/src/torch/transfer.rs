//! Host memory that a GPU reads by itself, and copies that run beside the computation.

use std::ffi::{c_char, c_int, c_void};

use super::ffi::{self, Handle, TorchError, check, handle};
use super::{Device, Kind, Tensor};

unsafe extern "C" {
    fn yf_host_words(words: i64, pinned: c_int, out: *mut Handle) -> *mut c_char;
    fn yf_stream_new(device: c_int, out: *mut *mut c_void) -> *mut c_char;
    fn yf_stream_free(stream: *mut c_void);
    fn yf_event_new(out: *mut *mut c_void) -> *mut c_char;
    fn yf_event_record(event: *mut c_void, stream: *const c_void, device: c_int) -> *mut c_char;
    fn yf_event_block(event: *mut c_void, stream: *const c_void, device: c_int) -> *mut c_char;
    fn yf_device_words(words: i64, stream: *const c_void, device: c_int, out: *mut Handle) -> *mut c_char;
    fn yf_copy_on(stream: *const c_void, to: Handle, from: Handle) -> *mut c_char;
    fn yf_free_memory(device: c_int, bytes: *mut i64) -> *mut c_char;
}

/// 32-bit words on the host, or a part of such that overlaps no other.
pub struct HostWords(Tensor);

impl HostWords {
    /// Parts of words begin at multiples of this many, 256 bytes.
    pub const ALIGNMENT: usize = 64;

    /// So many words, of any content. Beside a GPU they are page-locked, and come from a cache: what is dropped, with all
    /// parts of it, is handed out again as soon as copies from it are done.
    ///
    /// # Errors
    /// No memory.
    pub fn new(words: usize, device: Device) -> Result<Self, TorchError> {
        let mut out = std::ptr::null_mut();
        // SAFETY: `out` receives a new tensor.
        check(unsafe { yf_host_words(words as i64, c_int::from(device.is_cuda()), &mut out) })?;
        Ok(HostWords(ffi::own(out)))
    }

    /// So many equal parts, each from a multiple of [`ALIGNMENT`](Self::ALIGNMENT) on; a few words may be left over.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn split(self, parts: usize) -> Result<Vec<Self>, TorchError> {
        let length = (self.count() / parts / Self::ALIGNMENT * Self::ALIGNMENT) as i64;
        (0..parts as i64).map(|part| Ok(HostWords(self.0.f_narrow(0, part * length, length)?))).collect()
    }

    /// Number of words.
    pub fn count(&self) -> usize {
        self.0.numel()
    }

    /// The words, to be written.
    ///
    /// # Safety
    /// No tensor of [`HostWords::tensor`] is in use any more, and copies from such are done.
    pub unsafe fn words_mut(&mut self) -> &mut [u32] {
        // SAFETY: contiguous int32 values that no other HostWords has; they live as long as the borrow.
        unsafe { std::slice::from_raw_parts_mut(self.0.data_ptr().cast(), self.0.numel()) }
    }

    /// The first words as a tensor, i32 `[length]`.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn tensor(&self, length: usize) -> Result<Tensor, TorchError> {
        Ok(self.0.f_narrow(0, 0, length as i64)?)
    }
}

/// A queue of one GPU beside the current one.
pub struct Stream {
    stream: *mut c_void,
    device: usize,
}

// SAFETY: a stream's number and device, which every thread may use.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Stream {
    /// A stream of GPU `device`.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn new(device: usize) -> Result<Self, TorchError> {
        let mut stream = std::ptr::null_mut();
        // SAFETY: `stream` receives a new one.
        check(unsafe { yf_stream_new(device as c_int, &mut stream) })?;
        Ok(Stream { stream, device })
    }

    /// i32 `[words]` on the device, of any content; memory that is freed may be used again by this stream at once.
    ///
    /// # Errors
    /// No memory.
    pub fn words(&self, words: usize) -> Result<Tensor, TorchError> {
        let mut out = std::ptr::null_mut();
        // SAFETY: a live stream; `out` receives a new tensor.
        check(unsafe { yf_device_words(words as i64, self.stream, self.device as c_int, &mut out) })?;
        Ok(ffi::own(out))
    }

    /// Copies `from` the host `to` the device. Nobody waits where `from` is page-locked: who writes to it next has to
    /// ([`Stream::mark`]).
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn copy(&self, to: &Tensor, from: &Tensor) -> Result<(), TorchError> {
        // SAFETY: live handles; page-locked memory is not freed before the copy is done, other memory is read before the
        // call returns.
        check(unsafe { yf_copy_on(self.stream, handle(to), handle(from)) })
    }

    /// An event after what the stream was given so far.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn mark(&self) -> Result<Event, TorchError> {
        let mut event = Event::new(self.device)?;
        event.record(Some(self))?;
        Ok(event)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: made by `yf_stream_new`, freed once; the queue itself belongs to libtorch.
        unsafe { yf_stream_free(self.stream) };
    }
}

/// A mark in a stream, which other streams of the GPU can wait for.
pub struct Event {
    event: *mut c_void,
    device: usize,
}

// SAFETY: one thread at a time uses it, since recording takes it mutably.
unsafe impl Send for Event {}

impl Event {
    /// An event of GPU `device`, not recorded yet: nobody waits for it.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn new(device: usize) -> Result<Self, TorchError> {
        let mut event = std::ptr::null_mut();
        // SAFETY: `event` receives a new one.
        check(unsafe { yf_event_new(&mut event) })?;
        Ok(Event { event, device })
    }

    /// Marks what `stream` (or this thread's current one) was given so far.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn record(&mut self, stream: Option<&Stream>) -> Result<(), TorchError> {
        // SAFETY: live handles.
        check(unsafe { yf_event_record(self.event, raw(stream), self.device as c_int) })
    }

    /// Has `stream` (or this thread's current one) wait for the mark; the host does not wait.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn block(&self, stream: Option<&Stream>) -> Result<(), TorchError> {
        // SAFETY: live handles.
        check(unsafe { yf_event_block(self.event, raw(stream), self.device as c_int) })
    }

    /// Whether the mark was reached.
    ///
    /// # Errors
    /// What the device reports.
    pub fn is_reached(&self) -> Result<bool, TorchError> {
        let mut reached = 0;
        // SAFETY: a live event; `reached` is live.
        check(unsafe { ffi::yf_event_ready(self.event, &mut reached) })?;
        Ok(reached != 0)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made by `yf_event_new`, freed once.
        unsafe { ffi::yf_event_free(self.event) };
    }
}

fn raw(stream: Option<&Stream>) -> *const c_void {
    stream.map_or(std::ptr::null(), |stream| stream.stream.cast_const())
}

/// Borrowed words as a tensor, i32 `[words]`, for the time of `work`.
pub fn with_words<T>(words: &[u32], work: impl FnOnce(&Tensor) -> T) -> T {
    // SAFETY: the tensor does not outlive the borrow, and nobody writes to it.
    let tensor = unsafe {
        Tensor::from_blob(words.as_ptr().cast(), &[words.len() as i64], &[1], Kind::Int, Device::Cpu)
    };
    work(&tensor)
}

/// Bytes of a device's memory that nobody has taken; on a CPU what the system can still give.
///
/// # Errors
/// What libtorch reports.
pub fn free_memory(device: Device) -> Result<u64, TorchError> {
    let Device::Cuda(index) = device else {
        return Ok(yf_data::memory::available_memory().unwrap_or(u64::MAX));
    };
    let mut bytes = 0;
    // SAFETY: `bytes` is live.
    check(unsafe { yf_free_memory(index as c_int, &mut bytes) })?;
    Ok(bytes as u64)
}
