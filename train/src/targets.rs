//! Labels become the loss's padded targets.

use yf_data::labels::BoxLabel;

use crate::Error;
use crate::loss::{Label, Targets};
use crate::torch::Device;

/// Rows of a picture's targets are a multiple of this.
const STEP: usize = 16;

/// Every batch may have this many rows though it needs fewer: equal shapes are worth more than short ones.
const CHEAP: usize = 64;

/// Pictures in a mosaic.
const MOSAIC: usize = 4;

/// How many rows the targets of a run's batches are padded to: few sizes, for each is recorded as a graph of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    least: usize,
}

impl Rows {
    /// For pictures with these labels, alone or four to a mosaic.
    pub fn of(labels: &[Vec<BoxLabel>]) -> Self {
        let most = labels.iter().map(Vec::len).max().unwrap_or(0);
        Rows { least: (MOSAIC * most).clamp(1, CHEAP).next_multiple_of(STEP) }
    }

    /// Rows of a batch whose pictures have at most `most` boxes.
    fn padded(self, most: usize) -> usize {
        if most <= self.least { self.least } else { most.next_power_of_two() }
    }
}

/// Targets of a batch whose pictures are `(height, width)`.
///
/// # Errors
/// A box that is not one.
pub fn of(
    labels: &[Vec<BoxLabel>],
    size: (usize, usize),
    classes: usize,
    rows: Rows,
    device: Device,
) -> Result<Targets, Error> {
    let of_picture = |boxes: &Vec<BoxLabel>| -> Vec<Label> {
        boxes.iter().map(|b| (b.class as i64, [b.cx, b.cy, b.w, b.h])).collect()
    };
    let most = labels.iter().map(Vec::len).max().unwrap_or(0);
    let labels: Vec<Vec<Label>> = labels.iter().map(of_picture).collect();
    let size = (size.0 as i64, size.1 as i64);
    Targets::from_labels(&labels, size, classes as i64, rows.padded(most), device).map_err(Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_boxes_are_one_size_and_many_are_powers_of_two() {
        let with = |counts: &[usize]| {
            let label = BoxLabel { class: 0, cx: 0.5, cy: 0.5, w: 0.1, h: 0.1 };
            Rows::of(&counts.iter().map(|&n| vec![label; n]).collect::<Vec<_>>())
        };
        assert_eq!([0, 3, 12].map(|most| with(&[3, 0, 1]).padded(most)), [16; 3]);
        assert_eq!([1, 64, 65, 200].map(|most| with(&[50]).padded(most)), [64, 64, 128, 256]);
        assert_eq!(with(&[]).padded(0), 16);
    }
}
