//! Writing JPEG files.

use std::fs;
use std::path::Path;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use crate::error::DataError;
use crate::picture::Picture;

/// A picture as JPEG bytes; `path` is where they are to go and is named in the error.
pub(crate) fn compress(
    picture: &Picture<3>,
    quality: u8,
    sampling: SamplingFactor,
    path: &Path,
) -> Result<Vec<u8>, DataError> {
    let refuse = |why: String| DataError::Output { path: path.to_path_buf(), why };
    let side = |pixels: usize| u16::try_from(pixels).ok().filter(|&side| side > 0);
    let (Some(width), Some(height)) = (side(picture.width), side(picture.height)) else {
        return Err(refuse(format!("{picture:?}: JPEG holds 1 to 65535 pixels a side")));
    };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(sampling);
    encoder
        .encode(&picture.pixels, width, height, ColorType::Rgb)
        .map_err(|error| refuse(error.to_string()))?;
    Ok(bytes)
}

/// Writes a picture to look at as JPEG, with full colour resolution so that thin lines stay clean.
///
/// # Errors
/// [`DataError::Output`] where the picture is empty or more than 65535 pixels wide or high, [`DataError::Io`] where
/// the file cannot be written.
pub fn save_jpeg(picture: &Picture<3>, path: &Path) -> Result<(), DataError> {
    let bytes = compress(picture, 92, SamplingFactor::F_1_1, path)?;
    fs::write(path, bytes).map_err(|source| DataError::io(path, source))
}
