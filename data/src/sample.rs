//! A pair as the training reads it: one 32-bit word a pixel, so that a window of both modalities is copied by rows.

use std::fmt;
use std::sync::Arc;

use memmap2::Mmap;

use crate::picture::Pair;
use crate::shared::Region;

/// One pair, resized and without padding.
pub struct Sample {
    width: usize,
    height: usize,
    source: (usize, usize),
    words: Words,
}

/// Where the words lie.
enum Words {
    Memory(Vec<u32>),
    /// A file of the disk cache, and the byte at which its words start; checked to hold them all.
    File(Mmap, usize),
    /// Memory shared with other processes, and the byte at which the words start.
    Shared(Arc<Region>, usize),
}

impl Sample {
    /// A decoded pair whose RGB file has `source` (width, height) pixels; `None` where there are no pixels, or the
    /// pictures are not of one size.
    pub fn new(pair: &Pair, source: (usize, usize)) -> Option<Self> {
        let (width, height) = pair.size();
        let colours = pair.rgb.pixels.as_chunks::<3>().0;
        let words = colours.iter().zip(&pair.ir.pixels);
        let words: Vec<u32> = words.map(|(&[r, g, b], &ir)| u32::from_ne_bytes([r, g, b, ir])).collect();
        let fits = pair.ir.size() == (width, height) && words.len() == width * height && !words.is_empty();
        fits.then_some(Sample { width, height, source, words: Words::Memory(words) })
    }

    /// The words of a mapped file from `offset` on; `None` where they are fewer than `width * height` or misaligned.
    pub(crate) fn mapped(
        map: Mmap,
        offset: usize,
        (width, height): (usize, usize),
        source: (usize, usize),
    ) -> Option<Self> {
        let bytes = width.checked_mul(height)?.checked_mul(4)?;
        let words: &[u32] = bytemuck::try_cast_slice(map.get(offset..)?).ok()?;
        (words.len() * 4 == bytes && !words.is_empty()).then_some(Sample {
            width,
            height,
            source,
            words: Words::File(map, offset),
        })
    }

    /// The words of a pair that is there in shared memory, from byte `start` on.
    pub(crate) fn shared(
        region: Arc<Region>,
        start: usize,
        (width, height): (usize, usize),
        source: (usize, usize),
    ) -> Self {
        Sample { width, height, source, words: Words::Shared(region, start) }
    }

    /// Width and height, pixels.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Width and height of the RGB file.
    pub fn source(&self) -> (usize, usize) {
        self.source
    }

    /// `width * height` pixels, row after row; the bytes of a word in memory are red, green, blue, infrared.
    pub fn words(&self) -> &[u32] {
        match &self.words {
            Words::Memory(words) => words,
            // Checked when it was mapped.
            Words::File(map, offset) => bytemuck::try_cast_slice(&map[*offset..]).unwrap_or_default(),
            Words::Shared(region, start) => region.words(*start, self.width * self.height),
        }
    }
}

impl PartialEq for Sample {
    fn eq(&self, other: &Self) -> bool {
        (self.size(), self.source, self.words()) == (other.size(), other.source, other.words())
    }
}

impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sample {}x{} of {:?}", self.width, self.height, self.source)
    }
}
