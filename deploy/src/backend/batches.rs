//! Any number of pictures through a network of a fixed batch.

use crate::DeployError;
use crate::model::{Inputs, ModelInfo};

/// Checks the slices, then calls `run` with batches the network takes and joins what it returns.
///
/// The last batch of a fixed size is filled up with zeros, and what comes out for them is dropped.
pub(super) fn run(
    info: &ModelInfo,
    rgb: &[f32],
    ir: &[f32],
    batch: usize,
    mut run: impl FnMut(&[f32], &[f32], usize) -> Result<Vec<f32>, DeployError>,
) -> Result<Vec<f32>, DeployError> {
    let ir = if info.inputs == Inputs::Pair { ir } else { &[] };
    check(info, rgb, ir, batch)?;
    let fixed = match info.batch {
        Some(fixed) if fixed != batch => fixed,
        _ if batch == 0 => return Ok(Vec::new()),
        _ => return run(rgb, ir, batch),
    };
    let (len, mut out) = (info.input_len(), Vec::with_capacity(batch * info.output_len()));
    for first in (0..batch).step_by(fixed) {
        let here = fixed.min(batch - first);
        let pictures = first * len..(first + here) * len;
        let rgb = padded(&rgb[pictures.clone()], fixed * len);
        let result = match info.inputs {
            Inputs::Pair => run(&rgb, &padded(&ir[pictures], fixed * len), fixed)?,
            Inputs::Single => run(&rgb, &[], fixed)?,
        };
        out.extend_from_slice(&result[..here * info.output_len()]);
    }
    Ok(out)
}

fn check(info: &ModelInfo, rgb: &[f32], ir: &[f32], batch: usize) -> Result<(), DeployError> {
    let expected = batch * info.input_len();
    let given: &[(&'static str, usize)] = match info.inputs {
        Inputs::Pair => &[("rgb", rgb.len()), ("ir", ir.len())],
        Inputs::Single => &[("images", rgb.len())],
    };
    match given.iter().find(|(_, got)| *got != expected) {
        Some(&(input, got)) => Err(DeployError::Input { input, batch, expected, got }),
        None => Ok(()),
    }
}

/// Borrowed where it is whole.
fn padded(part: &[f32], len: usize) -> std::borrow::Cow<'_, [f32]> {
    if part.len() == len {
        return part.into();
    }
    let mut whole = part.to_vec();
    whole.resize(len, 0.0);
    whole.into()
}
