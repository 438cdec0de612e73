//! The dice: how strong the augmentation is, and the draws of one output picture.
//!
//! A draw is a function of (seed, epoch, picture) alone: every number comes from a stream keyed by them, so neither
//! threads, nor ranks, nor the order of a batch can change it.

use yf_data::random::Random;
use yf_plan::{Modality, Recipe};

/// How strong the augmentation is. Ranges are those of [`Recipe::check`].
#[derive(Debug, Clone, PartialEq)]
pub struct Augmentation {
    /// Chance of a mosaic of four pictures.
    pub mosaic: f64,
    /// Largest shift, as a fraction of the output's side.
    pub translate: f64,
    /// The scale factor is drawn from 1 - scale to 1 + scale.
    pub scale: f64,
    /// Chance of a left-right flip.
    pub fliplr: f64,
    /// Gains of hue, saturation and value: each is multiplied by a factor of 1 - gain to 1 + gain.
    pub hsv: [f64; 3],
    /// Gain of the infrared brightness, a factor like the ones of `hsv`.
    pub ir_brightness: f64,
    /// Gain of the infrared contrast: a factor on the distance from the border's grey.
    pub ir_contrast: f64,
    /// Chances that the RGB and that the infrared picture is blanked; together at most 1.
    pub dropout: [f64; 2],
    /// Largest shift of infrared against RGB in x and y, as a fraction of a source's longer side.
    pub ir_shift: f64,
}

impl From<&Recipe> for Augmentation {
    fn from(recipe: &Recipe) -> Self {
        Augmentation {
            mosaic: recipe.mosaic,
            translate: recipe.translate,
            scale: recipe.scale,
            fliplr: recipe.fliplr,
            hsv: [recipe.hsv_h, recipe.hsv_s, recipe.hsv_v],
            ir_brightness: recipe.ir_brightness,
            ir_contrast: recipe.ir_contrast,
            dropout: [recipe.rgb_dropout, recipe.ir_dropout],
            ir_shift: recipe.ir_shift,
        }
    }
}

impl Default for Augmentation {
    fn default() -> Self {
        Augmentation::from(&Recipe::default())
    }
}

impl Augmentation {
    /// No augmentation: every picture is letterboxed, nothing else.
    pub fn none() -> Self {
        Augmentation {
            mosaic: 0.0,
            translate: 0.0,
            scale: 0.0,
            fliplr: 0.0,
            hsv: [0.0; 3],
            ir_brightness: 0.0,
            ir_contrast: 0.0,
            dropout: [0.0; 2],
            ir_shift: 0.0,
        }
    }

    /// The augmentation of `epoch` (from 0) of a run of `epochs`: without mosaic in the last `close_mosaic`.
    pub fn in_epoch(&self, epoch: usize, epochs: usize, close_mosaic: usize) -> Self {
        let closed = epoch + close_mosaic >= epochs && close_mosaic > 0;
        Augmentation { mosaic: if closed { 0.0 } else { self.mosaic }, ..self.clone() }
    }
}

/// Factors on the colours of one output picture; 1 changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Photometry {
    /// Factors on hue (which wraps), saturation and value (which stop at 1).
    pub hsv: [f32; 3],
    /// Factor on the infrared level, after the contrast.
    pub ir_brightness: f32,
    /// Factor on the infrared distance from the border's grey.
    pub ir_contrast: f32,
}

/// The dice thrown for one output picture, before the sizes of its sources are known.
#[derive(Debug, Clone, PartialEq)]
pub struct Draw {
    pictures: Vec<usize>,
    /// Where the four pictures of a mosaic meet, in units of the output's side on a canvas of 2 x 2; 0.5 to 1.5.
    pub(super) centre: [f64; 2],
    /// Factor about the canvas' centre.
    pub(super) scale: f64,
    /// Shift in x and y, a fraction of the output's side.
    pub(super) shift: [f64; 2],
    /// Whether left and right change places.
    pub(super) flip: bool,
    pub(super) photometry: Photometry,
    /// Which cameras are seen; the other's picture is blank.
    pub(super) seen: Modality,
    /// Shift of infrared against RGB in x and y, a fraction of a source's longer side.
    pub(super) ir_shift: [f64; 2],
}

impl Draw {
    /// Throws the dice for `picture` in `epoch`; the others of a mosaic come from `partners`, of which there must be some.
    pub fn new(
        augmentation: &Augmentation,
        seed: u64,
        epoch: usize,
        picture: usize,
        partners: &[usize],
    ) -> Self {
        // Layout, geometry, colour and cameras draw from streams of their own: closing one leaves the others as they were.
        let stream = |purpose: u64| Random::keyed(&[seed, epoch as u64, picture as u64, purpose]);
        let (mut layout, mut geometry, mut colour, mut cameras) =
            (stream(1), stream(2), stream(3), stream(4));
        let mut pictures = vec![picture];
        if layout.chance(augmentation.mosaic as f32) {
            pictures.extend((0..3).map(|_| partners[layout.below(partners.len())]));
        }
        Draw {
            pictures,
            centre: [(); 2].map(|()| f64::from(layout.range(0.5, 1.5))),
            scale: 1.0 + symmetric(&mut geometry, augmentation.scale),
            shift: [(); 2].map(|()| symmetric(&mut geometry, augmentation.translate)),
            flip: geometry.chance(augmentation.fliplr as f32),
            photometry: Photometry {
                hsv: augmentation.hsv.map(|gain| factor(&mut colour, gain)),
                ir_brightness: factor(&mut colour, augmentation.ir_brightness),
                ir_contrast: factor(&mut colour, augmentation.ir_contrast),
            },
            seen: seen(&mut cameras, augmentation.dropout),
            ir_shift: [(); 2].map(|()| symmetric(&mut cameras, augmentation.ir_shift)),
        }
    }

    /// Indices of the pairs it needs: one, or the four of a mosaic (top left, top right, bottom left, bottom
    /// right before the flip), of which the first is the picture it was drawn for. An index may come twice.
    pub fn pictures(&self) -> &[usize] {
        &self.pictures
    }
}

/// Which cameras are left when each may fail, never both.
fn seen(random: &mut Random, [rgb, ir]: [f64; 2]) -> Modality {
    let drawn = f64::from(random.unit());
    if drawn < rgb {
        Modality::Ir
    } else if drawn < rgb + ir {
        Modality::Rgb
    } else {
        Modality::Both
    }
}

/// Uniform in -gain..gain.
fn symmetric(random: &mut Random, gain: f64) -> f64 {
    f64::from(random.range(-1.0, 1.0)) * gain
}

/// Uniform in 1 - gain..1 + gain.
fn factor(random: &mut Random, gain: f64) -> f32 {
    (1.0 + symmetric(random, gain)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pictures: usize) -> Vec<usize> {
        (0..pictures).collect()
    }

    #[test]
    fn a_draw_depends_on_its_key_alone() {
        let a = Augmentation::default();
        let forward: Vec<Draw> = (0..50).map(|i| Draw::new(&a, 7, 3, i, &all(50))).collect();
        let threads: Vec<Draw> = std::thread::scope(|scope| {
            let ranks: Vec<_> = (0..50)
                .rev()
                .map(|i| scope.spawn(move || (i, Draw::new(&Augmentation::default(), 7, 3, i, &all(50)))))
                .collect();
            let mut drawn: Vec<_> = ranks.into_iter().map(|r| r.join().unwrap()).collect();
            drawn.sort_by_key(|(i, _)| *i);
            drawn.into_iter().map(|(_, draw)| draw).collect()
        });
        assert_eq!(forward, threads);
        for other in [
            Draw::new(&a, 8, 3, 0, &all(50)),
            Draw::new(&a, 7, 4, 0, &all(50)),
            Draw::new(&a, 7, 3, 1, &all(50)),
        ] {
            assert_ne!(forward[0].scale, other.scale);
        }
    }

    #[test]
    fn draws_fill_their_ranges() {
        let a = Augmentation::default();
        let draws: Vec<Draw> = (0..4000).map(|i| Draw::new(&a, 0, 0, i, &all(4000))).collect();
        let mean = |f: &dyn Fn(&Draw) -> f64| draws.iter().map(f).sum::<f64>() / draws.len() as f64;
        assert!(
            draws.iter().all(|d| (0.5..1.5).contains(&d.scale) && d.shift.iter().all(|s| s.abs() <= 0.1))
        );
        assert!((mean(&|d| d.scale) - 1.0).abs() < 0.02);
        assert!((mean(&|d| f64::from(d.flip)) - 0.5).abs() < 0.03);
        assert!((mean(&|d| d.pictures[2] as f64) - 2000.0).abs() < 80.0);
        assert!((mean(&|d| d.centre[1]) - 1.0).abs() < 0.02);
        assert!(draws.iter().all(|d| (0.3..=1.7).contains(&d.photometry.hsv[1])));
    }

    #[test]
    fn cameras_fail_as_often_as_told_and_change_no_other_draw() {
        let told = Augmentation { dropout: [0.3, 0.1], ir_shift: 0.02, ..Augmentation::default() };
        let draws: Vec<Draw> = (0..4000).map(|i| Draw::new(&told, 0, 0, i, &all(4000))).collect();
        let part = |seen| draws.iter().filter(|d| d.seen == seen).count() as f64 / 4000.0;
        assert!((part(Modality::Ir) - 0.3).abs() < 0.03, "{}", part(Modality::Ir));
        assert!((part(Modality::Rgb) - 0.1).abs() < 0.02, "{}", part(Modality::Rgb));
        let shifts: Vec<f64> = draws.iter().flat_map(|d| d.ir_shift).collect();
        assert!(shifts.iter().all(|s| s.abs() <= 0.02) && shifts.iter().any(|s| *s > 0.019));
        for (i, with) in draws.iter().enumerate().take(50) {
            let without = Draw::new(&Augmentation::default(), 0, 0, i, &all(4000));
            assert_eq!((without.seen, without.ir_shift), (Modality::Both, [0.0; 2]));
            assert_eq!(Draw { seen: with.seen, ir_shift: with.ir_shift, ..without }, *with);
        }
        let blind = Augmentation { dropout: [1.0, 0.0], ..Augmentation::default() };
        assert!((0..500).all(|i| Draw::new(&blind, 0, 0, i, &all(500)).seen == Modality::Ir));
    }

    #[test]
    fn closing_the_mosaic_leaves_the_other_draws() {
        let a = Augmentation::default();
        assert_eq!(a.in_epoch(89, 100, 10), a);
        assert_eq!(a.in_epoch(99, 100, 0), a);
        let closed = a.in_epoch(90, 100, 10);
        let (open, one) = (Draw::new(&a, 1, 90, 5, &all(9)), Draw::new(&closed, 1, 90, 5, &all(9)));
        assert_eq!((open.pictures().len(), one.pictures()), (4, &[5usize][..]));
        assert_eq!((open.scale, open.flip, open.photometry), (one.scale, one.flip, one.photometry));
    }
}
