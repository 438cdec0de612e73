//! What is to be found in a batch, in tensors of a shape that does not depend on how many boxes there are.

use thiserror::Error;

use crate::torch::{Device, Kind, Tensor, TorchError};

/// A labelled box: its class, and centre x, centre y, width and height, each 0 to 1 of the picture.
pub type Label = (i64, [f32; 4]);

/// A label that no loss can be computed against.
#[derive(Debug, Error, PartialEq)]
pub enum TargetsError {
    /// The class index is outside the network's classes.
    #[error(
        "picture {picture} of the batch, label {label}: class {class} is outside 0..{classes}; names in data.yaml and labels disagree"
    )]
    Class {
        /// Index of the picture in its batch.
        picture: usize,
        /// Index of the label in its picture.
        label: usize,
        /// The class found.
        class: i64,
        /// How many classes there are.
        classes: i64,
    },
    /// A coordinate is NaN or infinite, or a size is negative.
    #[error("picture {picture} of the batch, label {label}: {numbers:?} is no box; run `yf data check`")]
    Box {
        /// Index of the picture in its batch.
        picture: usize,
        /// Index of the label in its picture.
        label: usize,
        /// Centre x, centre y, width, height as found.
        numbers: [f32; 4],
    },
}

/// The boxes of a batch, padded to M a picture so that shapes stay the same from step to step.
#[derive(Debug)]
pub struct Targets {
    /// float [B, M, 4]: x1, y1, x2, y2 in input pixels; zeros where padded.
    pub boxes: Tensor,
    /// i64 [B, M]: class index; zero where padded.
    pub classes: Tensor,
    /// bool (or 0 and 1) [B, M]: true where there is a box.
    pub mask: Tensor,
}

impl Targets {
    /// From the labels of each picture, on `device`, for an input of `size` (height, width) in pixels.
    ///
    /// M is the largest number of boxes in a picture, rounded up to a multiple of `rows` and at least
    /// `rows`: with 16, a run sees a handful of shapes; with 1, there is no more padding than needed.
    pub fn from_labels(
        labels: &[Vec<Label>],
        size: (i64, i64),
        classes: i64,
        rows: usize,
        device: Device,
    ) -> Result<Self, TargetsError> {
        let rows = rows.max(1);
        let most = labels.iter().map(Vec::len).max().unwrap_or(0);
        let m = most.max(1).next_multiple_of(rows);
        let mut boxes = vec![0f32; labels.len() * m * 4];
        let mut class_of = vec![0i64; labels.len() * m];
        let mut mask = vec![false; labels.len() * m];
        for (picture, of_picture) in labels.iter().enumerate() {
            for (label, &(class, numbers)) in of_picture.iter().enumerate() {
                if !(0..classes).contains(&class) {
                    return Err(TargetsError::Class { picture, label, class, classes });
                }
                if numbers.iter().any(|n| !n.is_finite()) || numbers[2] < 0.0 || numbers[3] < 0.0 {
                    return Err(TargetsError::Box { picture, label, numbers });
                }
                let row = picture * m + label;
                boxes[row * 4..row * 4 + 4].copy_from_slice(&corners(numbers, size));
                class_of[row] = class;
                mask[row] = true;
            }
        }
        let shape = [labels.len() as i64, m as i64];
        Ok(Self {
            boxes: Tensor::from_slice(&boxes).reshape([shape[0], shape[1], 4]).to_device(device),
            classes: Tensor::from_slice(&class_of).reshape(shape).to_device(device),
            mask: Tensor::from_slice(&mask).reshape(shape).to_device(device),
        })
    }

    /// Targets for `batch` pictures in which there is nothing, with `m` rows of padding a picture.
    pub fn none(batch: i64, m: i64, device: Device) -> Self {
        Self {
            boxes: Tensor::zeros([batch, m, 4], (Kind::Float, device)),
            classes: Tensor::zeros([batch, m], (Kind::Int64, device)),
            mask: Tensor::zeros([batch, m], (Kind::Bool, device)),
        }
    }

    /// A copy that shares nothing.
    pub fn copy(&self) -> Self {
        Self { boxes: self.boxes.copy(), classes: self.classes.copy(), mask: self.mask.copy() }
    }

    /// Overwrites these with others of the same shape.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn fill_from(&self, from: &Targets) -> Result<(), TorchError> {
        for (to, from) in
            [(&self.boxes, &from.boxes), (&self.classes, &from.classes), (&self.mask, &from.mask)]
        {
            to.shallow_clone().f_copy_(from)?;
        }
        Ok(())
    }

    /// The same targets on another device.
    pub fn to_device(&self, device: Device) -> Self {
        Self {
            boxes: self.boxes.to_device(device),
            classes: self.classes.to_device(device),
            mask: self.mask.to_device(device),
        }
    }
}

/// x1, y1, x2, y2 in pixels of a box given by centre and size in parts of the picture (height, width).
fn corners([cx, cy, w, h]: [f32; 4], (height, width): (i64, i64)) -> [f32; 4] {
    let (cx, w) = (cx * width as f32, w * width as f32);
    let (cy, h) = (cy * height as f32, h * height as f32);
    [cx - w / 2.0, cy - h / 2.0, cx + w / 2.0, cy + h / 2.0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_to_a_multiple_and_scales_to_pixels() {
        let labels = [vec![(2, [0.5, 0.5, 0.5, 0.25]); 3], vec![]];
        let targets = Targets::from_labels(&labels, (320, 640), 3, 8, Device::Cpu).unwrap();
        assert_eq!(targets.boxes.size(), [2, 8, 4]);
        let first = Vec::<f32>::try_from(targets.boxes.get(0).get(0)).unwrap();
        assert_eq!(first, [160., 120., 480., 200.]);
        assert_eq!(targets.classes.int64_value(&[0, 2]), 2);
        assert_eq!(targets.mask.sum(Kind::Int64).int64_value(&[]), 3);
        let empty = Targets::from_labels(&[vec![], vec![]], (320, 640), 3, 8, Device::Cpu).unwrap();
        assert_eq!(empty.boxes.size(), [2, 8, 4]);
    }

    #[test]
    fn refuses_what_is_no_label() {
        let of =
            |label| Targets::from_labels(&[vec![], vec![label]], (64, 64), 3, 8, Device::Cpu).unwrap_err();
        assert_eq!(of((3, [0.5; 4])), TargetsError::Class { picture: 1, label: 0, class: 3, classes: 3 });
        assert!(matches!(of((-1, [0.5; 4])), TargetsError::Class { .. }));
        assert!(matches!(of((0, [0.5, f32::NAN, 0.5, 0.5])), TargetsError::Box { picture: 1, label: 0, .. }));
        assert!(matches!(of((0, [0.5, 0.5, -0.5, 0.5])), TargetsError::Box { .. }));
    }
}
