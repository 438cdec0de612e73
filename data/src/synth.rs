//! Synthetic pairs: scenes of persons, cycles and cars as a colour and a thermal camera would see them.
//!
//! Some objects are seen by the infrared camera alone (warm, at night), some by the RGB camera alone (as warm as what
//! is behind them), most by both, so that a detector with two eyes beats either eye. The pictures depend on the
//! plan alone, not on the number of threads.

mod camera;
mod canvas;
mod scene;
mod shapes;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::error::DataError;
use crate::picture::Pair;
use crate::random::Random;
use crate::written::{KINDS, SPLITS, make_folders, write, write_yaml};
use scene::Scene;
pub use shapes::CLASS_NAMES;

/// What to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SynthPlan {
    /// Number of pairs, at least 2; a fifth of them, but at least one, is for validation.
    pub pairs: usize,
    /// Width and height in pixels, 64 to 8192 each.
    pub size: (usize, usize),
    /// Equal seeds give equal data sets.
    pub seed: u64,
}

impl Default for SynthPlan {
    fn default() -> Self {
        Self { pairs: 200, size: (1280, 1024), seed: 0 }
    }
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynthReport {
    /// The data.yaml, ready for training.
    pub yaml: PathBuf,
    /// Pairs for training and for validation.
    pub pairs: (usize, usize),
    /// Bytes of all pictures.
    pub bytes: u64,
}

/// A true object of a synthetic pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SynthObject {
    /// Index into [`CLASS_NAMES`].
    pub class: usize,
    /// x1 y1 x2 y2 in pixels, within the picture.
    pub bbox: [f32; 4],
    /// Whether the RGB camera sees it.
    pub in_rgb: bool,
    /// Whether the infrared camera sees it.
    pub in_ir: bool,
}

/// The smallest and the largest width or height.
const SIDES: std::ops::RangeInclusive<usize> = 64..=8192;

/// Writes a paired data set into `out`: `images`, `imagesIR` and `labels` with `train` and `val` in each, and
/// `data.yaml`. `progress` hears the number of pairs written so far, from any thread.
///
/// # Errors
/// [`DataError::Output`] where `out` exists and is not an empty folder, or the plan cannot be made;
/// [`DataError::Io`] where a file cannot be written.
pub fn synthesise(
    out: &Path,
    plan: &SynthPlan,
    progress: impl Fn(usize) + Sync,
) -> Result<SynthReport, DataError> {
    check_plan(out, plan)?;
    make_folders(out)?;
    let validation = (plan.pairs / 5).max(1);
    let training = plan.pairs - validation;
    let done = AtomicUsize::new(0);
    let bytes = (0..plan.pairs)
        .into_par_iter()
        .map(|index| {
            let bytes = write_pair(out, SPLITS[usize::from(index >= training)], plan, index)?;
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            Ok(bytes)
        })
        .sum::<Result<u64, DataError>>()?;
    let (width, height) = plan.size;
    let comment = format!("{} synthetic pairs of {width}x{height}, seed {}", plan.pairs, plan.seed);
    let yaml = write_yaml(out, &comment, &CLASS_NAMES)?;
    Ok(SynthReport { yaml, pairs: (training, validation), bytes })
}

/// Renders pair `index` of a plan, with its noise, before any compression.
pub fn render(plan: &SynthPlan, index: usize) -> (Pair, Vec<SynthObject>) {
    let mut random = Random::keyed(&[plan.seed, index as u64]);
    let (width, height) = plan.size;
    let scene = Scene::compose(&mut random, width as f32, height as f32);
    let mut pair = scene.paint(width, height);
    camera::expose(&mut pair, scene.is_night(), &mut random);
    (pair, scene.objects().collect())
}

fn check_plan(out: &Path, plan: &SynthPlan) -> Result<(), DataError> {
    let refuse = |why: String| Err(DataError::Output { path: out.to_path_buf(), why });
    let (width, height) = plan.size;
    if plan.pairs < 2 {
        return refuse(format!(
            "{} pairs cannot be split: ask for at least 2, one to train and one to validate",
            plan.pairs
        ));
    }
    if !SIDES.contains(&width) || !SIDES.contains(&height) {
        return refuse(format!(
            "{width}x{height}: sides of {} to {} pixels can be made",
            SIDES.start(),
            SIDES.end()
        ));
    }
    Ok(())
}

/// Writes the two pictures and the labels of one pair; returns the bytes of the pictures.
fn write_pair(out: &Path, split: &str, plan: &SynthPlan, index: usize) -> Result<u64, DataError> {
    let (pair, objects) = render(plan, index);
    let file = |kind: &str, suffix: &str| out.join(kind).join(split).join(format!("{index:06}.{suffix}"));
    let (rgb, ir) = (file(KINDS[0], "jpg"), file(KINDS[1], "jpg"));
    let [rgb_bytes, ir_bytes] = [camera::compress_rgb(&pair.rgb, &rgb)?, camera::compress_ir(&pair.ir, &ir)?];
    write(&rgb, &rgb_bytes)?;
    write(&ir, &ir_bytes)?;
    write(&file(KINDS[2], "txt"), label_lines(&objects, plan.size).as_bytes())?;
    Ok((rgb_bytes.len() + ir_bytes.len()) as u64)
}

/// `class cx cy w h`, normalised, one line an object.
fn label_lines(objects: &[SynthObject], (width, height): (usize, usize)) -> String {
    let (width, height) = (width as f32, height as f32);
    let line = |object: &SynthObject| {
        let [x1, y1, x2, y2] = object.bbox;
        let (cx, cy) = ((x1 + x2) / 2.0 / width, (y1 + y2) / 2.0 / height);
        format!("{} {cx:.6} {cy:.6} {:.6} {:.6}\n", object.class, (x2 - x1) / width, (y2 - y1) / height)
    };
    objects.iter().map(line).collect()
}

#[cfg(test)]
mod tests;
