//! A component on its way from bits to rows of samples.

use super::coefficients::{Coefficients, Lane};
use super::enlarge::{between, widen};
use super::segments::Component;
use super::stream::Bits;
use super::transform::{Blocks, LANES, Slots};

/// A component, decoded by rows of minimal coded units.
pub struct Plane<'a> {
    coefficients: Coefficients<'a>,
    /// Blocks in a minimal coded unit, across and down.
    unit: (usize, usize),
    slots: Slots,
    /// Pixels of a sample, across and down: 1 or 2.
    scale: (usize, usize),
    /// Whether its samples are wanted.
    kept: bool,
    /// Coefficients of eight units: by row of blocks, then by eight blocks.
    blocks: Vec<Blocks>,
    /// The last row of samples of the row of units before, then those of this one.
    samples: Vec<u8>,
    stride: usize,
    /// Rows of samples in a row of units.
    rows: usize,
    /// A row of samples for each row of pixels, and one for each pixel.
    tall: Vec<u8>,
    wide: Vec<u8>,
}

impl<'a> Plane<'a> {
    /// A component of blocks of `samples` (across, down), each sample `scale` pixels, in rows of `units`. One that is not
    /// `kept` is only read.
    pub fn new(
        component: &'a Component,
        samples: (usize, usize),
        scale: (usize, usize),
        units: usize,
        kept: bool,
    ) -> Option<Self> {
        let (across, down) = component.blocks;
        let stride = units.next_multiple_of(LANES) * across * samples.0;
        let rows = down * samples.1;
        Some(Plane {
            coefficients: Coefficients::new(component)?,
            unit: component.blocks,
            slots: Slots::new(samples, &component.steps),
            scale,
            kept,
            blocks: vec![[[0; LANES]; 64]; if kept { across * down } else { 1 }],
            samples: vec![0; if kept { stride * (1 + rows) } else { 0 }],
            stride,
            rows,
            tall: vec![0; if kept && scale.1 > 1 { stride } else { 0 }],
            wide: vec![0; if kept && scale.0 > 1 { stride * scale.0 } else { 0 }],
        })
    }

    /// Whether the last row of pixels waits for the next row of units.
    pub fn waits(&self) -> bool {
        self.kept && self.scale.1 > 1
    }

    /// The next block counts from zero.
    pub fn restart(&mut self) {
        self.coefficients.restart();
    }

    /// Before eight units are read.
    #[inline(always)]
    pub fn clear(&mut self) {
        if self.kept {
            self.blocks.iter_mut().for_each(|blocks| self.slots.clear(blocks));
        }
    }

    /// Reads the blocks of a minimal coded unit, the `lane`th of eight; `None` where there is damage.
    #[inline(always)]
    pub fn read(&mut self, bits: &mut Bits, lane: usize) -> Option<()> {
        let (across, down) = self.unit;
        for row in 0..down {
            for column in 0..across {
                let block = lane * across + column;
                let group = if self.kept { row * across + block / LANES } else { 0 };
                let shares = &self.slots.shares;
                let into = Lane { blocks: &mut self.blocks[group], lane: block % LANES, shares };
                match self.kept {
                    true => self.coefficients.block::<true>(bits, into)?,
                    false => self.coefficients.block::<false>(bits, into)?,
                }
            }
        }
        Some(())
    }

    /// Samples of the eight units that were read, of which `unit` is the first in its row.
    #[inline(always)]
    pub fn transform(&mut self, unit: usize) {
        if !self.kept {
            return;
        }
        let (across, (width, height)) = (self.unit.0, self.slots.samples);
        for (i, blocks) in self.blocks.iter().enumerate() {
            let row = 1 + i / across * height;
            let column = (unit * across + i % across * LANES) * width;
            self.slots.transform(blocks, &mut self.samples[row * self.stride + column..], self.stride);
        }
    }

    /// After the last pixels that need no further row of units.
    pub fn keep_last_row(&mut self) {
        if self.kept {
            self.samples.copy_within(self.rows * self.stride.., 0);
        }
    }

    /// Makes row `y` of the pixels of a row of units, `width` of them; -1 is the last of the row of units before. `first`
    /// and `last` say whether it is the picture's.
    #[inline(always)]
    pub fn make_line(&mut self, y: isize, width: usize, (first, last): (bool, bool)) {
        let samples = width.div_ceil(self.scale.0);
        let at = |row: isize| (row + 1).clamp(0, self.rows as isize) as usize * self.stride;
        if self.scale.1 > 1 {
            let near = y.div_euclid(2);
            let far = if y.rem_euclid(2) == 0 { near - 1 } else { near + 1 };
            let far = if first || last { near } else { far };
            let (near, far) = (&self.samples[at(near)..][..samples], &self.samples[at(far)..][..samples]);
            between(near, far, &mut self.tall[..samples]);
        }
        if self.scale.0 > 1 {
            let row = if self.scale.1 > 1 { &self.tall } else { &self.samples[at(y)..] };
            widen(&row[..samples], &mut self.wide[..width]);
        }
    }

    /// The row of `width` samples that was made of row `y`.
    #[inline(always)]
    pub fn line(&self, y: isize, width: usize) -> &[u8] {
        match self.scale {
            (1, 1) => &self.samples[(y + 1) as usize * self.stride..][..width],
            (1, _) => &self.tall[..width],
            _ => &self.wide[..width],
        }
    }
}
