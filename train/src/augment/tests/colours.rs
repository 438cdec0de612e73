//! What becomes of colours: the sampler against the textbook.

use super::*;

/// One picture of these pixels, through the sampler with these factors.
fn changed(pair: &Pair, photometry: Photometry) -> Pictures {
    let mut draw = Draw::new(&Augmentation::none(), 0, 0, 0, &[0]);
    draw.photometry = photometry;
    on_cpu(&[draw], std::slice::from_ref(pair), pair.rgb.width).0
}

fn factors(hsv: [f32; 3], ir_contrast: f32, ir_brightness: f32) -> Photometry {
    Photometry { hsv, ir_brightness, ir_contrast }
}

/// Every 17th level of each channel: greys, black, white and all sextants are among them. Infrared runs through all
/// levels.
fn palette() -> Pair {
    let level = |i: usize| (17 * (i & 15)) as u8;
    let pixels = (0..64 * 64).flat_map(|i| [level(i >> 8), level(i >> 4), level(i)]).collect();
    let ir = (0..64 * 64).map(|i| i as u8).collect();
    Pair { rgb: Picture { width: 64, height: 64, pixels }, ir: Picture { width: 64, height: 64, pixels: ir } }
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
    let (hue, saturation, value) =
        ((hue * by_hue).rem_euclid(6.0), (saturation * by_saturation).min(1.0), (value * by_value).min(1.0));
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
    let pair = palette();
    for hsv in [[1.015, 1.7, 0.6], [0.5, 0.3, 1.4]] {
        let planes = values(&changed(&pair, factors(hsv, 1.0, 1.0)).rgb);
        for at in 0..64 * 64 {
            let pixel = pair.rgb.pixel(at % 64, at / 64).map(|byte| f64::from(byte) / 255.0);
            for (c, expected) in by_the_textbook(pixel, hsv).iter().enumerate() {
                let is = f64::from(planes[c * 64 * 64 + at]);
                assert!((is - expected).abs() < 1e-5, "{pixel:?} channel {c}: {is}, not {expected}");
            }
        }
    }
}

#[test]
fn grey_stays_grey_and_factors_of_one_change_nothing() {
    let grey = grey_pair(16, 16, |_, _| 114);
    let is = values(&changed(&grey, factors([0.99, 1.6, 0.8], 1.0, 1.0)).rgb);
    assert!(is.iter().all(|v| (v - 0.8 * 114.0 / 255.0).abs() < 1e-6));
    let pair = palette();
    let same = changed(&pair, factors([1.0; 3], 1.0, 1.0));
    let bytes = |t: &Tensor| values(t).iter().map(|v| v * 255.0).collect::<Vec<f32>>();
    assert_eq!(
        bytes(&same.ir.select(1, 1)),
        pair.ir.pixels.iter().map(|&b| f32::from(b)).collect::<Vec<f32>>()
    );
}

#[test]
fn infrared_contrast_turns_about_the_border() {
    let pair = palette();
    let is = values(&changed(&pair, factors([1.0; 3], 1.2, 0.9)).ir.select(1, 0));
    let grey = 114.0 / 255.0;
    for (is, &byte) in is.iter().zip(&pair.ir.pixels) {
        let before = f32::from(byte) / 255.0;
        let expected = (((before - grey) * 1.2 + grey) * 0.9).clamp(0.0, 1.0);
        assert!((is - expected).abs() < 1e-6, "{before}: {is}, not {expected}");
    }
}
