//! Two pictures of one scene that are painted on together, with smooth edges.

use super::shapes::Form;
use crate::picture::{Pair, Picture};
use crate::random::Random;

/// How something looks to both cameras.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) rgb: [u8; 3],
    pub(super) ir: u8,
    /// How much of it each camera sees, 0..1: RGB, infrared.
    pub(super) seen: [f32; 2],
}

impl Look {
    /// Something that both cameras see.
    pub(super) fn opaque(rgb: [u8; 3], ir: u8) -> Self {
        Self { rgb, ir, seen: [1.0; 2] }
    }
}

/// An empty pair to paint on.
pub(super) fn blank(width: usize, height: usize) -> Pair {
    Pair { rgb: Picture::filled(width, height, [0; 3]), ir: Picture::filled(width, height, [0]) }
}

/// Paints a form over what is there, its edge blended over one pixel.
pub(super) fn paint(pair: &mut Pair, form: &Form, look: &Look) {
    let (width, height) = (pair.rgb.width, pair.rgb.height);
    let [x1, y1, x2, y2] = form.bounds();
    let columns = pixels(x1, x2, width);
    for y in pixels(y1, y2, height) {
        for x in columns.clone() {
            let coverage = (0.5 - form.distance([x as f32 + 0.5, y as f32 + 0.5])).clamp(0.0, 1.0);
            if coverage > 0.0 {
                blend(pair, y * width + x, look, coverage);
            }
        }
    }
}

/// The pixels that an interval touches, within the picture.
fn pixels(low: f32, high: f32, side: usize) -> std::ops::Range<usize> {
    let low = (low - 0.5).floor().max(0.0) as usize;
    let high = ((high + 0.5).ceil().max(0.0) as usize).min(side);
    low.min(high)..high
}

fn blend(pair: &mut Pair, pixel: usize, look: &Look, coverage: f32) {
    let mix = |below: &mut u8, above: u8, seen: f32| {
        let share = coverage * seen;
        *below = (f32::from(*below) * (1.0 - share) + f32::from(above) * share + 0.5) as u8;
    };
    for (below, above) in pair.rgb.pixels[3 * pixel..3 * pixel + 3].iter_mut().zip(look.rgb) {
        mix(below, above, look.seen[0]);
    }
    mix(&mut pair.ir.pixels[pixel], look.ir, look.seen[1]);
}

/// Smooth random relief: values at the crossings of a grid, blended in between.
pub(super) struct Relief {
    columns: usize,
    cell: f32,
    values: Vec<f32>,
}

impl Relief {
    /// A relief over a picture with crossings every `cell` pixels, values -1..1.
    pub(super) fn new(random: &mut Random, width: f32, height: f32, cell: f32) -> Self {
        let columns = (width / cell) as usize + 2;
        let rows = (height / cell) as usize + 2;
        let values = (0..columns * rows).map(|_| random.range(-1.0, 1.0)).collect();
        Self { columns, cell, values }
    }

    /// Adds row `y`, times `strength`, to `row`.
    pub(super) fn add_row(&self, y: usize, strength: f32, row: &mut [f32]) {
        let y = y as f32 / self.cell;
        let (top, below) = (y as usize, y.fract());
        let above = &self.values[top * self.columns..(top + 1) * self.columns];
        let under = &self.values[(top + 1) * self.columns..(top + 2) * self.columns];
        let blended: Vec<f32> =
            above.iter().zip(under).map(|(a, b)| strength * (a + (b - a) * below)).collect();
        let step = 1.0 / self.cell;
        for (x, value) in row.iter_mut().enumerate() {
            let x = x as f32 * step;
            let (left, right) = (x as usize, x.fract());
            *value += blended[left] + (blended[left + 1] - blended[left]) * right;
        }
    }
}
