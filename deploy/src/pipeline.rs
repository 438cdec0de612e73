//! Pairs of files become detections, with the stages overlapped.
//!
//! Threads decode and letterbox the next pairs while the network runs (`pipeline/flow.rs`), and the caller's thread suppresses and
//! writes down the last ones meanwhile. Results come in the order of the pairs.

mod flow;
mod reader;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crossbeam_channel::{bounded, unbounded};
use serde::Serialize;
use yf_data::decode::Limits;
use yf_data::detection::{Detection, Suppression, suppress};
use yf_data::letterbox::Letterbox;

use crate::DeployError;
use crate::backend::Backend;
use crate::modality::Modality;
use crate::model::{ModelInfo, ROW};
use crate::pairing::Files;
use crate::pictures::Pictures;
pub use flow::Batch;
use flow::{Network, Queue};
pub(crate) use reader::{Prepared, Reader, Tensors};

/// How pairs are read and shown to the network.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// What becomes of raw boxes.
    pub suppression: Suppression,
    /// What the network sees; `Both` means for a one-stream network the camera it was trained on.
    pub modality: Modality,
    /// The first broken pair ends the run.
    pub strict: bool,
    /// How many pairs go through the network at once.
    pub batch: Batch,
    /// Results come with the decoded pictures, to draw on.
    pub keep_pictures: bool,
    /// How large a picture may be.
    pub limits: Limits,
}

/// Milliseconds that a pair took, by stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Stages {
    /// Both files to pixels.
    pub decode: f64,
    /// Pixels to the network's input.
    pub letterbox: f64,
    /// The network: of a batch, its part.
    pub network: f64,
    /// Raw boxes to detections in the RGB file's pixels.
    pub suppression: f64,
}

/// What was found in a pair, or in the one picture of a one-stream network.
#[derive(Clone, Debug)]
pub struct PairResult {
    /// The RGB file, where one was given.
    pub rgb: Option<PathBuf>,
    /// The infrared file, where one was given.
    pub ir: Option<PathBuf>,
    /// Width and height of the RGB picture, or of the only one.
    pub size: (usize, usize),
    /// Best first, in pixels of the RGB file, or of the only one.
    pub detections: Vec<Detection>,
    /// Milliseconds by stage.
    pub ms: Stages,
    /// What was decoded, to draw on, where [`Settings::keep_pictures`] asks for it.
    pub pictures: Option<Pictures>,
}

/// A network and how its pairs are read.
pub struct Pipeline {
    backend: Box<dyn Backend>,
    settings: Settings,
}

impl Pipeline {
    /// A pipeline with these settings.
    pub fn new(backend: Box<dyn Backend>, settings: Settings) -> Self {
        Self { backend, settings }
    }

    /// The network.
    pub fn backend(&self) -> &dyn Backend {
        self.backend.as_ref()
    }

    /// The network, back.
    pub fn into_backend(self) -> Box<dyn Backend> {
        self.backend
    }

    /// Runs all pairs and hands over their results in order. A pair that cannot be read is an `Err` that names the
    /// file; unless `strict` is set, the others go on.
    ///
    /// # Errors
    /// The first broken pair where `strict` is set; a network that fails; whatever `on_result` returns.
    pub fn run<E: From<DeployError>>(
        &mut self,
        pairs: &[Files],
        on_result: impl FnMut(Result<PairResult, DeployError>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.run_until(&AtomicBool::new(false), pairs, on_result)
    }

    /// As [`run`](Self::run), until `stop` is set: pairs that were begun are finished and handed over, no others are
    /// begun, and that is no error.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_until<E: From<DeployError>>(
        &mut self,
        stop: &AtomicBool,
        pairs: &[Files],
        mut on_result: impl FnMut(Result<PairResult, DeployError>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (settings, info) = (self.settings, self.backend.info().clone());
        let reader = Reader::new(&info, &settings);
        let readers = std::thread::available_parallelism().map_or(1, usize::from).min(16).min(pairs.len());
        let most = match settings.batch {
            // A place without a pair is computed too, and a size of its own has to be set up.
            Batch::Auto => self.backend.best_batch().min(pairs.len()).max(1),
            Batch::Of(most) => most.max(1),
        };
        let (jobs, todo) = unbounded();
        let (done, outcomes) = unbounded();
        let (results, detected) = bounded(2 * most);
        std::thread::scope(|scope| {
            for _ in 0..readers {
                let (reader, todo, done) = (&reader, todo.clone(), done.clone());
                scope.spawn(move || flow::read(reader, pairs, &todo, &done));
            }
            drop((todo, done));
            let mut queue = Queue::new(jobs, outcomes, stop, pairs.len());
            // A batch that is computed, one that is made up, and what is being read.
            queue.start(2 * most + readers);
            let network = Network { backend: self.backend.as_mut(), queue, most, results };
            scope.spawn(move || network.run());
            // Where this ends early, `detected` goes, which ends the network's thread, which ends the readers.
            for (index, result) in detected {
                let finish = |(prepared, raw): (Prepared, Vec<f32>)| {
                    finish(&pairs[index], reader.infrared_alone(), prepared, &raw, &info, &settings)
                };
                match result.and_then(finish) {
                    Err(error @ DeployError::Runtime { .. }) => return Err(error.into()),
                    Err(error) if settings.strict => return Err(error.into()),
                    result => on_result(result)?,
                }
            }
            Ok(())
        })
    }
}

/// Suppression, and what the result says about its pair, or about the one picture that is of the infrared camera or not.
///
/// # Errors
/// An output that is not finite.
fn finish(
    files: &Files,
    infrared_alone: bool,
    prepared: Prepared,
    raw: &[f32],
    info: &ModelInfo,
    settings: &Settings,
) -> Result<PairResult, DeployError> {
    if let Some(&value) = raw.iter().find(|value| !value.is_finite()) {
        let path = files.first().to_owned();
        return Err(DeployError::NotFinite { path, origin: info.origin.clone(), value });
    }
    let Prepared { pictures, letterbox, mut ms } = prepared;
    let detections = timed(&mut ms.suppression, || detections(raw, info, &letterbox, &settings.suppression));
    let (rgb, ir) = match files {
        Files::Pair { rgb, ir } => (Some(rgb.clone()), Some(ir.clone())),
        Files::One(path) if infrared_alone => (None, Some(path.clone())),
        Files::One(path) => (Some(path.clone()), None),
    };
    Ok(PairResult { rgb, ir, size: letterbox.source, detections, ms, pictures })
}

/// One picture's output as detections in pixels of the RGB file. Of a network with suppression inside, those above
/// the confidence that is asked for.
pub fn detections(
    raw: &[f32],
    info: &ModelInfo,
    letterbox: &Letterbox,
    suppression: &Suppression,
) -> Vec<Detection> {
    let mut found = match info.suppressed {
        Some(_) => suppressed(raw, info.classes, suppression),
        None => suppress(raw, info.classes, info.anchors, suppression),
    };
    for detection in &mut found {
        detection.bbox = letterbox.to_source(detection.bbox);
    }
    found
}

/// Rows x1 y1 x2 y2 score class, best first; those that hold no detection are zero.
fn suppressed(rows: &[f32], classes: usize, suppression: &Suppression) -> Vec<Detection> {
    let row = |row: &[f32; ROW]| {
        let &[x1, y1, x2, y2, score, class] = row;
        let valid = score > suppression.conf
            && score > 0.0
            && row.iter().all(|v| v.is_finite())
            && (0.0..classes as f32).contains(&class);
        valid.then_some(Detection { class: class as usize, score, bbox: [x1, y1, x2, y2] })
    };
    rows.as_chunks::<ROW>().0.iter().filter_map(row).take(suppression.max).collect()
}

/// Adds the milliseconds that `work` takes.
pub(crate) fn timed<T>(ms: &mut f64, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *ms += start.elapsed().as_secs_f64() * 1e3;
    result
}
