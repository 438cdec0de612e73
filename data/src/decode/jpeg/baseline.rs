//! Baseline JPEG, decoded at full size or straight to a half, a quarter or an eighth of it.
//!
//! Deployed pictures are large and networks' inputs small: of a picture that is shrunk anyway, most samples need not be
//! computed. What is decoded here is what cameras write: 8 bits, Huffman codes, one scan, grey or Y Cb Cr. Whatever else
//! comes, and whatever is damaged, is answered with `None`, so that a decoder that knows more judges it.

use super::colour::rgb_row;
use super::huffman::{Codes, END, ENTRIES, Look, look};
use super::segments::{Component, Segments};
use super::stream::{Bits, Stream};
use super::transform::{Blocks, LANES, Share, Slots};
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

/// A component on its way from bits to samples.
struct Plane<'a> {
    /// Blocks in a minimal coded unit, across and down.
    unit: (usize, usize),
    dc: Reader<'a>,
    ac: Reader<'a>,
    slots: Slots,
    /// Whether its samples are wanted.
    kept: bool,
    /// The first coefficient of the block before, in steps.
    first: i32,
    /// Coefficients of eight units: by row of blocks, then by eight blocks.
    blocks: Vec<Blocks>,
    /// Samples of a row of units.
    samples: Vec<u8>,
    stride: usize,
}

impl<'a> Decoder<'a> {
    fn new(segments: &'a Segments, stream: &'a Stream, divisor: usize, channels: usize) -> Option<Self> {
        let most = |side: fn((usize, usize)) -> usize| {
            segments.components.iter().map(|component| side(component.blocks)).max()
        };
        let (across, down) = (most(|blocks| blocks.0)?, most(|blocks| blocks.1)?);
        let unit = (8 * across, 8 * down);
        let units = (segments.size.0.div_ceil(unit.0), segments.size.1.div_ceil(unit.1));
        let planes = segments.components.iter().enumerate().map(|(i, component)| {
            // Chroma of fewer blocks has more samples of each.
            let samples = |most: usize, blocks: usize| {
                let samples = 8 * most / (divisor * blocks.max(1));
                let whole = samples * divisor * blocks == 8 * most && matches!(samples, 1 | 2 | 4 | 8);
                whole.then_some(samples)
            };
            let kept = i == 0 || channels == 3;
            let blocks = component.blocks;
            // What is not kept may be of any size.
            let samples = if kept { (samples(across, blocks.0)?, samples(down, blocks.1)?) } else { (1, 1) };
            Plane::new(component, samples, kept, units.0)
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
        let stride = picture.width * C;
        for rows in picture.pixels.chunks_mut(self.rows * stride) {
            for first in (0..self.units.0).step_by(LANES) {
                let units = first..self.units.0.min(first + LANES);
                self.planes.iter_mut().for_each(Plane::clear);
                for unit in units {
                    self.unit(unit - first)?;
                }
                self.planes.iter_mut().for_each(|plane| plane.transform(first));
            }
            for (y, row) in rows.chunks_exact_mut(stride).enumerate() {
                self.emit::<C>(y, row);
            }
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
            self.planes.iter_mut().for_each(|plane| plane.first = 0);
            self.until_restart = self.restart;
        }
        self.until_restart -= 1;
        for plane in &mut self.planes {
            self.bits = plane.unit(self.bits, lane)?;
        }
        (!self.bits.is_overrun()).then_some(())
    }

    /// Row `y` of a row of units, as pixels.
    #[inline(always)]
    fn emit<const C: usize>(&self, y: usize, row: &mut [u8]) {
        let width = row.len() / C;
        match (C, self.planes.as_slice()) {
            (3, [luma, blue, red]) => rgb_row([luma, blue, red].map(|plane| plane.line(y, width)), row),
            (3, [luma, ..]) => {
                for (pixel, &grey) in row.as_chunks_mut::<3>().0.iter_mut().zip(luma.line(y, width)) {
                    *pixel = [grey; 3];
                }
            }
            (_, planes) => row.copy_from_slice(planes[0].line(y, width)),
        }
    }
}

impl<'a> Plane<'a> {
    fn new(component: &'a Component, samples: (usize, usize), kept: bool, units: usize) -> Option<Self> {
        let (across, down) = component.blocks;
        if !(1..=4).contains(&across) || !(1..=4).contains(&down) {
            return None;
        }
        let stride = units.next_multiple_of(LANES) * across * samples.0;
        Some(Plane {
            unit: component.blocks,
            dc: Reader::new(&component.dc)?,
            ac: Reader::new(&component.ac)?,
            slots: Slots::new(samples, &component.steps),
            kept,
            first: 0,
            blocks: vec![[[0; LANES]; 64]; if kept { across * down } else { 1 }],
            samples: vec![0; if kept { stride * down * samples.1 } else { 0 }],
            stride,
        })
    }

    #[inline(always)]
    fn clear(&mut self) {
        if self.kept {
            self.blocks.iter_mut().for_each(|blocks| self.slots.clear(blocks));
        }
    }

    /// Samples of eight units, of which `unit` is the first in its row.
    #[inline(always)]
    fn transform(&mut self, unit: usize) {
        if !self.kept {
            return;
        }
        let (across, height) = (self.unit.0, self.slots.samples.1);
        let wide = LANES * self.slots.samples.0;
        for (i, blocks) in self.blocks.iter().enumerate() {
            let column = unit * across * self.slots.samples.0 + i % across * wide;
            let rows = &mut self.samples[i / across * height * self.stride + column..];
            self.slots.transform(blocks, rows, self.stride);
        }
    }

    /// The first `width` samples of row `y`.
    fn line(&self, y: usize, width: usize) -> &[u8] {
        &self.samples[y * self.stride..][..width]
    }

    /// Reads the blocks of a minimal coded unit, the `lane`th of eight, and says what follows them.
    #[inline(always)]
    fn unit(&mut self, mut bits: Bits<'a>, lane: usize) -> Option<Bits<'a>> {
        let (across, down) = self.unit;
        for row in 0..down {
            for column in 0..across {
                let block = lane * across + column;
                bits = match self.kept {
                    true => self.block::<true>(bits, row * across + block / LANES, block % LANES)?,
                    false => self.block::<false>(bits, 0, 0)?,
                };
            }
        }
        Some(bits)
    }

    /// Reads a block, the `lane`th of these eight.
    #[inline(always)]
    fn block<const KEPT: bool>(&mut self, mut bits: Bits<'a>, group: usize, lane: usize) -> Option<Bits<'a>> {
        let mut into = Lane { blocks: &mut self.blocks[group], lane, shares: &self.slots.shares };
        bits.fill();
        let difference = self.dc.next(&mut bits)?;
        self.first = self.first.wrapping_add(difference);
        if KEPT {
            into.add(0, self.first);
        }
        // The longest code with its value has 27 bits, so that 56 are enough for two steps.
        let mut index = self.ac.step::<KEPT>(&mut bits, 1, &mut into)?;
        while index < 64 {
            bits.fill();
            index = self.ac.step::<KEPT>(&mut bits, index, &mut into)?;
            if index >= 64 {
                break;
            }
            index = self.ac.step::<KEPT>(&mut bits, index, &mut into)?;
        }
        Some(bits)
    }
}

/// A block among eight.
struct Lane<'a> {
    blocks: &'a mut Blocks,
    lane: usize,
    shares: &'a [Share; 64],
}

impl Lane<'_> {
    /// Adds a coefficient, of which there are `steps`, to the slot that it belongs to.
    #[inline(always)]
    fn add(&mut self, index: usize, steps: i32) {
        let share = self.shares[index % 64];
        let slot = &mut self.blocks[share.slot as usize % 64][self.lane % LANES];
        *slot = slot.wrapping_add(steps.wrapping_mul(share.weight));
    }
}

/// The codes of a component's first coefficients, or of its others.
struct Reader<'a> {
    codes: &'a Codes,
    looks: &'a [Look; ENTRIES],
}

impl<'a> Reader<'a> {
    fn new(codes: &'a Option<Codes>) -> Option<Self> {
        let codes = codes.as_ref()?;
        Some(Reader { codes, looks: codes.looks()? })
    }

    /// The next first coefficient, less the one of the block before.
    #[inline(always)]
    fn next(&self, bits: &mut Bits) -> Option<i32> {
        let found = look(self.looks, bits.ahead());
        if found.advance() == 1 {
            bits.skip(found.bits());
            return Some(found.values()[0]);
        }
        let found = self.codes.next(bits.ahead())?;
        bits.skip(found.bits);
        Some(found.value)
    }

    /// Reads one coefficient or two, the first of them after `index` others, and says how many there are now; 64 or more
    /// at the end of the block.
    #[inline(always)]
    fn step<const KEPT: bool>(&self, bits: &mut Bits, index: usize, into: &mut Lane) -> Option<usize> {
        let found = look(self.looks, bits.ahead());
        let next = index + found.advance();
        if next & 64 == 0 {
            bits.skip(found.bits());
            if KEPT {
                let (places, values) = (found.places(), found.values());
                into.add(index + places[0], values[0]);
                into.add(index + places[1], values[1]);
            }
            return Some(next);
        }
        // A long code, or the block may end before the second coefficient of the look.
        let found = self.codes.next(bits.ahead())?;
        bits.skip(found.bits);
        let index = index + found.zeros;
        if index >= 64 {
            return (found.zeros == END).then_some(index);
        }
        if KEPT {
            into.add(index, found.value);
        }
        Some(index + 1)
    }
}
