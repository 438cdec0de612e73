//! Any bytes as a whole file.
//!
//! `cargo +nightly fuzz run checkpoint` in the folder `import`; corpus: small checkpoints.

#![no_main]

use std::io::Cursor;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use yf_import::{Limits, read_from};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { max_tensor_bytes: 1 << 20, max_values: 100_000, ..Limits::default() };
    let _ = read_from(Cursor::new(bytes), Path::new("fuzzed"), &limits);
});
