//! Baseline JPEG, decoded at full size or straight to a half, a quarter or an eighth of it.
//!
//! Deployed pictures are large and networks' inputs small: of a picture that is shrunk anyway, most samples need not be
//! computed. What is decoded here is what cameras write: 8 bits, Huffman codes, one scan, grey or Y Cb Cr. Whatever else
//! comes, and whatever is damaged, is answered with `None`, so that a decoder that knows more judges it.

use super::colour::rgb_row;
use super::plane::Plane;
use super::segments::Segments;
use super::stream::{Bits, Stream};
use super::transform::LANES;
use crate::picture::Picture;

/// A picture of `C` channels, 1 (luma) or 3 (RGB), each side divided by `divisor`: 1, 2, 4 or 8. Each pixel is the mean
/// of those that it stands for. `size` (width, height) is the size that was read before, both multiples of the divisor.
pub fn decode<const C: usize>(bytes: &[u8], size: (usize, usize), divisor: usize) -> Option<Picture<C>> {
    let segments = Segments::read(bytes)?;
    let (width, height) = segments.size;
    if segments.size != size || width % divisor != 0 || height % divisor != 0 {
        return None;
    }
    let stream = Stream::read(segments.scan)?;
    let mut decoder = Decoder::new(&segments, &stream, divisor, C)?;
    let mut picture = Picture::filled(width / divisor, height / divisor, [0; C]);
    fast(&mut decoder, &mut picture)?;
    Some(picture)
}

/// [`Decoder::run`], compiled for what this processor has.
fn fast<const C: usize>(decoder: &mut Decoder, picture: &mut Picture<C>) -> Option<()> {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,bmi1,bmi2")]
        fn with_avx2<const C: usize>(decoder: &mut Decoder, picture: &mut Picture<C>) -> Option<()> {
            decoder.run(picture)
        }
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
        {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { with_avx2(decoder, picture) };
        }
    }
    decoder.run(picture)
}

/// A decoder between two minimal coded units.
struct Decoder<'a> {
    stream: &'a Stream,
    bits: Bits<'a>,
    interval: usize,
    /// Minimal coded units between restarts, and those left until the next.
    restart: usize,
    until_restart: usize,
    planes: Vec<Plane<'a>>,
    /// Minimal coded units across and down.
    units: (usize, usize),
    /// Rows of the picture that a row of units makes.
    rows: usize,
}

impl<'a> Decoder<'a> {
    fn new(segments: &'a Segments, stream: &'a Stream, divisor: usize, channels: usize) -> Option<Self> {
        let most = |side: fn((usize, usize)) -> usize| {
            segments.components.iter().map(|component| side(component.blocks)).max()
        };
        let (across, down) = (most(|blocks| blocks.0)?, most(|blocks| blocks.1)?);
        let units = (segments.size.0.div_ceil(8 * across), segments.size.1.div_ceil(8 * down));
        let planes = segments.components.iter().enumerate().map(|(i, component)| {
            let kept = i == 0 || channels == 3;
            let (wide, tall) = if kept {
                (sampling(across, component.blocks.0, divisor)?, sampling(down, component.blocks.1, divisor)?)
            } else {
                // What is not kept may be of any size.
                ((1, 1), (1, 1))
            };
            Plane::new(component, (wide.0, tall.0), (wide.1, tall.1), units.0, kept)
        });
        let planes = planes.collect::<Option<Vec<_>>>()?;
        let all = units.0 * units.1;
        let intervals = if segments.restart == 0 { 1 } else { all.div_ceil(segments.restart) };
        (stream.intervals() == intervals).then(|| Decoder {
            stream,
            bits: stream.bits(0),
            interval: 0,
            restart: segments.restart,
            until_restart: if segments.restart == 0 { usize::MAX } else { segments.restart },
            planes,
            units,
            rows: 8 * down / divisor,
        })
    }

    #[inline(always)]
    fn run<const C: usize>(&mut self, picture: &mut Picture<C>) -> Option<()> {
        let (stride, height) = (picture.width * C, picture.height);
        let waiting = usize::from(self.planes.iter().any(Plane::waits));
        let mut lines = picture.pixels.chunks_exact_mut(stride).enumerate();
        for row in 0..self.units.1 {
            for first in (0..self.units.0).step_by(LANES) {
                self.planes.iter_mut().for_each(Plane::clear);
                for unit in first..self.units.0.min(first + LANES) {
                    self.unit(unit - first)?;
                }
                self.planes.iter_mut().for_each(|plane| plane.transform(first));
            }
            let (start, end) = (row * self.rows, (row + 1) * self.rows);
            let ready = if row + 1 == self.units.1 { height } else { end - waiting };
            let made = start.saturating_sub(waiting);
            for (y, line) in lines.by_ref().take(ready - made) {
                self.emit::<C>(y as isize - start as isize, (y == 0, y + 1 == height), line);
            }
            self.planes.iter_mut().for_each(Plane::keep_last_row);
        }
        self.bits.is_over().then_some(())
    }

    /// Reads a minimal coded unit, the `lane`th of eight.
    #[inline(always)]
    fn unit(&mut self, lane: usize) -> Option<()> {
        if self.until_restart == 0 {
            if !self.bits.is_over() {
                return None;
            }
            self.interval += 1;
            self.bits = self.stream.bits(self.interval);
            self.planes.iter_mut().for_each(Plane::restart);
            self.until_restart = self.restart;
        }
        self.until_restart -= 1;
        // In registers, not in memory.
        let mut bits = self.bits;
        for plane in &mut self.planes {
            plane.read(&mut bits, lane)?;
        }
        self.bits = bits;
        (!self.bits.is_overrun()).then_some(())
    }

    /// Pixels of row `y` of a row of units, -1 the last of the one before, and whether it is the picture's first or last.
    #[inline(always)]
    fn emit<const C: usize>(&mut self, y: isize, ends: (bool, bool), line: &mut [u8]) {
        let width = line.len() / C;
        let kept = if C == 1 { 1 } else { self.planes.len() };
        self.planes[..kept].iter_mut().for_each(|plane| plane.make_line(y, width, ends));
        match (C, self.planes.as_slice()) {
            (3, [luma, blue, red]) => rgb_row([luma, blue, red].map(|plane| plane.line(y, width)), line),
            (3, [luma, ..]) => {
                for (pixel, &grey) in line.as_chunks_mut::<3>().0.iter_mut().zip(luma.line(y, width)) {
                    *pixel = [grey; 3];
                }
            }
            (_, planes) => line.copy_from_slice(planes[0].line(y, width)),
        }
    }
}

/// On one side, how many samples a block is to have, 1, 2, 4 or 8, and how many pixels each of them is, 1 or 2. Chroma
/// has fewer blocks than the `most` of a unit, and so either more samples of each or larger ones.
fn sampling(most: usize, blocks: usize, divisor: usize) -> Option<(usize, usize)> {
    let pixels = 8 * most / (divisor * blocks.max(1));
    if pixels * divisor * blocks != 8 * most {
        return None;
    }
    match pixels {
        1 | 2 | 4 | 8 => Some((pixels, 1)),
        16 => Some((8, 2)),
        _ => None,
    }
}
