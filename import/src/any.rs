//! Weights of any kind: yf's own, or another program's.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use yf_models::weights::HEADER_KEY;
use yf_models::{ModelError, Weights};

use crate::{Fault, ImportError, Limits, identify, read};

/// The safetensors format allows no longer header.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Reads a weights file of yf as it is, and a checkpoint of another program as [`read`] and [`identify()`] understand
/// it.
///
/// # Errors
/// As those two, and when a file of yf is damaged.
pub fn weights(path: &Path, limits: &Limits) -> Result<Weights, ImportError> {
    let own = is_own(path).map_err(|error| Fault::Io(error).at(path))?;
    if !own {
        return Ok(identify(read(path, limits)?)?.weights);
    }
    Weights::read(path).map_err(|error| {
        let fault = match error {
            ModelError::Weights { why, .. } => Fault::Form(why),
            ModelError::Io { source, .. } => Fault::Io(source),
            other => Fault::Form(other.to_string()),
        };
        fault.at(path)
    })
}

/// Whether the file begins as safetensors with yf's header.
fn is_own(path: &Path) -> std::io::Result<bool> {
    let mut file = File::open(path)?;
    let mut length = Vec::new();
    file.by_ref().take(8).read_to_end(&mut length)?;
    let Ok(length) = <[u8; 8]>::try_from(length) else { return Ok(false) };
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES {
        return Ok(false);
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header)?;
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap_or_default();
    Ok(header["__metadata__"].get(HEADER_KEY).is_some())
}
