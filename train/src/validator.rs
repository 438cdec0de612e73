//! Validation: pairs through the decoded graph, suppression, COCO metrics.

use std::sync::Arc;

use yf_data::DataError;
use yf_data::dataset::PairFiles;
use yf_data::detection::{Suppression, suppress};
use yf_data::labels::BoxLabel;
use yf_data::letterbox::{Letterbox, write_planes};
use yf_data::loader::{Loader, prefetch};
use yf_data::metrics::{Evaluator, Metrics, Truth};
use yf_models::{Graph, decode};
use yf_plan::Modality;

use crate::Error;
use crate::feed::{blank, inputs, read_labels};
use crate::loss::{Loss, Targets};
use crate::targets::{self, Rows};
use crate::torch::{self, Device, Executor, Mode, Parameters, Tensor, no_grad};

/// A split of a data set, and the network's graph with its boxes decoded.
pub struct Validator {
    graph: Graph,
    loader: Arc<Loader>,
    labels: Vec<Vec<BoxLabel>>,
    batch: usize,
    workers: usize,
    device: Device,
}

/// What a validation found.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// COCO metrics.
    pub metrics: Metrics,
    /// Mean losses (box, cls, dfl), where a loss was given.
    pub losses: [f64; 3],
}

/// A letterboxed batch on the host.
struct Letterboxed {
    rgb: Vec<f32>,
    ir: Vec<f32>,
    /// Index, geometry and size of each pair.
    pairs: Vec<(usize, Letterbox)>,
}

impl Validator {
    /// A validator of all pairs of `loader`, which fits them to the graph's size. `graph` ends at the raw maps.
    ///
    /// # Errors
    /// A label file that cannot be read, or a head that cannot be decoded.
    pub fn new(
        graph: &Graph,
        loader: Loader,
        batch: usize,
        workers: usize,
        device: Device,
    ) -> Result<Self, Error> {
        let labels = read_labels(loader.pairs(), graph.head.classes)?;
        let graph = decode::append(graph.clone()).map_err(|e| Error::Other(e.to_string()))?;
        Ok(Validator { graph, loader: Arc::new(loader), labels, batch: batch.max(1), workers, device })
    }

    /// The files that are validated on.
    pub fn pairs(&self) -> &[PairFiles] {
        self.loader.pairs()
    }

    /// Batches of a validation.
    pub fn batches(&self) -> usize {
        self.loader.len().div_ceil(self.batch)
    }

    /// Validates parameters; `progress` hears of every batch that is done. With a loss its mean is reported as well.
    ///
    /// # Errors
    /// A pair that cannot be read, or what libtorch reports.
    pub fn run(
        &self,
        parameters: &Parameters,
        modality: Modality,
        loss: Option<&Loss>,
        progress: &mut dyn FnMut(),
    ) -> Result<Outcome, Error> {
        let outputs: Vec<_> = self.graph.outputs.iter().chain(&self.graph.head.maps).copied().collect();
        let executor = Executor::new(&self.graph, parameters, &outputs);
        let mut evaluator = Evaluator::new(self.graph.head.classes);
        let (mut sums, mut batches) = ([0.0; 3], 0);
        for letterboxed in self.letterboxed() {
            let letterboxed = letterboxed.and_then(|inner| inner)?;
            let raw = no_grad(|| -> Result<Vec<f32>, Error> {
                let outputs = executor.forward(&self.inputs(&letterboxed, modality)?, Mode::Eval)?;
                if let Some(loss) = loss {
                    let losses = loss.forward(&outputs[1..], &self.targets(&letterboxed)?);
                    let parts = losses.parts.to_device(Device::Cpu);
                    (0..3).for_each(|i| sums[i] += parts.double_value(&[i as i64]));
                }
                Ok(torch::to_array(&outputs[0]).data)
            })?;
            self.score(&raw, &letterboxed, &mut evaluator);
            batches += 1;
            progress();
        }
        let losses = sums.map(|sum| sum / f64::from(batches.max(1)));
        Ok(Outcome { metrics: evaluator.finish(), losses })
    }

    fn letterboxed(&self) -> impl Iterator<Item = Result<Result<Letterboxed, DataError>, DataError>> {
        let (height, width) = self.graph.input_size();
        let (loader, batch) = (Arc::clone(&self.loader), self.batch);
        let starts: Vec<usize> = (0..loader.len()).step_by(batch).collect();
        prefetch(starts.into_iter(), self.workers, self.workers + 2, move |start| {
            letterbox_batch(&loader, start..(start + batch).min(loader.len()), (width, height))
        })
    }

    fn inputs(&self, batch: &Letterboxed, modality: Modality) -> Result<Vec<Tensor>, Error> {
        let (height, width) = self.graph.input_size();
        let shape = [batch.pairs.len() as i64, 3, height as i64, width as i64];
        let on_device = |planes: &[f32]| Tensor::from_slice(planes).reshape(shape).to_device(self.device);
        let (rgb, ir) = blank(on_device(&batch.rgb), on_device(&batch.ir), modality);
        Ok(inputs(&rgb, &ir, &self.graph, modality)?)
    }

    /// Boxes of a batch in the letterboxed frame.
    fn targets(&self, batch: &Letterboxed) -> Result<Targets, Error> {
        let (height, width) = self.graph.input_size();
        let moved: Vec<Vec<BoxLabel>> = batch
            .pairs
            .iter()
            .map(|(index, letterbox)| {
                self.labels[*index].iter().map(|l| moved(l, letterbox, (width, height))).collect()
            })
            .collect();
        targets::of(&moved, (height, width), self.graph.head.classes, Rows::of(&moved), self.device)
    }

    fn score(&self, raw: &[f32], batch: &Letterboxed, evaluator: &mut Evaluator) {
        let (classes, anchors) = (self.graph.head.classes, self.graph.head.anchors(&self.graph));
        let settings = Suppression::VALIDATION;
        for ((index, letterbox), raw) in batch.pairs.iter().zip(raw.chunks((4 + classes) * anchors)) {
            let mut detections = suppress(raw, classes, anchors, &settings);
            detections.iter_mut().for_each(|d| d.bbox = letterbox.to_source(d.bbox));
            let truths: Vec<Truth> = self.labels[*index]
                .iter()
                .map(|l| Truth { class: l.class, bbox: l.corners(letterbox.source) })
                .collect();
            evaluator.add(&detections, &truths);
        }
    }
}

fn letterbox_batch(
    loader: &Loader,
    range: std::ops::Range<usize>,
    target: (usize, usize),
) -> Result<Letterboxed, DataError> {
    let plane = 3 * target.0 * target.1;
    let count = range.len();
    let mut batch =
        Letterboxed { rgb: vec![0.0; count * plane], ir: vec![0.0; count * plane], pairs: vec![] };
    for (slot, index) in range.enumerate() {
        let sample = loader.get(index)?;
        let fitted = Letterbox::new(sample.pair.size(), target).apply(&sample.pair);
        let at = slot * plane..(slot + 1) * plane;
        write_planes(&fitted, &mut batch.rgb[at.clone()], &mut batch.ir[at]);
        batch.pairs.push((index, Letterbox::new(sample.source, target)));
    }
    Ok(batch)
}

fn moved(label: &BoxLabel, letterbox: &Letterbox, (width, height): (usize, usize)) -> BoxLabel {
    let [x1, y1, x2, y2] = letterbox.to_target(label.corners(letterbox.source));
    let (width, height) = (width as f32, height as f32);
    BoxLabel {
        class: label.class,
        cx: (x1 + x2) / 2.0 / width,
        cy: (y1 + y2) / 2.0 / height,
        w: (x2 - x1) / width,
        h: (y2 - y1) / height,
    }
}
