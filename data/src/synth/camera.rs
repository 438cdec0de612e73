//! What a camera adds to a scene: noise that grows with the signal, and JPEG.

use std::path::Path;

use jpeg_encoder::SamplingFactor;

use crate::error::DataError;
use crate::jpeg;
use crate::picture::{Pair, Picture};
use crate::random::Random;

/// Chosen with the noise below so that an average pair of 1280x1024 weighs about 470 kB, as recorded ones do.
const QUALITY: u8 = 90;

/// Noise of a sensor: a floor from reading it out, and shot noise whose variance grows with the signal.
struct Sensor {
    /// Standard deviation in the dark, in steps of 1/255.
    floor: f32,
    /// Variance added by each step of signal.
    shot: f32,
}

/// At night the gain is turned up, and the noise with it.
const RGB_DAY: Sensor = Sensor { floor: 1.8, shot: 0.055 };
const RGB_NIGHT: Sensor = Sensor { floor: 3.3, shot: 0.13 };
const IR: Sensor = Sensor { floor: 2.9, shot: 0.0 };
/// Part of the luma noise that the colour channels get on top, each its own.
const CHROMA: f32 = 0.4;

/// Two bytes added make a triangular draw with this standard deviation.
const TRIANGLE_SIGMA: f32 = 104.5;

impl Sensor {
    /// Per signal value, what to multiply a triangular draw with, in 1/65536.
    fn amplitudes(&self, scale: f32) -> [i32; 256] {
        std::array::from_fn(|value| {
            let sigma = (self.floor.powi(2) + self.shot * value as f32).sqrt();
            (scale * sigma / TRIANGLE_SIGMA * 65536.0) as i32
        })
    }
}

/// Adds noise to both pictures: one draw of 64 bits a pixel serves luma, two chroma channels and infrared.
pub(super) fn expose(pair: &mut Pair, night: bool, random: &mut Random) {
    let sensor = if night { RGB_NIGHT } else { RGB_DAY };
    let (luma, chroma, thermal) = (sensor.amplitudes(1.0), sensor.amplitudes(CHROMA), IR.amplitudes(1.0));
    for (rgb, ir) in pair.rgb.pixels.chunks_exact_mut(3).zip(&mut pair.ir.pixels) {
        let bytes = random.bits().to_le_bytes();
        let draw = |i: usize| i32::from(bytes[2 * i]) + i32::from(bytes[2 * i + 1]) - 255;
        let grey = usize::from(rgb[1]);
        let shared = draw(0) * luma[grey];
        rgb[0] = noisy(rgb[0], shared + draw(1) * chroma[grey]);
        rgb[1] = noisy(rgb[1], shared);
        rgb[2] = noisy(rgb[2], shared + draw(2) * chroma[grey]);
        *ir = noisy(*ir, draw(3) * thermal[usize::from(*ir)]);
    }
}

#[inline]
fn noisy(value: u8, noise: i32) -> u8 {
    (i32::from(value) + ((noise + 32768) >> 16)).clamp(0, 255) as u8
}

/// Colour as cameras store it, with halved chroma.
pub(super) fn compress_rgb(rgb: &Picture<3>, path: &Path) -> Result<Vec<u8>, DataError> {
    jpeg::compress(rgb, QUALITY, SamplingFactor::F_2_2, path)
}

/// Infrared as three equal components, as the usual paired data sets ship it.
pub(super) fn compress_ir(ir: &Picture<1>, path: &Path) -> Result<Vec<u8>, DataError> {
    let pixels = ir.pixels.iter().flat_map(|&grey| [grey; 3]).collect();
    let grey = Picture { width: ir.width, height: ir.height, pixels };
    jpeg::compress(&grey, QUALITY, SamplingFactor::F_2_2, path)
}
