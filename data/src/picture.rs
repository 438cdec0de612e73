//! Decoded pictures: 8 bits a channel, RGB with three channels, infrared with one.

use std::fmt;

/// A picture of `C` channels: 3 for RGB, 1 for infrared.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture<const C: usize> {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height * C` bytes: row after row, the channels of a pixel side by side.
    pub pixels: Vec<u8>,
}

/// The two pictures of one scene, of one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// What the RGB camera saw.
    pub rgb: Picture<3>,
    /// What the infrared camera saw, in the frame of the RGB picture.
    pub ir: Picture<1>,
}

impl Pair {
    /// Width and height of both pictures.
    pub fn size(&self) -> (usize, usize) {
        self.rgb.size()
    }
}

impl<const C: usize> Picture<C> {
    /// A picture of one colour.
    pub fn filled(width: usize, height: usize, colour: [u8; C]) -> Self {
        Picture { width, height, pixels: colour.repeat(width * height) }
    }

    /// A picture of these bytes; `None` where they are not `width * height * C`.
    pub fn from_pixels(width: usize, height: usize, pixels: Vec<u8>) -> Option<Self> {
        let expected = width.checked_mul(height)?.checked_mul(C)?;
        (pixels.len() == expected).then_some(Picture { width, height, pixels })
    }

    /// Width and height.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// The channels of the pixel in column `x` of row `y`. Panics outside the picture, as an index does.
    pub fn pixel(&self, x: usize, y: usize) -> [u8; C] {
        let start = (y * self.width + x) * C;
        std::array::from_fn(|channel| self.pixels[start + channel])
    }

    /// Row `y`, `width * C` bytes. Panics outside the picture, as an index does.
    pub fn row(&self, y: usize) -> &[u8] {
        &self.pixels[y * self.width * C..(y + 1) * self.width * C]
    }
}

impl<const C: usize> fmt::Debug for Picture<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture {}x{}x{C}", self.width, self.height)
    }
}
