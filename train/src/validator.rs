//! Validation: pairs through the decoded graph, suppression, COCO metrics.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use yf_data::dataset::PairFiles;
use yf_data::detection::{Suppression, suppress};
use yf_data::letterbox::Letterbox;
use yf_data::loader::Loader;
use yf_data::metrics::{Evaluator, Metrics, Truth};
use yf_models::{Graph, decode};
use yf_plan::Modality;

use crate::Error;
use crate::distributed::{Shard, World};
use crate::feed::{Feed, Resident, Settings};
use crate::loss::Loss;
use crate::torch::{self, Device, Executor, Mode, Parameters, no_grad};

/// A split of a data set, and the network's graph with its boxes decoded.
pub struct Validator {
    graph: Graph,
    feed: Feed,
    world: World,
}

/// What a validation found.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// COCO metrics.
    pub metrics: Metrics,
    /// Mean losses (box, cls, dfl), where a loss was given.
    pub losses: [f64; 3],
}

impl Outcome {
    /// Of an epoch that is not validated: no value is a number.
    pub fn unknown() -> Self {
        let metrics = Metrics {
            map50: f64::NAN,
            map50_95: f64::NAN,
            precision: f64::NAN,
            recall: f64::NAN,
            ..Metrics::default()
        };
        Outcome { metrics, losses: [f64::NAN; 3] }
    }
}

/// What one rank found.
#[derive(Serialize, Deserialize)]
struct Part {
    evaluator: Evaluator,
    /// Of each batch.
    losses: Vec<[f64; 3]>,
}

/// Index of a picture's pair, and width and height of its RGB file.
type Picture = (usize, (usize, usize));

impl Validator {
    /// A validator of all pairs of `loader`, which fits them to the graph's size, as `settings` repeats. `graph` ends at
    /// the raw maps.
    ///
    /// # Errors
    /// A label file that cannot be read, or a head that cannot be decoded.
    pub fn new(
        graph: &Graph,
        loader: Loader,
        resident: Option<Resident>,
        settings: Settings,
    ) -> Result<Self, Error> {
        let feed = Feed::new(loader, resident, graph.head.classes, settings)?;
        let graph = decode::append(graph.clone()).map_err(|e| Error::Other(e.to_string()))?;
        Ok(Validator { graph, feed, world: World::alone(settings.device) })
    }

    /// Whether any pair has a labelled object.
    pub fn has_objects(&self) -> bool {
        self.feed.labels().iter().any(|boxes| !boxes.is_empty())
    }

    /// Every rank of the world validates the part that the settings' shard says, and hears the whole outcome.
    #[must_use]
    pub fn shared_by(mut self, world: &World) -> Self {
        self.world = world.clone();
        self
    }

    /// The files that are validated on.
    pub fn pairs(&self) -> &[PairFiles] {
        self.feed.pairs()
    }

    /// Batches of this rank in a validation.
    pub fn batches(&self) -> usize {
        self.feed.batches_in_order().len()
    }

    /// Validates parameters; `progress` hears of every batch that is done. With a loss its mean is reported as well.
    ///
    /// # Errors
    /// A pair that cannot be read, what libtorch reports, or a rank that is gone.
    pub fn run(
        &self,
        parameters: &Parameters,
        modality: Modality,
        loss: Option<&Loss>,
        progress: &mut dyn FnMut(),
    ) -> Result<Outcome, Error> {
        let outputs: Vec<_> = self.graph.outputs.iter().chain(&self.graph.head.maps).copied().collect();
        let executor = Executor::new(&self.graph, parameters, &outputs);
        let mut part = Part { evaluator: Evaluator::new(self.graph.head.classes), losses: vec![] };
        for prepared in self.feed.in_order() {
            let prepared = prepared?;
            let pictures = prepared.pictures().to_vec();
            let raw = no_grad(|| -> Result<Vec<f32>, Error> {
                let batch = self.feed.batch(prepared, modality)?;
                let outputs = executor.forward(&batch.inputs(&self.graph, modality)?, Mode::Eval)?;
                if let Some(loss) = loss {
                    let losses = loss.forward(&outputs[1..], &batch.targets);
                    let parts = losses.parts.to_device(Device::Cpu);
                    part.losses.push([0, 1, 2].map(|i| parts.double_value(&[i])));
                }
                Ok(torch::to_array(&outputs[0]).data)
            })?;
            self.score(&raw, &pictures, &mut part.evaluator);
            progress();
        }
        self.merge(part)
    }

    /// The outcome of all ranks' parts, which is that of a single rank to the last bit.
    fn merge(&self, own: Part) -> Result<Outcome, Error> {
        let damaged = |e: postcard::Error| Error::Other(format!("the part of a rank in a validation: {e}"));
        let mut whole = own;
        if self.world.shard() != Shard::WHOLE {
            let parts = self.world.gather(postcard::to_stdvec(&whole).map_err(damaged)?)?;
            whole = Part { evaluator: Evaluator::new(self.graph.head.classes), losses: vec![] };
            for part in parts {
                let part: Part = postcard::from_bytes(&part).map_err(damaged)?;
                whole.evaluator.merge(part.evaluator);
                whole.losses.extend(part.losses);
            }
        }
        let batches = whole.losses.len().max(1) as f64;
        let losses = [0, 1, 2].map(|i| whole.losses.iter().map(|parts| parts[i]).sum::<f64>() / batches);
        Ok(Outcome { metrics: whole.evaluator.finish(), losses })
    }

    fn score(&self, raw: &[f32], pictures: &[Picture], evaluator: &mut Evaluator) {
        let (classes, anchors) = (self.graph.head.classes, self.graph.head.anchors(&self.graph));
        let (height, width) = self.graph.input_size();
        let found = raw.par_chunks((4 + classes) * anchors).zip(pictures).map(|(raw, (_, source))| {
            let letterbox = Letterbox::new(*source, (width, height));
            let mut detections = suppress(raw, classes, anchors, &Suppression::VALIDATION);
            detections.iter_mut().for_each(|d| d.bbox = letterbox.to_source(d.bbox));
            detections
        });
        for (detections, (index, source)) in found.collect::<Vec<_>>().iter().zip(pictures) {
            let labels = self.feed.labels()[*index].iter();
            let truths: Vec<Truth> =
                labels.map(|l| Truth { class: l.class, bbox: l.corners(*source) }).collect();
            evaluator.add(detections, &truths);
        }
    }
}
