//! Pairs of files become detections, with the stages overlapped.
//!
//! Worker threads decode and letterbox the next pairs while the network runs. A worker is given a pair together
//! with the buffers that the network has done with, so that a pair in flight is all the memory there is to it.

#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};
use serde::Serialize;
use yf_data::decode::Limits;
use yf_data::detection::{Detection, Suppression, suppress};
use yf_data::letterbox::{BORDER, Letterbox};

use crate::DeployError;
use crate::backend::Backend;
use crate::modality::Modality;
use crate::model::{Inputs, ModelInfo};
use crate::pairing::Files;
use crate::pictures::Pictures;

/// How pairs are read and shown to the network.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// What becomes of raw boxes.
    pub suppression: Suppression,
    /// What the network sees; `Both` means for a one-stream network the camera it was trained on.
    pub modality: Modality,
    /// The first broken pair ends the run.
    pub strict: bool,
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
    /// The network.
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
    /// What was decoded, to draw on.
    pub pictures: Pictures,
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

    /// Runs all pairs and hands over their results in order. A pair that cannot be read is an `Err` that names the
    /// file; unless `strict` is set, the others go on.
    ///
    /// # Errors
    /// The first broken pair where `strict` is set; a network that fails; whatever `on_result` returns.
    pub fn run<E: From<DeployError>>(
        &mut self,
        pairs: &[Files],
        mut on_result: impl FnMut(Result<PairResult, DeployError>) -> Result<(), E>,
    ) -> Result<(), E> {
        let reader = Reader::new(self.backend.info(), &self.settings);
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(16).min(pairs.len());
        let (jobs, todo) = unbounded();
        let (done, results) = unbounded();
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let (reader, todo, done) = (&reader, todo.clone(), done.clone());
                scope.spawn(move || work(reader, pairs, &todo, &done));
            }
            drop((todo, done));
            // Dropped at the end of this closure, which sends the workers home.
            let mut queue =
                Queue { jobs, results, waiting: BTreeMap::new(), next: 0, taken: 0, total: pairs.len() };
            queue.start(2 * workers);
            for files in pairs {
                let Some((tensors, prepared)) = queue.take() else { break };
                let result = prepared.and_then(|p| self.detect(files, p, &tensors));
                queue.again(tensors);
                match result {
                    Err(error @ DeployError::Runtime { .. }) => return Err(error.into()),
                    Err(error) if self.settings.strict => return Err(error.into()),
                    result => on_result(result)?,
                }
            }
            Ok(())
        })
    }

    fn detect(
        &mut self,
        files: &Files,
        prepared: Prepared,
        tensors: &Tensors,
    ) -> Result<PairResult, DeployError> {
        let Prepared { pictures, letterbox, mut ms } = prepared;
        let raw = timed(&mut ms.network, || self.backend.run(&tensors.first, &tensors.second, 1))?;
        let detections = timed(&mut ms.suppression, || {
            detections(&raw, self.backend.info(), &letterbox, &self.settings.suppression)
        });
        let (rgb, ir) = match (files, &pictures) {
            (Files::Pair { rgb, ir }, _) => (Some(rgb.clone()), Some(ir.clone())),
            (Files::One(path), Pictures::Ir(_)) => (None, Some(path.clone())),
            (Files::One(path), _) => (Some(path.clone()), None),
        };
        Ok(PairResult { rgb, ir, size: letterbox.source, detections, ms, pictures })
    }
}

/// One picture's raw output as detections in pixels of the RGB file.
pub fn detections(
    raw: &[f32],
    info: &ModelInfo,
    letterbox: &Letterbox,
    suppression: &Suppression,
) -> Vec<Detection> {
    let mut found = suppress(raw, info.classes, info.anchors, suppression);
    for detection in &mut found {
        detection.bbox = letterbox.to_source(detection.bbox);
    }
    found
}

/// Input of the network: `rgb` and `ir`, or the one picture of a one-stream network and its unused other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tensors {
    pub first: Vec<f32>,
    pub second: Vec<f32>,
}

/// Decoded pictures whose tensors are filled.
pub(crate) struct Prepared {
    pub pictures: Pictures,
    pub letterbox: Letterbox,
    pub ms: Stages,
}

/// Turns files into tensors.
pub(crate) struct Reader {
    inputs: Inputs,
    width: usize,
    height: usize,
    modality: Modality,
    limits: Limits,
}

impl Reader {
    pub(crate) fn new(info: &ModelInfo, settings: &Settings) -> Self {
        let modality = match (info.inputs, settings.modality) {
            (Inputs::Single, Modality::Both) => info.modality,
            (_, asked) => asked,
        };
        Self {
            inputs: info.inputs,
            width: info.width,
            height: info.height,
            modality,
            limits: settings.limits,
        }
    }

    /// Of a pair the files that the network sees: one of a one-stream network's.
    pub(crate) fn needed(&self, rgb: PathBuf, ir: PathBuf) -> Files {
        match (self.inputs, self.modality) {
            (Inputs::Pair, _) => Files::Pair { rgb, ir },
            (Inputs::Single, Modality::Ir) => Files::One(ir),
            (Inputs::Single, _) => Files::One(rgb),
        }
    }

    /// Decodes what a network sees together and fills the tensors with it.
    pub(crate) fn prepare(&self, files: &Files, tensors: &mut Tensors) -> Result<Prepared, DeployError> {
        let mut ms = Stages::default();
        let pictures = timed(&mut ms.decode, || self.read(files))?;
        let letterbox = Letterbox::new(pictures.size(), (self.width, self.height));
        timed(&mut ms.letterbox, || self.fill(&pictures.framed(&letterbox), tensors));
        Ok(Prepared { pictures, letterbox, ms })
    }

    fn read(&self, files: &Files) -> Result<Pictures, DeployError> {
        match (files, self.inputs) {
            (Files::Pair { rgb, ir }, _) => Pictures::read_pair(rgb, ir, &self.limits),
            (Files::One(path), Inputs::Single) => Pictures::read_one(path, self.modality, &self.limits),
            (Files::One(path), Inputs::Pair) => Err(DeployError::Pairing {
                path: path.clone(),
                why: "is one picture, but the network takes two: an RGB and an infrared one".to_owned(),
            }),
        }
    }

    fn fill(&self, framed: &Pictures, tensors: &mut Tensors) {
        let len = 3 * self.width * self.height;
        tensors.first.resize(len, 0.0);
        tensors.second.resize(len, 0.0);
        framed.write(&mut tensors.first, &mut tensors.second);
        let nothing = f32::from(BORDER) / 255.0;
        match (self.inputs, self.modality) {
            (Inputs::Pair, Modality::Rgb) => tensors.second.fill(nothing),
            (Inputs::Pair, Modality::Ir) => tensors.first.fill(nothing),
            (Inputs::Single, Modality::Ir) => std::mem::swap(&mut tensors.first, &mut tensors.second),
            _ => {}
        }
    }
}

/// A pair to prepare, with the buffers to use.
struct Job {
    index: usize,
    tensors: Tensors,
}

type Outcome = (usize, Tensors, Result<Prepared, DeployError>);

fn work(reader: &Reader, pairs: &[Files], todo: &Receiver<Job>, done: &Sender<Outcome>) {
    for Job { index, mut tensors } in todo {
        let files = &pairs[index];
        // A worker that died would leave the network waiting for its pair.
        let prepared =
            catch_unwind(AssertUnwindSafe(|| reader.prepare(files, &mut tensors))).unwrap_or_else(|panic| {
                Err(DeployError::Worker { path: files.first().to_owned(), why: said(&*panic) })
            });
        if done.send((index, tensors, prepared)).is_err() {
            return;
        }
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Hands out pairs, never more than the buffers there are, and puts what comes back in order.
struct Queue {
    jobs: Sender<Job>,
    results: Receiver<Outcome>,
    waiting: BTreeMap<usize, (Tensors, Result<Prepared, DeployError>)>,
    next: usize,
    taken: usize,
    total: usize,
}

impl Queue {
    fn start(&mut self, buffers: usize) {
        for _ in 0..buffers {
            self.again(Tensors::default());
        }
    }

    /// Gives the next pair to a worker; the order of calls is the order of the pairs.
    fn again(&mut self, tensors: Tensors) {
        if self.next < self.total && self.jobs.send(Job { index: self.next, tensors }).is_ok() {
            self.next += 1;
        }
    }

    /// The next pair in order; `None` where the workers are gone.
    fn take(&mut self) -> Option<(Tensors, Result<Prepared, DeployError>)> {
        let index = self.taken;
        while !self.waiting.contains_key(&index) {
            let (index, tensors, prepared) = self.results.recv().ok()?;
            self.waiting.insert(index, (tensors, prepared));
        }
        self.taken += 1;
        self.waiting.remove(&index)
    }
}

/// Adds the milliseconds that `work` takes.
pub(crate) fn timed<T>(ms: &mut f64, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *ms += start.elapsed().as_secs_f64() * 1e3;
    result
}
