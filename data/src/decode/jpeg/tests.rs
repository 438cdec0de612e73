//! Against the decoder that knows more, and against damage.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::*;
use crate::random::Random;

/// How a test picture is written.
#[derive(Clone, Copy, Debug)]
struct Form {
    size: (usize, usize),
    sampling: SamplingFactor,
    grey: bool,
    restart: u16,
    optimised: bool,
    progressive: bool,
}

const PLAIN: Form = Form {
    size: (176, 88),
    sampling: SamplingFactor::F_2_2,
    grey: false,
    restart: 0,
    optimised: false,
    progressive: false,
};

/// Waves and noise that keep away from black and white, so that nothing is clipped.
fn file(form: Form) -> Vec<u8> {
    let mut random = Random::keyed(&[5]);
    let channels = if form.grey { 1 } else { 3 };
    let (width, height) = form.size;
    let mut pixels = Vec::new();
    for i in 0..width * height {
        let (x, y) = ((i % width) as f32, (i / width) as f32);
        for c in 0..channels {
            let wave = 40.0 * (x / (17.0 + c as f32 * 30.0)).sin() + 25.0 * (y / 40.0 + c as f32).cos();
            pixels.push((128.0 + wave + (random.bits() & 15) as f32 - 8.0) as u8);
        }
    }
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 90);
    encoder.set_sampling_factor(form.sampling);
    encoder.set_optimized_huffman_tables(form.optimised);
    encoder.set_progressive(form.progressive);
    encoder.set_restart_interval(form.restart);
    let kind = if form.grey { ColorType::Luma } else { ColorType::Rgb };
    encoder.encode(&pixels, width as u16, height as u16, kind).expect("a test picture");
    bytes
}

/// The whole picture, by the other decoder.
fn whole<const C: usize>(bytes: &[u8]) -> Result<Picture<C>, String> {
    let colours = if C == 3 { ColorSpace::RGB } else { ColorSpace::Luma };
    Jpeg::open(bytes)?.decode(colours)
}

/// The mean and the largest difference between a picture and the means of a larger one.
fn difference<const C: usize>(small: &Picture<C>, large: &Picture<C>) -> (f32, f32) {
    let divisor = large.width / small.width;
    assert_eq!((small.width * divisor, small.height * divisor), large.size());
    let (mut sum, mut worst) = (0.0, 0.0f32);
    for (i, pixel) in small.pixels.as_chunks::<C>().0.iter().enumerate() {
        let (x, y) = (i % small.width * divisor, i / small.width * divisor);
        for (c, &value) in pixel.iter().enumerate() {
            let of =
                |dy: usize| (0..divisor).map(|dx| f32::from(large.pixel(x + dx, y + dy)[c])).sum::<f32>();
            let mean = (0..divisor).map(of).sum::<f32>() / (divisor * divisor) as f32;
            sum += (f32::from(value) - mean).abs();
            worst = worst.max((f32::from(value) - mean).abs());
        }
    }
    (sum / small.pixels.len() as f32, worst)
}

fn forms() -> Vec<Form> {
    let grey = Form { grey: true, size: (88, 64), ..PLAIN };
    let mut forms = vec![grey, Form { optimised: true, ..grey }];
    for sampling in
        [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_1_2, SamplingFactor::F_2_2]
    {
        // Neither a multiple of a unit, nor units a multiple of eight.
        forms.push(Form { sampling, ..PLAIN });
        forms.push(Form { sampling, restart: 3, size: (264, 24), ..PLAIN });
    }
    forms
}

#[test]
fn pixels_are_the_means_of_those_of_the_whole_picture() {
    for form in forms() {
        let bytes = file(form);
        let (luma, rgb) = (whole::<1>(&bytes).expect("good"), whole::<3>(&bytes).expect("good"));
        for divisor in [2, 4, 8] {
            let small = baseline::decode::<1>(&bytes, form.size, divisor).expect("common");
            let (mean, worst) = difference(&small, &luma);
            assert!(mean < 0.5 && worst <= 1.5, "{form:?} / {divisor}: {mean} {worst}");
            let small = baseline::decode::<3>(&bytes, form.size, divisor).expect("common");
            // The other decoder blurs chroma as it enlarges it.
            let (mean, worst) = difference(&small, &rgb);
            assert!(mean < 0.8 && worst < 8.0, "{form:?} / {divisor}: {mean} {worst}");
        }
    }
}

#[test]
fn a_whole_picture_is_that_of_the_other_decoder() {
    let odd = |form: Form| [form, Form { size: (form.size.0 - 3, form.size.1 - 5), ..form }];
    for form in forms().into_iter().flat_map(odd) {
        let bytes = file(form);
        let plane = baseline::decode::<1>(&bytes, form.size, 1).expect("common");
        let (mean, worst) = difference(&plane, &whole(&bytes).expect("good"));
        assert!(mean < 0.1 && worst <= 2.0, "{form:?}: {mean} {worst}");
        let picture = baseline::decode::<3>(&bytes, form.size, 1).expect("common");
        let (mean, worst) = difference(&picture, &whole(&bytes).expect("good"));
        assert!(mean < 0.3 && worst <= 6.0, "{form:?}: {mean} {worst}");
    }
}

#[test]
fn what_is_not_common_is_left_to_the_other_decoder() {
    // With tables of its own, the encoder writes a scan for each component.
    for form in [Form { progressive: true, ..PLAIN }, Form { optimised: true, ..PLAIN }] {
        let bytes = file(form);
        assert!(baseline::decode::<3>(&bytes, PLAIN.size, 2).is_none(), "{form:?}");
        let picture = Jpeg::open(&bytes).and_then(|jpeg| jpeg.rgb((1, 1))).expect("good");
        assert_eq!(picture.size(), PLAIN.size);
    }
    assert!(baseline::decode::<3>(&file(PLAIN), (88, 176), 2).is_none(), "another size than was read before");
}

#[test]
fn pictures_become_no_smaller_than_they_are_wanted() {
    let bytes = file(PLAIN);
    let jpeg = Jpeg::open(&bytes).expect("good");
    for (least, size) in [
        ((88, 44), (88, 44)),
        ((88, 45), (176, 88)),
        ((60, 30), (88, 44)),
        ((44, 1), (44, 22)),
        ((1, 1), (22, 11)),
        ((usize::MAX, usize::MAX), (176, 88)),
    ] {
        assert_eq!(jpeg.rgb(least).expect("good").size(), size, "{least:?}");
        assert_eq!(jpeg.ir(least).expect("good").size(), size, "{least:?}");
    }
    let odd = file(Form { size: (175, 88), ..PLAIN });
    assert_eq!(Jpeg::open(&odd).expect("good").rgb((1, 1)).expect("good").size(), (175, 88), "not by halves");
}

#[test]
fn damage_is_no_panic_and_nothing_is_taken_for_whole_that_the_other_decoder_refuses() {
    let mut random = Random::keyed(&[3]);
    let (mut refused, mut taken) = (0, 0);
    for form in [PLAIN, Form { restart: 2, ..PLAIN }, Form { grey: true, optimised: true, ..PLAIN }] {
        let good = file(form);
        for _ in 0..150 {
            let mut bytes = good.clone();
            for _ in 0..1 + random.bits() % 3 {
                let at = 2 + random.bits() as usize % (bytes.len() - 4);
                match random.bits() % 4 {
                    0 => drop(bytes.drain(at..(at + 20).min(bytes.len() - 2))),
                    1 => bytes[at] = 0xff,
                    _ => bytes[at] = random.bits() as u8,
                }
            }
            for divisor in [1, 2, 4, 8] {
                let picture = baseline::decode::<1>(&bytes, form.size, divisor);
                let _ = baseline::decode::<3>(&bytes, form.size, divisor);
                if divisor > 1 {
                    continue;
                }
                if picture.is_none() {
                    refused += 1;
                } else if Jpeg::open(&bytes).is_ok() {
                    taken += 1;
                    let other = whole::<1>(&bytes);
                    assert!(other.is_ok(), "{form:?}: {:?}", other.map(drop));
                }
            }
        }
    }
    assert!(refused > 40 && taken > 40, "{refused} refused, {taken} taken");
}
