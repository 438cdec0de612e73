//! What travels to the device for one batch: plans, targets and source pixels in one buffer of 32-bit words.

use std::ops::Range;

use yf_data::labels::BoxLabel;

use crate::augment::PLAN_WORDS;
use crate::loss::Targets;
use crate::torch::{Kind, Tensor, TorchError};

/// Where the parts of a batch lie in its buffer, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parcel {
    /// Pictures of the batch.
    pub batch: usize,
    /// Rows of targets a picture.
    pub rows: usize,
    /// Words of source pixels; none where they are on the device already.
    pub pixels: usize,
}

/// The pixels begin at a multiple of this.
const ALIGNMENT: usize = 64;

impl Parcel {
    /// The plans of the sampler.
    pub fn plans(&self) -> Range<usize> {
        0..self.batch * PLAN_WORDS
    }

    fn boxes(&self) -> Range<usize> {
        after(&self.plans(), self.batch * self.rows * 4)
    }

    fn classes(&self) -> Range<usize> {
        after(&self.boxes(), self.batch * self.rows * 2)
    }

    fn mask(&self) -> Range<usize> {
        after(&self.classes(), (self.batch * self.rows).div_ceil(4))
    }

    /// The source pixels.
    pub fn pixels(&self) -> Range<usize> {
        let start = self.mask().end.next_multiple_of(ALIGNMENT);
        start..start + self.pixels
    }

    /// Words of everything.
    pub fn words(&self) -> usize {
        self.pixels().end
    }

    /// Writes targets (on the host) into the buffer.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn write_targets(&self, targets: &Targets, words: &mut [u32]) -> Result<(), TorchError> {
        let boxes = Vec::<f32>::try_from(targets.boxes.f_flatten(0, -1)?)?;
        bytemuck::cast_slice_mut(&mut words[self.boxes()]).copy_from_slice(&boxes);
        let classes = Vec::<i64>::try_from(targets.classes.f_flatten(0, -1)?)?;
        words[self.classes()].copy_from_slice(bytemuck::cast_slice(&classes));
        let mask = Vec::<u8>::try_from(targets.mask.f_to_kind(Kind::Uint8)?.f_flatten(0, -1)?)?;
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words[self.mask()]);
        bytes[..mask.len()].copy_from_slice(&mask);
        Ok(())
    }

    /// The targets in `buffer`, i32 `[words]`, wherever that is; they share its memory.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn targets(&self, buffer: &Tensor) -> Result<Targets, TorchError> {
        let (batch, rows) = (self.batch as i64, self.rows as i64);
        let boxes = part(buffer, self.boxes())?.f_view_dtype(Kind::Float)?.f_view([batch, rows, 4])?;
        let classes = part(buffer, self.classes())?.f_view_dtype(Kind::Int64)?.f_view([batch, rows])?;
        let mask = part(buffer, self.mask())?.f_view_dtype(Kind::Bool)?;
        Ok(Targets { boxes, classes, mask: mask.f_narrow(0, 0, batch * rows)?.f_view([batch, rows])? })
    }
}

/// Words of a buffer; they share its memory.
///
/// # Errors
/// What libtorch reports.
pub fn part(buffer: &Tensor, range: Range<usize>) -> Result<Tensor, TorchError> {
    Ok(buffer.f_narrow(0, range.start as i64, range.len() as i64)?)
}

fn after(range: &Range<usize>, length: usize) -> Range<usize> {
    range.end..range.end + length
}

/// Boxes of each picture of a batch.
pub type Labels = Vec<Vec<BoxLabel>>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::Rows;
    use crate::torch::Device;

    #[test]
    fn targets_come_out_as_they_went_in() {
        let label = |class: usize| BoxLabel { class, cx: 0.5, cy: 0.4, w: 0.2, h: 0.1 };
        let labels = vec![vec![label(1), label(2)], vec![], vec![label(0)]];
        let targets = crate::targets::of(&labels, (64, 64), 3, Rows::of(&labels), Device::Cpu).unwrap();
        let parcel = Parcel { batch: 3, rows: targets.mask.size()[1] as usize, pixels: 5 };
        let mut words = vec![u32::MAX; parcel.words()];
        parcel.write_targets(&targets, &mut words).unwrap();
        let words: Vec<i32> = bytemuck::cast_vec(words);
        let back = parcel.targets(&Tensor::from_slice(&words)).unwrap();
        assert!(back.boxes == targets.boxes && back.classes == targets.classes && back.mask == targets.mask);
        assert_eq!((parcel.pixels().start % ALIGNMENT, parcel.pixels().len()), (0, 5));
    }
}
