//! JPEG, decoded strictly, straight to the channels that are wanted and no larger than it is wanted.
//!
//! What cameras write is decoded by [`baseline`], which is faster and can shrink; everything else, and every file that
//! it does not find whole, by `zune-jpeg`.

mod baseline;
mod coefficients;
mod colour;
mod enlarge;
mod huffman;
mod plane;
mod segments;
mod stream;
#[cfg(test)]
mod tests;
mod transform;

use image::metadata::Orientation;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::orientation::{oriented, oriented_size};
use super::other::luma;
use crate::picture::Picture;

/// A JPEG whose header was read.
pub(super) struct Jpeg<'a> {
    bytes: &'a [u8],
    strict: bool,
    stored: (usize, usize),
    colours: ColorSpace,
    orientation: Orientation,
    /// Width and height, orientation applied.
    pub size: (usize, usize),
}

impl<'a> Jpeg<'a> {
    pub fn open(bytes: &'a [u8]) -> Result<Self, String> {
        if !has_end(bytes) {
            return Err("truncated: the JPEG has no end marker".into());
        }
        // Fill bytes between headers are harmless, but the strict decoder refuses them.
        Jpeg::open_as(bytes, true).or_else(|_| Jpeg::open_as(bytes, false))
    }

    fn open_as(bytes: &'a [u8], strict: bool) -> Result<Self, String> {
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options(strict));
        let (stored, orientation) = header(&mut decoder)?;
        let colours = decoder.input_colorspace().unwrap_or(ColorSpace::YCbCr);
        Ok(Jpeg { bytes, strict, stored, colours, orientation, size: oriented_size(stored, orientation) })
    }

    /// Whole, or divided by 2, 4 or 8 as far as neither side becomes smaller than `least`.
    pub fn rgb(&self, least: (usize, usize)) -> Result<Picture<3>, String> {
        let picture = match self.reduced(least) {
            Some(picture) => picture,
            None => self.decode(ColorSpace::RGB)?,
        };
        Ok(oriented(picture, self.orientation))
    }

    /// As [`Jpeg::rgb`].
    pub fn ir(&self, least: (usize, usize)) -> Result<Picture<1>, String> {
        let plane = match (self.reduced(least), self.colours) {
            (Some(plane), _) => plane,
            (None, ColorSpace::Luma | ColorSpace::YCbCr) => self.decode(ColorSpace::Luma)?,
            (None, _) => {
                let Picture { width, height, pixels } = self.decode::<3>(ColorSpace::RGB)?;
                Picture { width, height, pixels: luma(&pixels, 3, |v| v.round() as u8) }
            }
        };
        Ok(oriented(plane, self.orientation))
    }

    fn reduced<const C: usize>(&self, least: (usize, usize)) -> Option<Picture<C>> {
        let common = matches!(self.colours, ColorSpace::Luma | ColorSpace::YCbCr);
        common.then(|| baseline::decode(self.bytes, self.stored, self.divisor(least))).flatten()
    }

    /// The largest divisor of both sides that leaves `least`, which is of the oriented picture.
    fn divisor(&self, least: (usize, usize)) -> usize {
        let enough = |side: usize, least: usize, divisor: usize| {
            side.is_multiple_of(divisor) && side / divisor >= least
        };
        let fits =
            |&divisor: &usize| enough(self.size.0, least.0, divisor) && enough(self.size.1, least.1, divisor);
        [8, 4, 2].into_iter().find(fits).unwrap_or(1)
    }

    fn decode<const C: usize>(&self, colours: ColorSpace) -> Result<Picture<C>, String> {
        let options = options(self.strict).jpeg_set_out_colorspace(colours);
        let pixels =
            JpegDecoder::new_with_options(ZCursor::new(self.bytes), options).decode().map_err(explain)?;
        let (width, height) = self.stored;
        Picture::from_pixels(width, height, pixels).ok_or_else(|| "damaged: too few pixels".to_owned())
    }
}

/// Width and height, orientation applied, from the header.
pub(super) fn dimensions(bytes: &[u8]) -> Result<(usize, usize), String> {
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options(false));
    let (size, orientation) = header(&mut decoder)?;
    Ok(oriented_size(size, orientation))
}

fn header(decoder: &mut JpegDecoder<ZCursor<&[u8]>>) -> Result<((usize, usize), Orientation), String> {
    decoder.decode_headers().map_err(explain)?;
    let size = decoder.dimensions().ok_or("damaged: the JPEG says no size")?;
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    Ok((size, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Sizes are judged by the caller's limits, so the decoder's own are those of the format.
fn options(strict: bool) -> DecoderOptions {
    let largest = usize::from(u16::MAX);
    DecoderOptions::default().set_strict_mode(strict).set_max_width(largest).set_max_height(largest)
}

/// Whether the end marker comes after the last scan. Within a scan `ff` is always followed by `00` or a restart.
fn has_end(bytes: &[u8]) -> bool {
    const END: &[u8] = &[0xff, 0xd9];
    const SCAN: &[u8] = &[0xff, 0xda];
    let last = |marker: &[u8]| bytes.windows(2).rposition(|window| window == marker);
    bytes.ends_with(END) || matches!((last(END), last(SCAN)), (Some(end), Some(scan)) if end > scan)
}

fn explain(error: impl std::fmt::Display) -> String {
    format!("damaged JPEG: {error}")
}
