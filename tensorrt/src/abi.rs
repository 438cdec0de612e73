//! The shim's tables of functions: `shim/shim.h` in Rust.

use std::ffi::{c_char, c_void};

/// `YfProfile`.
#[repr(C)]
pub struct Profile {
    pub input: *const c_char,
    pub rank: i32,
    pub min: [i64; 8],
    pub opt: [i64; 8],
    pub max: [i64; 8],
}

pub type Log = unsafe extern "C" fn(*mut c_void, i32, *const c_char);
pub type Sink = unsafe extern "C" fn(*mut c_void, *const c_void, usize);

/// `YfBuild`.
#[repr(C)]
pub struct Build {
    pub create_builder: *mut c_void,
    pub version: i32,
    pub create_parser: *mut c_void,
    pub parser_version: i32,
    pub onnx: *const c_void,
    pub onnx_size: usize,
    pub profiles: *const Profile,
    pub profile_count: i32,
    pub targets: *const i32,
    pub target_count: i32,
    pub keep_timings: i32,
    pub timings: *const c_void,
    pub timings_size: usize,
    pub user: *mut c_void,
    pub engine: Sink,
    pub timing_cache: Sink,
    pub refused: unsafe extern "C" fn(*mut c_void, i32, *const c_char, *const c_char, *const c_char),
    pub progress: unsafe extern "C" fn(*mut c_void, *const c_char, i32, i32) -> i32,
}

/// `YfBuildStatus`.
pub mod status {
    pub const BUILT: i32 = 0;
    pub const NO_BUILDER: i32 = 1;
    pub const NO_PARSER: i32 = 2;
    pub const PARSE: i32 = 3;
    pub const PROFILE: i32 = 4;
    pub const TARGET: i32 = 5;
}

/// `YfApi`.
#[repr(C)]
pub struct Api {
    pub logger_new: unsafe extern "C" fn(*mut c_void, Log) -> *mut c_void,
    pub logger_free: unsafe extern "C" fn(*mut c_void),
    pub build: unsafe extern "C" fn(*mut c_void, *const Build) -> i32,
    pub runtime_new: unsafe extern "C" fn(*mut c_void, *mut c_void, i32) -> *mut c_void,
    pub runtime_free: unsafe extern "C" fn(*mut c_void),
    pub engine_new: unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> *mut c_void,
    pub engine_free: unsafe extern "C" fn(*mut c_void),
    pub tensor_count: unsafe extern "C" fn(*mut c_void) -> i32,
    pub tensor_name: unsafe extern "C" fn(*mut c_void, i32) -> *const c_char,
    pub tensor_mode: unsafe extern "C" fn(*mut c_void, *const c_char) -> i32,
    pub tensor_type: unsafe extern "C" fn(*mut c_void, *const c_char) -> i32,
    pub context_new: unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> *mut c_void,
    pub context_free: unsafe extern "C" fn(*mut c_void),
    pub set_shape: unsafe extern "C" fn(*mut c_void, *const c_char, *const i64, i32) -> i32,
    pub shape: unsafe extern "C" fn(*mut c_void, *const c_char, *mut i64) -> i32,
    pub set_address: unsafe extern "C" fn(*mut c_void, *const c_char, *mut c_void) -> i32,
    pub enqueue: unsafe extern "C" fn(*mut c_void, *mut c_void) -> i32,
    pub runtime_cache: unsafe extern "C" fn(*mut c_void, *mut c_void, Sink),
}

unsafe extern "C" {
    /// Calls for libnvinfer.so.10.
    pub safe static yf_tensorrt_10: Api;
    /// Calls for libnvinfer.so.11.
    pub safe static yf_tensorrt_11: Api;
    /// Calls for libtensorrt_rtx.so.1.
    pub safe static yf_tensorrt_rtx: Api;
}
