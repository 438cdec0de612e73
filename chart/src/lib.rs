//! The look of the charts: a white canvas, one font that is built in, a few colours. What is on them their owners draw,
//! with plotters.

use std::error::Error;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;

/// What is drawn on, in pixels from its upper left corner.
pub type Canvas<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
/// What drawing ends with.
pub type Drawn = Result<(), Box<dyn Error>>;

/// Of a chart's title, in pixels.
pub const TITLE_SIZE: i32 = 34;
/// Of all other text, in pixels.
pub const TEXT_SIZE: i32 = 26;

/// Text and axes.
pub const INK: RGBColor = RGBColor(40, 40, 40);
/// Lines behind what is shown.
pub const GRID: RGBColor = RGBColor(225, 225, 225);
/// The first of several lines.
pub const BLUE: RGBColor = RGBColor(31, 105, 180);
/// The second of several lines.
pub const ORANGE: RGBColor = RGBColor(236, 120, 20);
/// The third of several lines; what is better.
pub const GREEN: RGBColor = RGBColor(40, 140, 70);
/// What is worse.
pub const RED: RGBColor = RGBColor(190, 60, 40);
/// What is neither.
pub const GREY: RGBColor = RGBColor(110, 120, 135);

/// Sizes are in pixels; nothing is relative to it.
const SIZE_HINT: (u32, u32) = (1, 1);

/// Text of this size, in pixels, in the one font.
pub fn text(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).with_color(INK).into_text_style(&SIZE_HINT)
}

/// A PNG of this width and height, white but for what `draw` draws.
///
/// # Errors
/// What `draw` reports.
pub fn png(
    (width, height): (u32, u32),
    draw: impl FnOnce(&Canvas<'_>) -> Drawn,
) -> Result<Vec<u8>, Box<dyn Error>> {
    register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| "the font that is built in cannot be read")?;
    let mut pixels = vec![255; width as usize * height as usize * 3];
    {
        let canvas = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
        draw(&canvas)?;
        canvas.present()?;
    }
    let mut png = Vec::new();
    PngEncoder::new(&mut png).write_image(&pixels, width, height, ExtendedColorType::Rgb8)?;
    Ok(png)
}
