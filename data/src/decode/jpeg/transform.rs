//! From coefficients to samples, at the full size of a block of 8 or at a half, a quarter or an eighth of it.
//!
//! A smaller size is exact: it gives the mean of the samples that each of its own stands for, as if they had been
//! computed. For the mean of two neighbours of the cosine of frequency `k` is the cosine of that frequency over half
//! as many samples, times a constant; and where `k` is higher than half as many samples can show, that cosine is one
//! of a lower frequency. So every coefficient is weighted and added to one of fewer [`Slots`], and what remains is a
//! small transform.
//!
//! Eight blocks are transformed at once, each in a lane of its own.

use std::f32::consts::SQRT_2;
use std::f64::consts::PI;

/// Blocks that are transformed at once.
pub const LANES: usize = 8;

/// Coefficients of eight blocks: those of a slot side by side. The first slot of each block begins with [`MIDDLE`].
pub type Blocks = [[i32; LANES]; 64];

/// What a coefficient in [`Blocks`] is counted in: small enough for rounding not to show, large enough for the largest
/// coefficients.
const UNIT: f32 = 1.0 / 16384.0;

/// What a sample is without any coefficient.
const MIDDLE: f32 = 128.0;

/// Row and column of the coefficients, in the order in which they are stored.
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// What a coefficient contributes.
#[derive(Clone, Copy, Default)]
pub struct Share {
    /// The slot that it is added to, below 64.
    pub slot: u32,
    /// What a step of it is worth there.
    pub weight: i32,
}

/// Where the coefficients of a component go.
pub struct Slots {
    /// Samples of a block, across and down: 1, 2, 4 or 8 each.
    pub samples: (usize, usize),
    /// Where coefficients go, in the order in which they are stored.
    pub shares: [Share; 64],
}

impl Slots {
    /// Slots for blocks of so many samples (across, down), 1, 2, 4 or 8 each, whose coefficients have these steps.
    pub fn new(samples: (usize, usize), steps: &[u16; 64]) -> Self {
        let mut shares = [Share::default(); 64];
        for ((share, &at), &step) in shares.iter_mut().zip(&ZIGZAG).zip(steps) {
            let (column, across) = fold(usize::from(at % 8), samples.0);
            let (row, down) = fold(usize::from(at / 8), samples.1);
            let weight = f64::from(step) * across * down / f64::from(UNIT);
            *share = Share { slot: (row * samples.0 + column) as u32, weight: weight.round() as i32 };
        }
        Slots { samples, shares }
    }

    /// Blocks without coefficients.
    pub fn clear(&self, blocks: &mut Blocks) {
        blocks[..self.samples.0 * self.samples.1].fill([0; LANES]);
        blocks[0] = [(MIDDLE / UNIT) as i32; LANES];
    }

    /// Writes the samples of eight blocks side by side into rows of `stride` bytes.
    pub fn transform(&self, blocks: &Blocks, rows: &mut [u8], stride: usize) {
        match self.samples {
            (8, 8) => transform::<8, 8>(blocks, rows, stride),
            (4, 4) => transform::<4, 4>(blocks, rows, stride),
            (8, 4) => transform::<8, 4>(blocks, rows, stride),
            (4, 8) => transform::<4, 8>(blocks, rows, stride),
            (2, 2) => transform::<2, 2>(blocks, rows, stride),
            (4, 2) => transform::<4, 2>(blocks, rows, stride),
            (2, 4) => transform::<2, 4>(blocks, rows, stride),
            (2, 1) => transform::<2, 1>(blocks, rows, stride),
            (1, 2) => transform::<1, 2>(blocks, rows, stride),
            _ => transform::<1, 1>(blocks, rows, stride),
        }
    }
}

/// The frequency of a transform of `samples` that takes over one of a transform of 8, and its weight there.
fn fold(frequency: usize, samples: usize) -> (usize, f64) {
    let (mut slot, mut weight) = (frequency, if frequency == 0 { 0.5 * 0.5f64.sqrt() } else { 0.5 });
    let mut length = 8;
    while length > samples {
        weight *= (slot as f64 * PI / (2 * length) as f64).cos();
        if 2 * slot > length {
            (slot, weight) = (length - slot, -weight);
        } else if 2 * slot == length {
            // Its neighbours cancel each other.
            (slot, weight) = (0, 0.0);
        }
        length /= 2;
    }
    // What the transforms below leave to the weights.
    let scale = match (samples, slot) {
        (8, _) => (slot as f64 * PI / 16.0).cos(),
        (4, 2) | (2, 1) => 0.5f64.sqrt(),
        _ => 1.0,
    };
    (slot, weight * scale)
}

/// `W` samples across and `H` down of each of eight blocks, compiled for what this processor has.
fn transform<const W: usize, const H: usize>(blocks: &Blocks, rows: &mut [u8], stride: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn with_avx2<const W: usize, const H: usize>(blocks: &Blocks, rows: &mut [u8], stride: usize) {
            portable::<W, H>(blocks, rows, stride);
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { with_avx2::<W, H>(blocks, rows, stride) };
        }
    }
    portable::<W, H>(blocks, rows, stride);
}

#[inline(always)]
fn portable<const W: usize, const H: usize>(blocks: &Blocks, rows: &mut [u8], stride: usize) {
    let mut slots = [[0.0; LANES]; 64];
    for (slot, counts) in slots.iter_mut().zip(&blocks[..W * H]) {
        for (slot, &count) in slot.iter_mut().zip(counts) {
            *slot = count as f32 * UNIT;
        }
    }
    for column in 0..W {
        pass::<H>(&mut slots, column, W);
    }
    for row in 0..H {
        pass::<W>(&mut slots, row * W, 1);
        let samples: &[[f32; LANES]] = &slots[row * W..][..W];
        let out = &mut rows[row * stride..][..W * LANES];
        for (lane, out) in out.as_chunks_mut::<W>().0.iter_mut().enumerate() {
            for (x, out) in out.iter_mut().enumerate() {
                *out = byte(samples[x][lane]);
            }
        }
    }
}

/// To the nearest of 0 to 255: in a sum with 2^23 the lowest bits are those of the integer.
#[inline(always)]
pub fn byte(sample: f32) -> u8 {
    (sample.clamp(0.0, 255.0) + 8_388_608.0).to_bits() as u8
}

/// A transform of `N` slots, `step` apart from `first` on, in place and in all lanes.
#[inline(always)]
fn pass<const N: usize>(slots: &mut [[f32; LANES]; 64], first: usize, step: usize) {
    #[allow(clippy::needless_range_loop, reason = "a lane goes through many slots")]
    for lane in 0..LANES {
        let at = |i: usize| (first + i * step) & 63;
        let mut s = [0.0; N];
        for (i, s) in s.iter_mut().enumerate() {
            *s = slots[at(i)][lane];
        }
        cosines::<N>(&mut s);
        for (i, s) in s.iter().enumerate() {
            slots[at(i)][lane] = *s;
        }
    }
}

/// Sample `x` becomes the sum over `k` of `s[k] * cos((2 x + 1) k pi / (2 N))`, but for what [`fold`] did before.
#[inline(always)]
fn cosines<const N: usize>(s: &mut [f32]) {
    match N {
        8 => eight(s),
        4 => four(s),
        2 => (s[0], s[1]) = (s[0] + s[1], s[0] - s[1]),
        _ => {}
    }
}

#[inline(always)]
fn four(s: &mut [f32]) {
    /// cos(pi / 8) and cos(3 pi / 8).
    const C: [f32; 2] = [0.923_879_5, 0.382_683_43];
    let (even, odd) = ([s[0] + s[2], s[0] - s[2]], [C[0] * s[1] + C[1] * s[3], C[1] * s[1] - C[0] * s[3]]);
    (s[0], s[1], s[2], s[3]) = (even[0] + odd[0], even[1] + odd[1], even[1] - odd[1], even[0] - odd[0]);
}

/// The factorisation of Arai, Agui and Nakajima.
#[inline(always)]
fn eight(s: &mut [f32]) {
    let (sum, difference, outer) = (s[0] + s[4], s[0] - s[4], s[2] + s[6]);
    let inner = (s[2] - s[6]) * SQRT_2 - outer;
    let even = [sum + outer, difference + inner, difference - inner, sum - outer];

    let (z10, z11, z12, z13) = (s[5] - s[3], s[1] + s[7], s[1] - s[7], s[5] + s[3]);
    let z5 = (z10 + z12) * 1.847_759;
    let odd0 = z11 + z13;
    let odd1 = z5 - z10 * 2.613_126 - odd0;
    let odd2 = (z11 - z13) * SQRT_2 - odd1;
    let odd3 = z5 - z12 * 1.082_392_2 - odd2;
    let odd = [odd0, odd1, odd2, odd3];
    for i in 0..4 {
        (s[i], s[7 - i]) = (even[i] + odd[i], even[i] - odd[i]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The samples of a block, by the formula of the standard.
    fn block(coefficients: &[i32; 64], steps: &[u16; 64]) -> [[f64; 8]; 8] {
        let mut samples = [[128.0; 8]; 8];
        for (i, &at) in ZIGZAG.iter().enumerate() {
            let (u, v) = (f64::from(at % 8), f64::from(at / 8));
            let scale = |k: f64| if k == 0.0 { 0.5f64.sqrt() } else { 1.0 };
            let value = 0.25 * scale(u) * scale(v) * f64::from(coefficients[i]) * f64::from(steps[i]);
            for (y, row) in samples.iter_mut().enumerate() {
                for (x, sample) in row.iter_mut().enumerate() {
                    let cosine = |x: usize, k: f64| ((2 * x + 1) as f64 * k * PI / 16.0).cos();
                    *sample += value * cosine(x, u) * cosine(y, v);
                }
            }
        }
        samples
    }

    #[test]
    fn samples_are_the_means_of_those_that_they_stand_for() {
        let steps: [u16; 64] = std::array::from_fn(|i| 1 + i as u16 % 3);
        let coefficients: [[i32; 64]; LANES] = std::array::from_fn(|lane| {
            let value = |i: usize| (i as i32 * 37 + lane as i32 * 11) % 23 - 11;
            std::array::from_fn(|i| if i == 0 { 40 } else { value(i) / (1 + i as i32 / 8) })
        });
        for samples in [(8, 8), (4, 4), (8, 4), (4, 8), (2, 2), (4, 2), (2, 4), (1, 1), (2, 1), (1, 2)] {
            let slots = Slots::new(samples, &steps);
            let mut blocks = [[7; LANES]; 64];
            slots.clear(&mut blocks);
            for (lane, coefficients) in coefficients.iter().enumerate() {
                for (share, &value) in slots.shares.iter().zip(coefficients) {
                    blocks[share.slot as usize][lane] += value * share.weight;
                }
            }
            let stride = samples.0 * LANES + 3;
            let mut rows = vec![0; samples.1 * stride];
            slots.transform(&blocks, &mut rows, stride);
            let (across, down) = (8 / samples.0, 8 / samples.1);
            for (lane, coefficients) in coefficients.iter().enumerate() {
                let whole = block(coefficients, &steps);
                for y in 0..samples.1 {
                    for x in 0..samples.0 {
                        let of = |y: usize| whole[y][x * across..][..across].iter().sum::<f64>();
                        let sum: f64 = (y * down..(y + 1) * down).map(of).sum();
                        let mean = (sum / (across * down) as f64).clamp(0.0, 255.0);
                        let found = f64::from(rows[y * stride + lane * samples.0 + x]);
                        assert!((mean - found).abs() < 0.502, "{samples:?} {x} {y}: {found}, not {mean}");
                    }
                }
            }
        }
    }
}
