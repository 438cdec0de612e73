//! Plots of a run: `results.png` over its epochs and `labels.png` over its labels.

mod axis;
mod labels;
mod results;

use std::error::Error;
use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;

use super::error::RecordError;
pub use labels::labels;
pub use results::results;

type Canvas<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

const TITLE_SIZE: i32 = 34;
const TEXT_SIZE: i32 = 26;
const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);
const BLUE: RGBColor = RGBColor(31, 105, 180);
const ORANGE: RGBColor = RGBColor(236, 120, 20);
const GREEN: RGBColor = RGBColor(40, 140, 70);

/// Text of this size in the one font of the plots.
fn text(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).with_color(INK).into_text_style(&SIZE_HINT)
}

/// Sizes are in pixels; nothing is relative to it.
const SIZE_HINT: (u32, u32) = (1, 1);

/// Draws a white canvas and writes it as PNG, whole or not at all.
fn save(
    path: &Path,
    (width, height): (u32, u32),
    draw: impl FnOnce(&Canvas<'_>) -> Drawn,
) -> Result<(), RecordError> {
    let mut pixels = vec![255; width as usize * height as usize * 3];
    paint(&mut pixels, (width, height), draw).map_err(|error| RecordError::draw(path, &error))?;
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(&pixels, width, height, ExtendedColorType::Rgb8)
        .map_err(|error| RecordError::draw(path, &error))?;
    yf_models::durable::write(path, |out| out.write_all(&png)).map_err(|source| RecordError::io(path, source))
}

fn paint(pixels: &mut [u8], size: (u32, u32), draw: impl FnOnce(&Canvas<'_>) -> Drawn) -> Drawn {
    register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| "the font that is built in cannot be read")?;
    let canvas = BitMapBackend::with_buffer(pixels, size).into_drawing_area();
    draw(&canvas)?;
    canvas.present()?;
    Ok(())
}

#[cfg(test)]
mod tests;
