//! PNG, TIFF and BMP, and the ways in which infrared is stored in them.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};

use super::orientation::{oriented, oriented_size};
use crate::picture::Picture;

/// Width and height, orientation applied, from the header.
pub(super) fn dimensions(bytes: &[u8], format: ImageFormat) -> Result<(usize, usize), String> {
    let (decoder, orientation) = header(bytes, format)?;
    let (width, height) = decoder.dimensions();
    Ok(oriented_size((width as usize, height as usize), orientation))
}

pub(super) fn rgb(bytes: &[u8], format: ImageFormat) -> Result<Picture<3>, String> {
    let (image, orientation) = open(bytes, format)?;
    let image = image.into_rgb8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    Ok(oriented(Picture { width, height, pixels: image.into_raw() }, orientation))
}

pub(super) fn ir(bytes: &[u8], format: ImageFormat) -> Result<Picture<1>, String> {
    let (image, orientation) = open(bytes, format)?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let channels = usize::from(image.color().channel_count());
    let pixels = match image {
        DynamicImage::ImageLuma8(grey) => grey.into_raw(),
        DynamicImage::ImageLumaA8(grey) => luma(&grey, channels, |v| v as u8),
        DynamicImage::ImageRgb8(rgb) => luma(&rgb, channels, |v| v.round() as u8),
        DynamicImage::ImageRgba8(rgb) => luma(&rgb, channels, |v| v.round() as u8),
        DynamicImage::ImageLuma16(grey) => eight_bits(&grey),
        DynamicImage::ImageLumaA16(grey) => eight_bits(&luma(&grey, channels, |v| v as u16)),
        DynamicImage::ImageRgb16(rgb) => eight_bits(&luma(&rgb, channels, |v| v.round() as u16)),
        DynamicImage::ImageRgba16(rgb) => eight_bits(&luma(&rgb, channels, |v| v.round() as u16)),
        DynamicImage::ImageRgb32F(rgb) => stretched(&luma(&rgb, channels, |v| v)),
        DynamicImage::ImageRgba32F(rgb) => stretched(&luma(&rgb, channels, |v| v)),
        other => other.into_luma8().into_raw(),
    };
    Ok(oriented(Picture { width, height, pixels }, orientation))
}

/// The last chunk of every PNG; the decoder is content once it has all pixels.
const PNG_END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";

fn open(bytes: &[u8], format: ImageFormat) -> Result<(DynamicImage, Orientation), String> {
    if format == ImageFormat::Png && !bytes.windows(PNG_END.len()).rev().any(|window| window == PNG_END) {
        return Err("truncated: the PNG has no end chunk".into());
    }
    let (decoder, orientation) = header(bytes, format)?;
    let image = DynamicImage::from_decoder(decoder).map_err(|e| explain(format, &e))?;
    Ok((image, orientation))
}

fn header(bytes: &[u8], format: ImageFormat) -> Result<(impl ImageDecoder, Orientation), String> {
    let reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut decoder = reader.into_decoder().map_err(|e| explain(format, &e))?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((decoder, orientation))
}

fn explain(format: ImageFormat, error: &image::ImageError) -> String {
    let name = format!("{format:?}").to_uppercase();
    match error {
        image::ImageError::Unsupported(_) => format!("this kind of {name} is not supported: {error}"),
        _ => format!("damaged {name}: {error}"),
    }
}

/// One plane of interleaved samples: the Rec. 601 luma of three or four channels, the first of one or two. Where the
/// three are equal it is that value, without rounding.
pub(super) fn luma<T: Copy + PartialEq + Into<f32>>(
    samples: &[T],
    channels: usize,
    from: fn(f32) -> T,
) -> Vec<T> {
    let one = |pixel: &[T]| match *pixel {
        [r, g, b, ..] if r != g || g != b => from(0.299 * r.into() + 0.587 * g.into() + 0.114 * b.into()),
        [first, ..] => first,
        [] => from(0.0),
    };
    samples.chunks_exact(channels).map(one).collect()
}

/// 16 bits to 8: see the module above for what is stretched and what is not.
fn eight_bits(plane: &[u16]) -> Vec<u8> {
    let (low, high) = plane.iter().fold((u16::MAX, 0), |(low, high), &v| (low.min(v), high.max(v)));
    if high <= 255 {
        return plane.iter().map(|&v| v as u8).collect();
    }
    if low == high || plane.iter().all(|v| v % 257 == 0) {
        return plane.iter().map(|&v| (v / 257) as u8).collect();
    }
    let scale = 255.0 / f32::from(high - low);
    plane.iter().map(|&v| (f32::from(v - low) * scale).round() as u8).collect()
}

/// Floating point to 8 bits, the smallest finite value to 0 and the largest to 255; what is not finite becomes 0.
fn stretched(plane: &[f32]) -> Vec<u8> {
    let finite = plane.iter().filter(|v| v.is_finite());
    let (low, high) =
        finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)));
    let scale = if high > low { 255.0 / (high - low) } else { 0.0 };
    plane.iter().map(|&v| if v.is_finite() { ((v - low) * scale).round() as u8 } else { 0 }).collect()
}
