//! From files to pictures: JPEG, PNG, TIFF and BMP, told apart by their content.
//!
//! - **RGB**: grey, palette, 16-bit and transparent pictures become three channels of 8 bits; transparency is dropped.
//! - **Infrared**: one plane of 8 bits. A grey JPEG is decoded as grey, of a coloured one only the luma is. Of three
//!   or four channels the luma (Rec. 601) is taken, which for equal channels is that channel.
//! - **16-bit infrared**: thermal cameras use a part of the 16-bit range, so a picture whose values go beyond 8 bits
//!   is stretched: its smallest value becomes 0, its largest 255, picture by picture. Values within 8 bits are taken
//!   as they are, and 8-bit pictures that were stored times 257 come back unchanged.
//! - **Orientation**: the EXIF orientation is applied to either picture, as OpenCV does.
//! - **Size**: a JPEG that is to be shrunk to a half or less is not decoded whole, see [`read_rgb_within`].
//! - **Damage**: a truncated file is an error, never a picture with a grey rest. Damage that leaves a file whole, such
//!   as a few wrong bytes within a JPEG's pixels, cannot always be told.

mod jpeg;
mod orientation;
mod other;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::ImageFormat;

use crate::dataset::PairFiles;
use crate::error::DataError;
use crate::picture::{Pair, Picture};
use crate::resize::{fit, resize, scaled_to_fit};

/// How large a picture may be. What a file's header claims is checked before memory is taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most pixels of a picture.
    pub max_pixels: usize,
    /// Most pixels of its longer side.
    pub max_side: usize,
    /// Most bytes of its file.
    pub max_bytes: u64,
}

impl Default for Limits {
    /// 178 million pixels, 16,384 a side, files of 512 MiB.
    fn default() -> Self {
        Limits { max_pixels: 178_956_970, max_side: 16_384, max_bytes: 512 << 20 }
    }
}

impl Limits {
    fn check_size(&self, path: &Path, (width, height): (usize, usize)) -> Result<(), DataError> {
        if width == 0 || height == 0 {
            return Err(DataError::picture(path, format!("a picture of {width}x{height} has no pixels")));
        }
        let too_large = |limit: String| DataError::TooLarge {
            path: path.to_path_buf(),
            what: format!("a picture of {width}x{height}"),
            limit,
        };
        if width.max(height) > self.max_side {
            return Err(too_large(format!("{} pixels a side", self.max_side)));
        }
        if width.saturating_mul(height) > self.max_pixels {
            return Err(too_large(format!("{} pixels", self.max_pixels)));
        }
        Ok(())
    }
}

/// Reads an RGB picture.
///
/// # Errors
/// A file that cannot be read, is no picture of a known format, is damaged or exceeds the limits.
pub fn read_rgb(path: &Path, limits: &Limits) -> Result<Picture<3>, DataError> {
    decode_rgb(&read_file(path, limits)?, path, limits)
}

/// Reads an infrared picture.
///
/// # Errors
/// As [`read_rgb`].
pub fn read_ir(path: &Path, limits: &Limits) -> Result<Picture<1>, DataError> {
    decode_ir(&read_file(path, limits)?, path, limits)
}

/// Reads both pictures of a pair, at the same time, and brings the infrared one to the size of the RGB one.
///
/// # Errors
/// As [`read_rgb`], and an infrared picture that is not there.
pub fn read_pair(files: &PairFiles, limits: &Limits) -> Result<Pair, DataError> {
    expect_infrared(files)?;
    let (rgb, ir) = rayon::join(|| read_rgb(&files.rgb, limits), || read_ir(&files.ir, limits));
    let (rgb, ir) = (rgb?, ir?);
    let size = rgb.size();
    let ir = if ir.size() == size { ir } else { resize(&ir, size) };
    Ok(Pair { rgb, ir })
}

/// Reads a pair scaled so that its longer side is `long_side`, without padding; also says the size (width, height) of
/// the RGB file. What is decoded and resized is that of [`read_pair_within`].
///
/// # Errors
/// As [`read_pair`].
pub fn read_pair_to_fit(
    files: &PairFiles,
    long_side: usize,
    limits: &Limits,
) -> Result<(Pair, (usize, usize)), DataError> {
    expect_infrared(files)?;
    let (rgb, source) = read_rgb_within(&files.rgb, (long_side, long_side), limits)?;
    let size = fit(source, long_side);
    let shrunk = |ir: Picture<1>| if ir.size() == size { ir } else { resize(&ir, size) };
    let rgb = if rgb.size() == size { rgb } else { resize(&rgb, size) };
    let ir = shrunk(ir_no_less(&read_file(&files.ir, limits)?, &files.ir, limits, size)?);
    Ok((Pair { rgb, ir }, source))
}

/// Reads both pictures of a pair, at the same time, that are to be scaled to fit `within` (width, height). Each may come
/// smaller than its file, as [`read_rgb_within`] says, and in a size of its own. Also says the size of the RGB file.
///
/// # Errors
/// As [`read_pair`].
pub fn read_pair_within(
    files: &PairFiles,
    within: (usize, usize),
    limits: &Limits,
) -> Result<(Picture<3>, Picture<1>, (usize, usize)), DataError> {
    expect_infrared(files)?;
    let bytes = read_file(&files.rgb, limits)?;
    let source = dimensions_of(&bytes, &files.rgb)?;
    let size = scaled_to_fit(source, within);
    let (rgb, ir) = rayon::join(
        || rgb_no_less(&bytes, &files.rgb, limits, size),
        || ir_no_less(&read_file(&files.ir, limits)?, &files.ir, limits, size),
    );
    Ok((rgb?, ir?, source))
}

/// Reads an RGB picture that is to be scaled to fit `within` (width, height), and says the size of the file.
///
/// A JPEG comes at a half, a quarter or an eighth of its size where that is not smaller than what it is to be scaled to:
/// each pixel is then the mean of those that it stands for, and less was computed.
///
/// # Errors
/// As [`read_rgb`].
pub fn read_rgb_within(
    path: &Path,
    within: (usize, usize),
    limits: &Limits,
) -> Result<(Picture<3>, (usize, usize)), DataError> {
    let bytes = read_file(path, limits)?;
    let source = dimensions_of(&bytes, path)?;
    Ok((rgb_no_less(&bytes, path, limits, scaled_to_fit(source, within))?, source))
}

/// As [`read_rgb_within`], an infrared picture.
///
/// # Errors
/// As [`read_ir`].
pub fn read_ir_within(
    path: &Path,
    within: (usize, usize),
    limits: &Limits,
) -> Result<(Picture<1>, (usize, usize)), DataError> {
    let bytes = read_file(path, limits)?;
    let source = dimensions_of(&bytes, path)?;
    Ok((ir_no_less(&bytes, path, limits, scaled_to_fit(source, within))?, source))
}

/// A missing infrared picture is told as what it is, a pair of one.
fn expect_infrared(files: &PairFiles) -> Result<(), DataError> {
    if files.ir.exists() || !files.rgb.exists() {
        return Ok(());
    }
    let why = format!("no infrared picture: expected {} (any picture suffix)", files.ir.display());
    Err(DataError::Pairing { path: files.rgb.clone(), why })
}

/// Width and height of a picture, as it is decoded, from its header alone.
///
/// # Errors
/// A file that cannot be read or is no picture of a known format.
pub fn dimensions(path: &Path) -> Result<(usize, usize), DataError> {
    let failed = |source| DataError::io(path, source);
    let mut file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.by_ref().take(HEADER_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    if let Ok(size) = dimensions_of(&bytes, path) {
        return Ok(size);
    }
    // A TIFF may have its header at the end, a JPEG a large colour profile before it.
    file.take(Limits::default().max_bytes).read_to_end(&mut bytes).map_err(failed)?;
    dimensions_of(&bytes, path)
}

/// Where the headers of most files end.
const HEADER_BYTES: u64 = 64 << 10;

fn dimensions_of(bytes: &[u8], path: &Path) -> Result<(usize, usize), DataError> {
    match format_of(bytes, path)? {
        ImageFormat::Jpeg => guarded(path, || jpeg::dimensions(bytes)),
        format => guarded(path, || other::dimensions(bytes, format)),
    }
}

/// Decodes an RGB picture from the bytes of a file; `path` is for errors.
///
/// # Errors
/// As [`read_rgb`].
pub fn decode_rgb(bytes: &[u8], path: &Path, limits: &Limits) -> Result<Picture<3>, DataError> {
    rgb_no_less(bytes, path, limits, WHOLE)
}

/// Less than this is always less.
const WHOLE: (usize, usize) = (usize::MAX, usize::MAX);

/// A picture that may be smaller than its file, but on neither side smaller than `least`.
fn rgb_no_less(
    bytes: &[u8],
    path: &Path,
    limits: &Limits,
    least: (usize, usize),
) -> Result<Picture<3>, DataError> {
    match format_of(bytes, path)? {
        ImageFormat::Jpeg => {
            let jpeg = guarded(path, || jpeg::Jpeg::open(bytes))?;
            limits.check_size(path, jpeg.size)?;
            guarded(path, || jpeg.rgb(least))
        }
        format => {
            let size = guarded(path, || other::dimensions(bytes, format))?;
            limits.check_size(path, size)?;
            guarded(path, || other::rgb(bytes, format))
        }
    }
}

/// Decodes an infrared picture from the bytes of a file; `path` is for errors.
///
/// # Errors
/// As [`read_rgb`].
pub fn decode_ir(bytes: &[u8], path: &Path, limits: &Limits) -> Result<Picture<1>, DataError> {
    ir_no_less(bytes, path, limits, WHOLE)
}

/// As [`rgb_no_less`].
fn ir_no_less(
    bytes: &[u8],
    path: &Path,
    limits: &Limits,
    least: (usize, usize),
) -> Result<Picture<1>, DataError> {
    match format_of(bytes, path)? {
        ImageFormat::Jpeg => {
            let jpeg = guarded(path, || jpeg::Jpeg::open(bytes))?;
            limits.check_size(path, jpeg.size)?;
            guarded(path, || jpeg.ir(least))
        }
        format => {
            let size = guarded(path, || other::dimensions(bytes, format))?;
            limits.check_size(path, size)?;
            guarded(path, || other::ir(bytes, format))
        }
    }
}

/// The bytes of a file that is not larger than the limits allow.
pub(crate) fn read_file(path: &Path, limits: &Limits) -> Result<Vec<u8>, DataError> {
    let failed = |source| DataError::io(path, source);
    let file = File::open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if meta.is_dir() {
        return Err(DataError::picture(path, "is a folder, expected a picture"));
    }
    let mut bytes = Vec::with_capacity(meta.len().min(limits.max_bytes) as usize + 1);
    file.take(limits.max_bytes + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limits.max_bytes {
        return Err(DataError::TooLarge {
            path: path.to_path_buf(),
            what: format!("a file of {} bytes", meta.len()),
            limit: format!("{} bytes", limits.max_bytes),
        });
    }
    Ok(bytes)
}

/// What the first bytes of a file say it is.
fn format_of(bytes: &[u8], path: &Path) -> Result<ImageFormat, DataError> {
    if bytes.is_empty() {
        return Err(DataError::picture(path, "the file is empty"));
    }
    match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::Tiff | ImageFormat::Bmp)) => {
            Ok(format)
        }
        Ok(format) => {
            let why = format!("{format:?} is not supported: convert it to JPEG, PNG, TIFF or BMP");
            Err(DataError::picture(path, why))
        }
        Err(_) => Err(DataError::picture(path, "no picture: the content is neither JPEG, PNG, TIFF nor BMP")),
    }
}

/// Runs a decoder. A decoder that panics on a damaged file ends like one that reports it.
fn guarded<T>(path: &Path, decode: impl FnOnce() -> Result<T, String>) -> Result<T, DataError> {
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(result) => result.map_err(|why| DataError::picture(path, why)),
        Err(_) => Err(DataError::picture(path, "damaged: the decoder gave up")),
    }
}
