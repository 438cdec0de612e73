//! Plots of a run: `results.png` over its epochs and `labels.png` over its labels.

mod axis;
mod labels;
mod results;

use std::path::Path;

use yf_chart::{Canvas, Drawn};

use super::error::RecordError;
pub use labels::labels;
pub use results::results;

/// Draws a white canvas and writes it as PNG, whole or not at all.
fn save(path: &Path, size: (u32, u32), draw: impl FnOnce(&Canvas<'_>) -> Drawn) -> Result<(), RecordError> {
    let png = yf_chart::png(size, draw).map_err(|error| RecordError::draw(path, &error))?;
    yf_models::durable::write(path, |out| out.write_all(&png)).map_err(|source| RecordError::io(path, source))
}

#[cfg(test)]
mod tests;
