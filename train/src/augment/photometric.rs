//! Colours: hue, saturation and value of RGB, brightness and contrast of infrared.
//!
//! Both run after the warp, over the whole picture, so they change the border with the rest: the border is part of
//! what the network sees of a scene's light. On grey they leave grey: the border stays equal in R, G and B.

use crate::torch::{Device, Kind, Tensor, TorchError, upload};
use yf_data::letterbox::BORDER;

use super::draw::Photometry;

/// Multiplies hue (turns, wrapping), saturation and value (stopping at 1) of RGB [B, 3, S, S] in 0..1 by the
/// factors of each picture.
pub(super) fn hsv(rgb: &Tensor, factors: &[&Photometry]) -> Result<Tensor, TorchError> {
    if factors.iter().all(|f| f.hsv == [1.0; 3]) {
        return Ok(rgb.shallow_clone());
    }
    let factor = |i: usize| column(factors.iter().map(|f| f.hsv[i]).collect(), rgb.device());
    let (hue, chroma, value) = hue_chroma_value(rgb)?;

    // Saturation is chroma / value; both factors applied, chroma follows from the new value.
    let saturation = chroma.f_div(&value.f_clamp_min(TINY)?)?.f_mul_(&factor(1)?)?.f_clamp_max_(1.0)?;
    let value = value.f_mul(&factor(2)?)?.f_clamp_max_(1.0)?;
    let chroma = saturation.f_mul(&value)?;
    let mut hue = hue.f_mul(&factor(0)?)?;
    let mut turns = hue.f_div_scalar(6.0)?.f_floor_()?;
    let hue = hue.f_sub_(&turns.f_mul_scalar_(6.0)?)?;

    // Red, green and blue are each full within one sixth of a turn of their own hue and gone beyond two.
    let red = hue.f_sub_scalar(3.0)?.f_abs_()?.f_sub_scalar_(1.0)?;
    let green = hue.f_sub_scalar(2.0)?.f_abs_()?.f_neg_()?.f_add_scalar_(2.0)?;
    let blue = hue.f_sub_scalar(4.0)?.f_abs_()?.f_neg_()?.f_add_scalar_(2.0)?;
    let low = value.f_sub(&chroma)?;
    let plane = |mut share: Tensor| share.f_clamp_(0.0, 1.0)?.f_mul_(&chroma)?.f_add_(&low);
    Ok(Tensor::f_cat(&[plane(red)?, plane(green)?, plane(blue)?], 1)?)
}

/// Smallest divisor; what is divided by it is 0 then.
const TINY: f64 = 1e-6;

/// Hue in sixths of a turn (0..6, 0 on grey), chroma and value of RGB, each [B, 1, S, S].
fn hue_chroma_value(rgb: &Tensor) -> Result<(Tensor, Tensor, Tensor), TorchError> {
    let [red, green, blue] = [rgb.f_narrow(1, 0, 1)?, rgb.f_narrow(1, 1, 1)?, rgb.f_narrow(1, 2, 1)?];
    let value = red.f_maximum(&green)?.f_maximum(&blue)?;
    let chroma = value.f_sub(&red.f_minimum(&green)?.f_minimum(&blue)?)?;
    let divisor = chroma.f_clamp_min(TINY)?;
    let of_red = green.f_sub(&blue)?.f_div_(&divisor)?;
    let of_green = blue.f_sub(&red)?.f_div_(&divisor)?.f_add_scalar_(2.0)?;
    let of_blue = red.f_sub(&green)?.f_div_(&divisor)?.f_add_scalar_(4.0)?;
    let hue = of_green.f_where_self(&green.f_eq_tensor(&value)?, &of_blue)?;
    let hue = of_red.f_where_self(&red.f_eq_tensor(&value)?, &hue)?;
    // Only the reds next to magenta are negative.
    let hue = hue.f_add(&hue.f_lt(0.0)?.f_to_kind(Kind::Float)?.f_mul_scalar_(6.0)?)?;
    Ok((hue, chroma, value))
}

/// Contrast about the border's grey, then brightness, of infrared [B, 1, S, S] in 0..1:
/// `((ir - grey) * contrast + grey) * brightness`, kept within 0..1.
pub(super) fn infrared(ir: &Tensor, factors: &[&Photometry]) -> Result<Tensor, TorchError> {
    if factors.iter().all(|f| f.ir_contrast == 1.0 && f.ir_brightness == 1.0) {
        return Ok(ir.shallow_clone());
    }
    let grey = f32::from(BORDER) / 255.0;
    let gain = column(factors.iter().map(|f| f.ir_contrast * f.ir_brightness).collect(), ir.device())?;
    let level = factors.iter().map(|f| grey * (1.0 - f.ir_contrast) * f.ir_brightness).collect();
    Ok(ir.f_mul(&gain)?.f_add_(&column(level, ir.device())?)?.f_clamp_(0.0, 1.0)?)
}

/// A number a picture, as [B, 1, 1, 1].
fn column(values: Vec<f32>, device: Device) -> Result<Tensor, TorchError> {
    let host = Tensor::f_from_slice(&values)?.f_view([-1, 1, 1, 1])?;
    upload(&host, device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(hsv: [f32; 3], ir_contrast: f32, ir_brightness: f32) -> Photometry {
        Photometry { hsv, ir_brightness, ir_contrast }
    }

    /// The textbook's conversion there and back (hexcone), one pixel at a time, in f64.
    fn by_the_textbook([r, g, b]: [f64; 3], factors: [f32; 3]) -> [f64; 3] {
        let (value, low) = (r.max(g).max(b), r.min(g).min(b));
        let chroma = value - low;
        let hue = match chroma {
            0.0 => 0.0,
            _ if value == r => ((g - b) / chroma).rem_euclid(6.0),
            _ if value == g => (b - r) / chroma + 2.0,
            _ => (r - g) / chroma + 4.0,
        };
        let saturation = if value == 0.0 { 0.0 } else { chroma / value };
        let [by_hue, by_saturation, by_value] = factors.map(f64::from);
        let (hue, saturation, value) = (
            (hue * by_hue).rem_euclid(6.0),
            (saturation * by_saturation).min(1.0),
            (value * by_value).min(1.0),
        );
        let chroma = value * saturation;
        let second = chroma * (1.0 - (hue.rem_euclid(2.0) - 1.0).abs());
        let low = value - chroma;
        let [r, g, b] = match hue as usize {
            0 => [chroma, second, 0.0],
            1 => [second, chroma, 0.0],
            2 => [0.0, chroma, second],
            3 => [0.0, second, chroma],
            4 => [second, 0.0, chroma],
            _ => [chroma, 0.0, second],
        };
        [r + low, g + low, b + low]
    }

    #[test]
    fn colours_change_as_the_textbook_says() {
        // Every 17th level of each channel: greys, black, white and all sextants are among them.
        let level = |i: usize| i as f32 / 15.0;
        let side = 64;
        let pixels: Vec<[f32; 3]> =
            (0..side * side).map(|i| [level(i >> 8), level((i >> 4) & 15), level(i & 15)]).collect();
        let planes: Vec<f32> = (0..3).flat_map(|c| pixels.iter().map(move |p| p[c])).collect();
        let planes = Tensor::from_slice(&planes).view([1, 3, side as i64, side as i64]);
        let batch = Tensor::cat(&[&planes, &planes], 0);
        let both = [factors([1.015, 1.7, 0.6], 1.0, 1.0), factors([0.5, 0.3, 1.4], 1.0, 1.0)];
        let changed = hsv(&batch, &both.iter().collect::<Vec<_>>()).unwrap();
        for (i, factors) in both.iter().enumerate() {
            let planes = Vec::<f32>::try_from(changed.select(0, i as i64).flatten(0, -1)).unwrap();
            for (at, pixel) in pixels.iter().enumerate() {
                for (c, expected) in by_the_textbook(pixel.map(f64::from), factors.hsv).iter().enumerate() {
                    let is = f64::from(planes[c * side * side + at]);
                    assert!((is - expected).abs() < 1e-5, "{pixel:?} channel {c}: {is}, not {expected}");
                }
            }
        }
    }

    #[test]
    fn grey_stays_grey_and_factors_of_one_change_nothing() {
        let grey = Tensor::full([1, 3, 4, 4], 114.0 / 255.0, (Kind::Float, Device::Cpu));
        let changed = hsv(&grey, &[&factors([0.99, 1.6, 0.8], 1.0, 1.0)]).unwrap();
        let difference = (changed - &grey * 0.8).abs().max().double_value(&[]);
        assert!(difference < 1e-6);
        let colours = Tensor::rand([1, 3, 8, 8], (Kind::Float, Device::Cpu));
        assert!(hsv(&colours, &[&factors([1.0; 3], 1.0, 1.0)]).unwrap() == colours);
    }

    #[test]
    fn infrared_contrast_turns_about_the_border() {
        let grey = 114.0 / 255.0;
        let ir = Tensor::from_slice(&[0.0f32, grey, 0.5, 1.0]).view([1, 1, 2, 2]);
        let changed = infrared(&ir, &[&factors([1.0; 3], 1.2, 0.9)]).unwrap();
        for (at, before) in [0.0f32, grey, 0.5, 1.0].into_iter().enumerate() {
            let expected = (((before - grey) * 1.2 + grey) * 0.9).clamp(0.0, 1.0);
            let is = changed.flatten(0, -1).double_value(&[at as i64]) as f32;
            assert!((is - expected).abs() < 1e-6, "{before}: {is}, not {expected}");
        }
    }
}
