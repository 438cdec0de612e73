//! The EXIF orientation: how a picture is turned before it is looked at.

use image::metadata::Orientation;

use crate::picture::Picture;

/// The size after turning.
pub(super) fn oriented_size((width, height): (usize, usize), orientation: Orientation) -> (usize, usize) {
    if swaps_axes(orientation) { (height, width) } else { (width, height) }
}

/// The picture after turning; the same bytes where there is nothing to turn.
pub(super) fn oriented<const C: usize>(picture: Picture<C>, orientation: Orientation) -> Picture<C> {
    if orientation == Orientation::NoTransforms {
        return picture;
    }
    let (width, height) = oriented_size(picture.size(), orientation);
    let (right, bottom) = (picture.width.saturating_sub(1), picture.height.saturating_sub(1));
    let mut pixels = Vec::with_capacity(picture.pixels.len());
    for y in 0..height {
        for x in 0..width {
            let (from_x, from_y) = match orientation {
                Orientation::NoTransforms => (x, y),
                Orientation::FlipHorizontal => (right - x, y),
                Orientation::Rotate180 => (right - x, bottom - y),
                Orientation::FlipVertical => (x, bottom - y),
                Orientation::Rotate90FlipH => (y, x),
                Orientation::Rotate90 => (y, bottom - x),
                Orientation::Rotate270FlipH => (right - y, bottom - x),
                Orientation::Rotate270 => (right - y, x),
            };
            pixels.extend_from_slice(&picture.pixel(from_x, from_y));
        }
    }
    Picture { width, height, pixels }
}

fn swaps_axes(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}
