//! A deserialised engine and its execution context.

use std::ffi::{CString, c_void};
use std::ptr;
use std::sync::Arc;

use crate::error::TensorRtError;
use crate::library::{Flavour, TensorRt};
use crate::log::text;
use yf_cuda::{Gpu, Stream};

/// What a tensor is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// float32.
    Float32,
    /// uint8.
    UInt8,
    /// Another, by TensorRT's number.
    Other(i32),
}

/// An input or output of an engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Whether pictures go in there, or results come out.
    pub input: bool,
    /// What it is made of.
    pub element: Element,
}

/// An engine in the memory of a GPU.
pub struct Engine {
    library: Arc<TensorRt>,
    gpu: Arc<Gpu>,
    runtime: *mut c_void,
    engine: *mut c_void,
}

// SAFETY: TensorRT's objects may be used from any thread, by one at a time.
unsafe impl Send for Engine {}

impl Engine {
    /// Puts an engine on a GPU.
    ///
    /// # Errors
    /// [`TensorRtError::Engine`] with what the library says where it does not take the engine on this GPU.
    pub fn load(library: Arc<TensorRt>, gpu: Arc<Gpu>, bytes: &[u8]) -> Result<Self, TensorRtError> {
        gpu.make_current()?;
        library.logger.take();
        let create = library.entry("createInferRuntime_INTERNAL")?;
        // SAFETY: the entry is the library's, and there is a device: without one it may return garbage.
        let runtime =
            unsafe { (library.api.runtime_new)(create, library.logger.object(), library.version_number) };
        if runtime.is_null() {
            return Err(TensorRtError::Engine(format!(
                "its runtime does not start: {}",
                library.complaint()
            )));
        }
        // SAFETY: the runtime was just made; the bytes are read during the call.
        let engine = unsafe { (library.api.engine_new)(runtime, bytes.as_ptr().cast(), bytes.len()) };
        let loaded = Self { library, gpu, runtime, engine };
        if engine.is_null() {
            return Err(TensorRtError::Engine(loaded.library.complaint()));
        }
        Ok(loaded)
    }

    /// The GPU it is on.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// The library that runs it.
    pub fn library(&self) -> &TensorRt {
        &self.library
    }

    /// Inputs and outputs.
    pub fn tensors(&self) -> Vec<Tensor> {
        let api = self.library.api;
        // SAFETY: the engine is there, and a name of its own is asked about.
        let of = |index| unsafe {
            let name = (api.tensor_name)(self.engine, index);
            let element = match (api.tensor_type)(self.engine, name) {
                0 => Element::Float32,
                5 => Element::UInt8,
                other => Element::Other(other),
            };
            Tensor { name: text(name), input: (api.tensor_mode)(self.engine, name) == 1, element }
        };
        // SAFETY: as above.
        (0..unsafe { (api.tensor_count)(self.engine) }).map(of).collect()
    }

    /// Makes ready to run; `cache` is what [`Context::cache`] gave on an earlier start.
    pub(crate) fn context(self, cache: &[u8]) -> Result<Context, TensorRtError> {
        self.gpu.make_current()?;
        self.library.logger.take();
        // SAFETY: the engine is there; the cache is read during the call.
        let context =
            unsafe { (self.library.api.context_new)(self.engine, cache.as_ptr().cast(), cache.len()) };
        if context.is_null() {
            let why = self.library.complaint();
            return Err(TensorRtError::Engine(format!("the engine cannot be made ready to run: {why}")));
        }
        Ok(Context { engine: self, context })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let api = self.library.api;
        let _ = self.gpu.make_current();
        // SAFETY: made in `load`, and nobody else has them; an engine goes before its runtime.
        unsafe {
            if !self.engine.is_null() {
                (api.engine_free)(self.engine);
            }
            (api.runtime_free)(self.runtime);
        }
    }
}

/// An engine ready to run.
pub(crate) struct Context {
    engine: Engine,
    context: *mut c_void,
}

// SAFETY: as of `Engine`.
unsafe impl Send for Context {}

impl Context {
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether the library records the launches of its kernels itself.
    pub fn records_itself(&self) -> bool {
        self.engine.library.flavour() == Flavour::Rtx
    }

    pub fn set_shape(&mut self, input: &str, sizes: &[i64]) -> Result<(), TensorRtError> {
        let name = name(input)?;
        let rank = sizes.len() as i32;
        // SAFETY: the context is there; the sizes are read during the call.
        let set = unsafe { (self.api().set_shape)(self.context, name.as_ptr(), sizes.as_ptr(), rank) };
        self.check(set != 0, || format!("input {input} of the shape {sizes:?}"))
    }

    /// A tensor's sizes, once those of the inputs are set.
    pub fn shape(&self, tensor: &str) -> Result<Vec<i64>, TensorRtError> {
        let (name, mut sizes) = (name(tensor)?, [0; 8]);
        // SAFETY: there is room for the eight sizes that a shape has at most.
        let rank = unsafe { (self.api().shape)(self.context, name.as_ptr(), sizes.as_mut_ptr()) };
        self.check(rank >= 0, || format!("the shape of {tensor}"))?;
        Ok(sizes[..usize::try_from(rank).unwrap_or(0).min(8)].to_vec())
    }

    /// Says where a tensor lies on the device.
    ///
    /// # Safety
    /// The memory stays, and is large enough for every shape that is set, while this runs.
    pub unsafe fn set_address(&mut self, tensor: &str, device: u64) -> Result<(), TensorRtError> {
        let (name, address) = (name(tensor)?, ptr::with_exposed_provenance_mut(device as usize));
        // SAFETY: as the caller promises.
        let set = unsafe { (self.api().set_address)(self.context, name.as_ptr(), address) };
        self.check(set != 0, || format!("the memory of {tensor}"))
    }

    /// Begins a run; the stream says when it has ended.
    ///
    /// # Safety
    /// Addresses of all tensors are set.
    pub unsafe fn enqueue(&mut self, stream: &Stream) -> Result<(), TensorRtError> {
        // SAFETY: as the caller promises; the stream is of the engine's device.
        let begun = unsafe { (self.api().enqueue)(self.context, stream.raw()) };
        self.check(begun != 0, || "a run".to_owned())
    }

    /// TensorRT-RTX's finished kernels, for the next start; empty from full TensorRT.
    pub fn cache(&self) -> Vec<u8> {
        let mut content = Vec::new();
        if self.engine.gpu.make_current().is_err() {
            return content;
        }
        // SAFETY: `keep` gets the vector, during the call.
        unsafe { (self.api().runtime_cache)(self.context, ptr::from_mut(&mut content).cast(), keep) };
        content
    }

    fn api(&self) -> &'static crate::abi::Api {
        self.engine.library.api
    }

    fn check(&self, taken: bool, what: impl FnOnce() -> String) -> Result<(), TensorRtError> {
        if taken {
            return Ok(());
        }
        let why = self.engine.library.complaint();
        Err(TensorRtError::Engine(format!("{} is refused: {why}", what())))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let _ = self.engine.gpu.make_current();
        // SAFETY: made in `Engine::context`; goes before its engine, which is a field.
        unsafe { (self.api().context_free)(self.context) };
    }
}

fn name(tensor: &str) -> Result<CString, TensorRtError> {
    CString::new(tensor).map_err(|_| TensorRtError::Engine("a tensor's name holds a zero".to_owned()))
}

unsafe extern "C" fn keep(content: *mut c_void, data: *const c_void, size: usize) {
    if !data.is_null() {
        // SAFETY: `cache` waits with its vector; the data is TensorRT's, valid during the call.
        unsafe { *content.cast::<Vec<u8>>() = std::slice::from_raw_parts(data.cast::<u8>(), size).to_vec() };
    }
}
