//! Resizing with SIMD.
//!
//! Plain 2x2 bilinear interpolation with pixel centres aligned, in both directions: what OpenCV's `INTER_LINEAR`
//! computes, and so what published detectors of this field were trained and measured with. A picture that shrinks
//! to less than half aliases; a filter that does not costs such a detector up to .02 in score. At exactly half it is the
//! mean of four, which JPEG's decoder gives without a resize.

use fast_image_resize::images::{TypedCroppedImageMut, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

use crate::picture::{Pair, Picture};

/// The size of a `size` (width, height) picture scaled so that its longer side is `long_side`.
pub fn fit(size: (usize, usize), long_side: usize) -> (usize, usize) {
    scaled_to_fit(size, (long_side, long_side))
}

/// The largest size of the aspect of `source` within `target`; halves round to even, at least one pixel a side.
pub(crate) fn scaled_to_fit(source: (usize, usize), target: (usize, usize)) -> (usize, usize) {
    let (width, height) = (source.0.max(1) as f64, source.1.max(1) as f64);
    let scale = (target.0 as f64 / width).min(target.1 as f64 / height);
    let side =
        |length: f64, limit: usize| ((length * scale).round_ties_even() as usize).clamp(1, limit.max(1));
    (side(width, target.0), side(height, target.1))
}

/// `picture` at `width` x `height`. A picture without pixels becomes a black one.
pub fn resize<const C: usize>(picture: &Picture<C>, (width, height): (usize, usize)) -> Picture<C> {
    if picture.size() == (width, height) {
        return picture.clone();
    }
    let mut resized = Picture::filled(width, height, [0; C]);
    resize_into(picture, &mut resized.pixels, (width, height), Place { left: 0, top: 0, width, height });
    resized
}

/// A rectangle of a picture, in pixels.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub left: usize,
    pub top: usize,
    pub width: usize,
    pub height: usize,
}

/// Writes `picture`, resized, into a place of a canvas of `size` (width, height) pixels; the rest stays as it is.
///
/// Panics where the place does not lie within the canvas, or the canvas has not that many bytes.
pub(crate) fn resize_into<const C: usize>(
    picture: &Picture<C>,
    canvas: &mut [u8],
    size: (usize, usize),
    place: Place,
) {
    if picture.pixels.is_empty() || place.width == 0 || place.height == 0 {
        return;
    }
    match C {
        1 => resize_typed::<U8, C>(picture, canvas, size, place),
        _ => resize_typed::<U8x3, C>(picture, canvas, size, place),
    }
}

/// For one type of pixels, because the untyped call would compile the library's kernels for all of its types.
fn resize_typed<P: PixelTrait, const C: usize>(
    source: &Picture<C>,
    canvas: &mut [u8],
    size: (usize, usize),
    place: Place,
) {
    assert_eq!(P::size(), C, "pictures have one channel or three");
    let view = TypedImageRef::<P>::from_buffer(source.width as u32, source.height as u32, &source.pixels);
    let view = view.expect("the size says how many bytes there are");
    let whole = TypedImage::<P>::from_buffer(size.0 as u32, size.1 as u32, canvas)
        .expect("the size says how many bytes there are");
    let [left, top, width, height] = [place.left, place.top, place.width, place.height].map(|v| v as u32);
    let mut into =
        TypedCroppedImageMut::new(whole, left, top, width, height).expect("the place lies within the canvas");
    let options =
        ResizeOptions::new().resize_alg(ResizeAlg::Interpolation(FilterType::Bilinear)).use_alpha(false);
    Resizer::new().resize_typed(&view, &mut into, &options).expect("no side is zero");
}

/// Scales both pictures so that their longer side is `long_side`, without padding.
pub fn resize_pair_to_fit(pair: &Pair, long_side: usize) -> Pair {
    let size = fit(pair.size(), long_side);
    Pair { rgb: resize(&pair.rgb, size), ir: resize(&pair.ir, size) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enlarging_is_two_by_two_bilinear_with_aligned_centres() {
        let source = Picture::<1> { width: 2, height: 1, pixels: vec![0, 100] };
        assert_eq!(resize(&source, (4, 1)).pixels, [0, 25, 75, 100]);
    }

    #[test]
    fn halving_is_the_mean_of_four() {
        let source = Picture::<1> { width: 4, height: 2, pixels: vec![0, 100, 10, 20, 40, 60, 30, 40] };
        assert_eq!(resize(&source, (2, 1)).pixels, [50, 25]);
    }

    #[test]
    fn fit_keeps_the_aspect_and_at_least_one_pixel() {
        assert_eq!(fit((1280, 1024), 640), (640, 512));
        assert_eq!(fit((322, 543), 640), (380, 640));
        assert_eq!(fit((10_000, 3), 64), (64, 1));
    }

    #[test]
    fn a_pair_is_scaled_as_one() {
        let pair = Pair { rgb: Picture::filled(40, 20, [1, 2, 3]), ir: Picture::filled(40, 20, [9]) };
        let small = resize_pair_to_fit(&pair, 10);
        assert_eq!(small, Pair { rgb: Picture::filled(10, 5, [1, 2, 3]), ir: Picture::filled(10, 5, [9]) });
    }
}
