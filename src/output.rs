//! Standard output: results, and nothing else. Progress and logs go to standard error.

use std::io::Write;

use serde::Serialize;

use crate::failure::Failure;

/// Prints one line of the result.
pub fn line(text: impl AsRef<str>) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush()).map_err(Failure::output)
}

/// Prints one JSON value on a line.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(serde_json::to_string(value)?)
}
