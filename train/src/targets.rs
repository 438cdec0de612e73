//! Labels become the loss's padded targets.

use yf_data::labels::BoxLabel;

use crate::Error;
use crate::loss::{Label, Targets};
use crate::torch::Device;

/// Rows of a picture are padded to a multiple of this, so that shapes seldom change from batch to batch.
const ROWS: usize = 16;

/// Targets of a batch whose pictures are `(height, width)`.
///
/// # Errors
/// A box that is not one.
pub fn of(
    labels: &[Vec<BoxLabel>],
    size: (usize, usize),
    classes: usize,
    device: Device,
) -> Result<Targets, Error> {
    let of_picture = |boxes: &Vec<BoxLabel>| -> Vec<Label> {
        boxes.iter().map(|b| (b.class as i64, [b.cx, b.cy, b.w, b.h])).collect()
    };
    let labels: Vec<Vec<Label>> = labels.iter().map(of_picture).collect();
    let size = (size.0 as i64, size.1 as i64);
    Targets::from_labels(&labels, size, classes as i64, ROWS, device).map_err(Error::from)
}
