//! COCO's average precision over a data set, and precision and recall at the confidence that suits it best.
//!
//! Matching and averaging follow pycocotools with `maxDets` 300, which is the truth the tests compare with.

mod curve;
mod matching;
pub mod table;

use serde::{Deserialize, Serialize};

use crate::detection::Detection;
use curve::{average_precision, operating_point};
use matching::match_class;

/// Number of IoU thresholds: .5 to .95 in steps of .05.
pub const THRESHOLDS: usize = 10;

/// At most this many detections of a class in a picture count.
const MAX_DETECTIONS: usize = 300;

/// An object that is really there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// Index into the class names.
    pub class: usize,
    /// x1 y1 x2 y2 in pixels, in the same frame as the detections'.
    #[serde(rename = "box")]
    pub bbox: [f32; 4],
}

/// How good the detections of a data set are. Every value is 0..1, and 0 where the data set has no instances.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Average precision at IoU .5, the mean over classes that have instances.
    pub map50: f64,
    /// Average precision over IoU .5 to .95, the mean over classes that have instances.
    pub map50_95: f64,
    /// Mean precision at `confidence`, IoU .5.
    pub precision: f64,
    /// Mean recall at `confidence`, IoU .5.
    pub recall: f64,
    /// The score threshold at which the mean F1 over classes is best.
    pub confidence: f64,
    /// Pictures seen.
    pub pictures: usize,
    /// True objects in them.
    pub instances: usize,
    /// The same, class by class, those without instances included.
    pub per_class: Vec<ClassMetrics>,
}

/// How good the detections of one class are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// Index into the class names.
    pub class: usize,
    /// Pictures with an instance of the class.
    pub pictures: usize,
    /// True objects of the class.
    pub instances: usize,
    /// Average precision at IoU .5.
    pub map50: f64,
    /// Average precision over IoU .5 to .95.
    pub map50_95: f64,
    /// Precision at the data set's confidence, IoU .5; 0 where nothing was found.
    pub precision: f64,
    /// Recall at the data set's confidence, IoU .5.
    pub recall: f64,
}

/// A detection after matching: its score and, a bit a threshold, whether it hit a truth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Scored {
    score: f32,
    hits: u16,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct ClassRecord {
    pictures: usize,
    instances: usize,
    /// In the order of pictures, descending score within one.
    scored: Vec<Scored>,
}

/// Collects matches picture by picture. Shards of a data set can be evaluated apart and merged.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Evaluator {
    pictures: usize,
    classes: Vec<ClassRecord>,
}

impl Evaluator {
    /// An evaluator of this many classes. Detections or truths of higher classes extend it.
    pub fn new(classes: usize) -> Self {
        Self { pictures: 0, classes: vec![ClassRecord::default(); classes] }
    }

    /// Takes one picture: what was found, in any order, and what is there. Detections without a finite score and
    /// box are left out.
    pub fn add(&mut self, detections: &[Detection], truths: &[Truth]) {
        self.pictures += 1;
        let highest = detections.iter().map(|d| d.class + 1).chain(truths.iter().map(|t| t.class + 1)).max();
        self.extend_to(highest.unwrap_or(0));
        for (class, record) in self.classes.iter_mut().enumerate() {
            let there: Vec<[f32; 4]> = truths.iter().filter(|t| t.class == class).map(|t| t.bbox).collect();
            let usable = |d: &&Detection| {
                d.class == class && d.score.is_finite() && d.bbox.iter().all(|v| v.is_finite())
            };
            let mut found: Vec<&Detection> = detections.iter().filter(usable).collect();
            found.sort_by(|a, b| b.score.total_cmp(&a.score));
            found.truncate(MAX_DETECTIONS);
            record.pictures += usize::from(!there.is_empty());
            record.instances += there.len();
            record.scored.extend(match_class(&found, &there));
        }
    }

    /// Takes over what another evaluator has seen, as if its pictures came after these.
    pub fn merge(&mut self, other: Self) {
        self.pictures += other.pictures;
        self.extend_to(other.classes.len());
        for (record, more) in self.classes.iter_mut().zip(other.classes) {
            record.pictures += more.pictures;
            record.instances += more.instances;
            record.scored.extend(more.scored);
        }
    }

    /// The metrics of everything seen.
    pub fn finish(mut self) -> Metrics {
        for record in &mut self.classes {
            // Stable: equal scores stay in the order of pictures, as in pycocotools.
            record.scored.sort_by(|a, b| b.score.total_cmp(&a.score));
        }
        let point = operating_point(&self.classes);
        let per_class: Vec<ClassMetrics> = (self.classes.iter().enumerate())
            .map(|(class, record)| {
                let ap: [f64; THRESHOLDS] = std::array::from_fn(|t| average_precision(record, t));
                let (precision, recall) = point.per_class[class];
                ClassMetrics {
                    class,
                    pictures: record.pictures,
                    instances: record.instances,
                    map50: ap[0],
                    map50_95: ap.iter().sum::<f64>() / THRESHOLDS as f64,
                    precision,
                    recall,
                }
            })
            .collect();
        let mean = |value: fn(&ClassMetrics) -> f64| mean_with_instances(&per_class, value);
        Metrics {
            map50: mean(|c| c.map50),
            map50_95: mean(|c| c.map50_95),
            precision: mean(|c| c.precision),
            recall: mean(|c| c.recall),
            confidence: point.confidence,
            pictures: self.pictures,
            instances: per_class.iter().map(|c| c.instances).sum(),
            per_class,
        }
    }

    fn extend_to(&mut self, classes: usize) {
        if classes > self.classes.len() {
            self.classes.resize_with(classes, ClassRecord::default);
        }
    }
}

fn mean_with_instances(per_class: &[ClassMetrics], value: fn(&ClassMetrics) -> f64) -> f64 {
    let values: Vec<f64> = per_class.iter().filter(|c| c.instances > 0).map(value).collect();
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

#[cfg(test)]
mod tests;
