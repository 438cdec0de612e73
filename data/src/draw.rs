//! Boxes on pictures, for people to look at: one pair with its detections, or a sheet of many pairs.

mod palette;
mod pen;

use crate::detection::Detection;
pub use crate::jpeg::save_jpeg;
use crate::metrics::Truth;
use crate::picture::{Pair, Picture};
use crate::resize::{fit, resize_pair_to_fit};
pub use palette::class_colour;
use pen::Pen;

/// RGB and infrared side by side (infrared as grey), the same boxes on both, each with its name and score.
///
/// `detections` are in pixels of the pair and `names` are indexed by class; a class without a name is called
/// `class 7`. Better detections lie on top. Boxes that are no finite numbers are left out.
pub fn annotate(pair: &Pair, detections: &[Detection], names: &[impl AsRef<str>]) -> Picture<3> {
    side_by_side(pair, &marks_of(detections, names))
}

/// One picture with its detections, as [`annotate`] draws two.
pub fn annotate_one(picture: &Picture<3>, detections: &[Detection], names: &[impl AsRef<str>]) -> Picture<3> {
    let mut picture = picture.clone();
    draw_marks(&mut picture, &marks_of(detections, names));
    picture
}

/// An infrared picture in three equal channels.
pub fn grey(picture: &Picture<1>) -> Picture<3> {
    let pixels = picture.pixels.iter().flat_map(|&value| [value; 3]).collect();
    Picture { width: picture.width, height: picture.height, pixels }
}

fn marks_of(detections: &[Detection], names: &[impl AsRef<str>]) -> Vec<Mark> {
    let mut order: Vec<&Detection> = detections.iter().collect();
    order.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mark = |detection: &Detection| Mark {
        class: detection.class,
        bbox: detection.bbox,
        text: format!("{} {:.2}", name_of(detection.class, names), detection.score),
    };
    order.into_iter().map(mark).collect()
}

/// A pair of a sheet, with what is in it.
#[derive(Debug, Clone, Copy)]
pub struct Tile<'a> {
    /// The pictures.
    pub pair: &'a Pair,
    /// Boxes in pixels of the pair.
    pub boxes: &'a [Truth],
}

/// Tiles on a sheet.
const MOST_TILES: usize = 16;
/// Longer side of each of a tile's two pictures, in pixels.
const TILE_SIDE: usize = 384;
/// Between tiles, in pixels.
const GAP: usize = 6;
const GAP_COLOUR: [u8; 3] = [24; 3];

/// The first 16 pairs as a sheet of up to 4x4 tiles, each a pair side by side under its boxes with class names.
/// Without tiles it is one pixel.
pub fn sheet(tiles: &[Tile<'_>], names: &[impl AsRef<str>]) -> Picture<3> {
    let drawn: Vec<Picture<3>> = tiles.iter().take(MOST_TILES).map(|tile| draw_tile(tile, names)).collect();
    let Some((width, height)) = drawn.iter().map(Picture::size).reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
    else {
        return Picture::filled(1, 1, GAP_COLOUR);
    };
    let columns = (1..).find(|columns| columns * columns >= drawn.len()).unwrap_or(1);
    let rows = drawn.len().div_ceil(columns);
    let span = |count: usize, side: usize| count * (side + GAP) + GAP;
    let mut sheet = Picture::filled(span(columns, width), span(rows, height), GAP_COLOUR);
    for (index, picture) in drawn.iter().enumerate() {
        paste(&mut sheet, picture, (span(index % columns, width), span(index / columns, height)));
    }
    sheet
}

fn draw_tile(tile: &Tile<'_>, names: &[impl AsRef<str>]) -> Picture<3> {
    let (width, height) = tile.pair.size();
    let (small_width, small_height) = fit(tile.pair.size(), TILE_SIDE);
    let scale = [small_width as f32 / width.max(1) as f32, small_height as f32 / height.max(1) as f32];
    let marks = tile.boxes.iter().map(|object| Mark {
        class: object.class,
        bbox: std::array::from_fn(|i| object.bbox[i] * scale[i % 2]),
        text: name_of(object.class, names),
    });
    side_by_side(&resize_pair_to_fit(tile.pair, TILE_SIDE), &marks.collect::<Vec<_>>())
}

/// A box to draw and what to write at it.
struct Mark {
    class: usize,
    bbox: [f32; 4],
    text: String,
}

fn side_by_side(pair: &Pair, marks: &[Mark]) -> Picture<3> {
    let mut rgb = pair.rgb.clone();
    let mut ir = grey(&pair.ir);
    for picture in [&mut rgb, &mut ir] {
        draw_marks(picture, marks);
    }
    let mut both = Picture::filled(rgb.width + ir.width, rgb.height.max(ir.height), GAP_COLOUR);
    paste(&mut both, &rgb, (0, 0));
    paste(&mut both, &ir, (rgb.width, 0));
    both
}

/// `marks` come best first: they choose the place of their label first and are drawn last. All boxes come before
/// all labels, so that no line runs through a label.
fn draw_marks(picture: &mut Picture<3>, marks: &[Mark]) {
    let mut pen = Pen::for_picture(picture);
    let marks: Vec<&Mark> = marks.iter().filter(|mark| mark.bbox.iter().all(|v| v.is_finite())).collect();
    for mark in marks.iter().rev() {
        pen.rectangle(mark.bbox, class_colour(mark.class));
    }
    let mut places = Vec::with_capacity(marks.len());
    for mark in &marks {
        places.push(pen.place_label(mark.bbox, &mark.text, &places));
    }
    for (mark, place) in marks.iter().zip(places).rev() {
        pen.label(place, &mark.text, class_colour(mark.class));
    }
}

fn name_of(class: usize, names: &[impl AsRef<str>]) -> String {
    names.get(class).map_or_else(|| format!("class {class}"), |name| name.as_ref().to_string())
}

/// Copies `picture` into `canvas` at `corner` (left, top); what does not fit is cut.
fn paste(canvas: &mut Picture<3>, picture: &Picture<3>, (left, top): (usize, usize)) {
    let columns = picture.width.min(canvas.width.saturating_sub(left));
    for y in 0..picture.height.min(canvas.height.saturating_sub(top)) {
        let start = ((top + y) * canvas.width + left) * 3;
        canvas.pixels[start..start + 3 * columns].copy_from_slice(&picture.row(y)[..3 * columns]);
    }
}

#[cfg(test)]
mod tests;
