//! Any bytes as a pickle, and as the pickle of a checkpoint with two small storages.
//!
//! `cargo +nightly fuzz run pickle` in the folder `import`; corpus: `data.pkl` of any checkpoint.

#![no_main]

use std::io::Cursor;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use yf_import::pickle::Pickle;
use yf_import::{Limits, read_from};

#[path = "../../tests/material/assemble.rs"]
#[allow(dead_code)]
mod assemble;

/// Small, so that a file can reach them.
const LIMITS: Limits = Limits {
    max_members: 100,
    max_pickle_bytes: 1 << 20,
    max_values: 100_000,
    max_tensor_bytes: 1 << 20,
    max_depth: 16,
};

fuzz_target!(|bytes: &[u8]| {
    if Pickle::read(bytes, &LIMITS).is_ok() {
        let file = assemble::checkpoint(bytes, &[("0", &[0; 64]), ("1", &[1; 8])]);
        let _ = read_from(Cursor::new(file), Path::new("fuzzed"), &LIMITS);
    }
});
