//! The letterbox: a picture scaled to fit the network's input, centred, the border filled with grey.

use crate::picture::{Pair, Picture};
use crate::resize::{Place, resize_into, scaled_to_fit};

/// What the border is made of, in every channel of both modalities.
pub const BORDER: u8 = 114;

/// Where a picture lies within the network's input. Sizes are (width, height) in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letterbox {
    /// Size of the picture.
    pub source: (usize, usize),
    /// Size of the network's input.
    pub target: (usize, usize),
    /// Size of the picture within it.
    pub resized: (usize, usize),
    /// Columns of border to the left of the picture.
    pub left: usize,
    /// Rows of border above the picture.
    pub top: usize,
}

impl Letterbox {
    /// Scales `source` to the largest size that fits `target`, and centres it; an odd row or column of border goes
    /// to the right and to the bottom. A small picture is enlarged.
    pub fn new(source: (usize, usize), target: (usize, usize)) -> Letterbox {
        let resized = scaled_to_fit(source, target);
        let before = |target: usize, side: usize| {
            let border = target.saturating_sub(side) as f64;
            (border / 2.0 - 0.1).round_ties_even().max(0.0) as usize
        };
        Letterbox {
            source,
            target,
            resized,
            left: before(target.0, resized.0),
            top: before(target.1, resized.1),
        }
    }

    /// Brings a pair to the target size. A pair that already has the resized size is only framed, whatever the
    /// source was, so that pairs from a cache are not resized twice.
    pub fn apply(&self, pair: &Pair) -> Pair {
        Pair { rgb: self.frame(&pair.rgb), ir: self.frame(&pair.ir) }
    }

    /// Brings one picture to the target size, as [`Letterbox::apply`] does with two.
    pub fn frame<const C: usize>(&self, picture: &Picture<C>) -> Picture<C> {
        let mut pixels = Vec::new();
        self.frame_into(picture, &mut pixels);
        Picture { width: self.target.0, height: self.target.1, pixels }
    }

    /// [`Letterbox::frame`] into a buffer, whatever it held: border and resized picture are written in one pass.
    pub fn frame_into<const C: usize>(&self, picture: &Picture<C>, pixels: &mut Vec<u8>) {
        let (width, height) = self.target;
        pixels.resize(width * height * C, BORDER);
        self.fill_border::<C>(pixels);
        if picture.size() == self.resized {
            return self.paste(picture, pixels);
        }
        let (resized_width, resized_height) = self.resized;
        let place = Place { left: self.left, top: self.top, width: resized_width, height: resized_height };
        resize_into(picture, pixels, self.target, place);
    }

    fn fill_border<const C: usize>(&self, pixels: &mut [u8]) {
        let row = self.target.0 * C;
        let (left, right) = (self.left * C, (self.left + self.resized.0) * C);
        for (y, pixels) in pixels.chunks_exact_mut(row.max(1)).enumerate() {
            if y < self.top || y >= self.top + self.resized.1 {
                pixels.fill(BORDER);
            } else {
                pixels[..left].fill(BORDER);
                pixels[right..].fill(BORDER);
            }
        }
    }

    fn paste<const C: usize>(&self, picture: &Picture<C>, pixels: &mut [u8]) {
        for y in 0..picture.height {
            let start = ((self.top + y) * self.target.0 + self.left) * C;
            pixels[start..start + picture.width * C].copy_from_slice(picture.row(y));
        }
    }

    /// A box (x1, y1, x2, y2) in pixels of the target, in pixels of the source and clipped to it.
    pub fn to_source(&self, [x1, y1, x2, y2]: [f32; 4]) -> [f32; 4] {
        let back = |v: f32, before: usize, source: usize, resized: usize| {
            let v = (v - before as f32) * (source as f32 / resized as f32);
            v.clamp(0.0, source as f32)
        };
        let x = |v| back(v, self.left, self.source.0, self.resized.0);
        let y = |v| back(v, self.top, self.source.1, self.resized.1);
        [x(x1), y(y1), x(x2), y(y2)]
    }

    /// A box (x1, y1, x2, y2) in pixels of the source, in pixels of the target.
    pub fn to_target(&self, [x1, y1, x2, y2]: [f32; 4]) -> [f32; 4] {
        let x = |v: f32| v * (self.resized.0 as f32 / self.source.0 as f32) + self.left as f32;
        let y = |v: f32| v * (self.resized.1 as f32 / self.source.1 as f32) + self.top as f32;
        [x(x1), y(y1), x(x2), y(y2)]
    }
}

/// Writes a pair as the planes a network reads: channel after channel, each `height * width` values in 0..=1; the
/// infrared plane three times.
///
/// `rgb` and `ir` each hold `3 * height * width` values; panics where they do not.
pub fn write_planes(pair: &Pair, rgb: &mut [f32], ir: &mut [f32]) {
    write_rgb(&pair.rgb.pixels, rgb);
    write_ir(&pair.ir.pixels, ir);
}

/// The RGB half of [`write_planes`], from pixels that lie one after the other.
pub fn write_rgb(pixels: &[u8], rgb: &mut [f32]) {
    let plane = pixels.len() / 3;
    assert_eq!(rgb.len(), 3 * plane, "three planes of {plane} values each");
    let (red, rest) = rgb.split_at_mut(plane);
    let (green, blue) = rest.split_at_mut(plane);
    let channels = red.iter_mut().zip(green).zip(blue);
    for (pixel, ((red, green), blue)) in pixels.as_chunks::<3>().0.iter().zip(channels) {
        *red = unit(pixel[0]);
        *green = unit(pixel[1]);
        *blue = unit(pixel[2]);
    }
}

/// The infrared half of [`write_planes`].
pub fn write_ir(pixels: &[u8], ir: &mut [f32]) {
    let plane = pixels.len();
    assert_eq!(ir.len(), 3 * plane, "three planes of {plane} values each");
    let (first, others) = ir.split_at_mut(plane);
    for (value, &byte) in first.iter_mut().zip(pixels) {
        *value = unit(byte);
    }
    let (second, third) = others.split_at_mut(plane);
    second.copy_from_slice(first);
    third.copy_from_slice(first);
}

fn unit(byte: u8) -> f32 {
    f32::from(byte) / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometry_follows_the_reference() {
        let llvip = Letterbox::new((1280, 1024), (640, 640));
        assert_eq!((llvip.resized, llvip.left, llvip.top), ((640, 512), 0, 64));
        // 45 rows of border: 22 above, 23 below.
        let odd = Letterbox::new((640, 595), (640, 640));
        assert_eq!((odd.resized, odd.left, odd.top), ((640, 595), 0, 22));
        let enlarged = Letterbox::new((50, 100), (640, 640));
        assert_eq!((enlarged.resized, enlarged.left, enlarged.top), ((320, 640), 160, 0));
        let wide = Letterbox::new((4000, 2), (640, 320));
        assert_eq!((wide.resized, wide.top), ((640, 1), 159));
    }

    #[test]
    fn boxes_come_back_where_they_were() {
        for source in [(1280, 1024), (543, 322), (37, 411), (640, 640), (3, 2)] {
            let letterbox = Letterbox::new(source, (640, 416));
            let (w, h) = (source.0 as f32, source.1 as f32);
            let one = [0.1 * w, 0.25 * h, 0.8 * w, h];
            let back = letterbox.to_source(letterbox.to_target(one));
            for (a, b) in one.iter().zip(back) {
                assert!((a - b).abs() < 1e-3, "{source:?}: {one:?} became {back:?}");
            }
        }
    }

    #[test]
    fn boxes_are_clipped_to_the_source() {
        let letterbox = Letterbox::new((1280, 1024), (640, 640));
        assert_eq!(letterbox.to_source([-10.0, 0.0, 700.0, 640.0]), [0.0, 0.0, 1280.0, 1024.0]);
    }

    #[test]
    fn the_border_is_grey_and_the_picture_is_in_its_place() {
        let pair = Pair { rgb: Picture::filled(40, 20, [10, 20, 30]), ir: Picture::filled(40, 20, [200]) };
        let framed = Letterbox::new((40, 20), (32, 32)).apply(&pair);
        assert_eq!(framed.size(), (32, 32));
        for (y, expected) in
            [(7, ([BORDER; 3], [BORDER])), (8, ([10, 20, 30], [200])), (23, ([10, 20, 30], [200]))]
        {
            assert_eq!((framed.rgb.pixel(5, y), framed.ir.pixel(31, y)), expected, "row {y}");
        }
        assert_eq!(framed.ir.pixel(0, 24), [BORDER]);
    }

    #[test]
    fn a_buffer_is_framed_as_a_picture_is_whatever_it_held() {
        let mut rgb = Picture::filled(50, 30, [0; 3]);
        rgb.pixels.iter_mut().enumerate().for_each(|(i, v)| *v = (i * 31 % 251) as u8);
        for target in [(32, 32), (64, 48), (50, 30), (50, 64)] {
            let letterbox = Letterbox::new((50, 30), target);
            let mut buffer = vec![7; 4 * 32 * 32];
            letterbox.frame_into(&rgb, &mut buffer);
            let whole = Letterbox { target: letterbox.resized, left: 0, top: 0, ..letterbox }.frame(&rgb);
            let mut wanted = Picture::filled(target.0, target.1, [BORDER; 3]);
            for y in 0..whole.height {
                let start = ((letterbox.top + y) * target.0 + letterbox.left) * 3;
                wanted.pixels[start..start + whole.width * 3].copy_from_slice(whole.row(y));
            }
            assert_eq!(buffer, wanted.pixels, "{target:?}");
        }
    }

    #[test]
    fn planes_are_channel_after_channel() {
        let rgb = Picture { width: 2, height: 1, pixels: vec![0, 51, 255, 102, 153, 204] };
        let pair = Pair { rgb, ir: Picture { width: 2, height: 1, pixels: vec![255, 51] } };
        let (mut planes, mut ir) = ([0.0; 6], [0.0; 6]);
        write_planes(&pair, &mut planes, &mut ir);
        assert_eq!(planes, [0.0, 0.4, 0.2, 0.6, 1.0, 0.8]);
        assert_eq!(ir, [1.0, 0.2, 1.0, 0.2, 1.0, 0.2]);
    }
}
