//! What a network found in a pair, and the suppression that turns its raw output into it.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// One object found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Index into the class names.
    pub class: usize,
    /// Confidence, 0..1.
    pub score: f32,
    /// x1 y1 x2 y2 in pixels.
    #[serde(rename = "box")]
    pub bbox: [f32; 4],
}

/// How raw boxes are thinned out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Suppression {
    /// Scores must be above this.
    pub conf: f32,
    /// A box that overlaps a better one by more than this intersection over union is dropped.
    pub iou: f32,
    /// At most this many detections a picture.
    pub max: usize,
    /// Boxes suppress those of other classes too.
    pub agnostic: bool,
    /// Every class above `conf` makes a detection of its own; otherwise an anchor has its best class alone.
    pub multi_label: bool,
}

/// Only this many candidates of a picture, the best by score, are looked at.
const MAX_CANDIDATES: usize = 30_000;

impl Suppression {
    /// What `yf infer` uses: confidence .25, IoU .7, 300 detections.
    pub const INFER: Self = Self { conf: 0.25, iou: 0.7, max: 300, agnostic: false, multi_label: false };
    /// What validation uses: confidence .001, IoU .7, 300 detections, several classes an anchor.
    pub const VALIDATION: Self = Self { conf: 0.001, iou: 0.7, max: 300, agnostic: false, multi_label: true };
}

impl Default for Suppression {
    fn default() -> Self {
        Self::INFER
    }
}

/// A class score of an anchor, before suppression.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    score: f32,
    class: u32,
    anchor: u32,
}

impl Candidate {
    /// Best score first; equal scores by anchor, then class, so that the result never depends on the sort.
    fn order(&self, other: &Self) -> Ordering {
        other
            .score
            .total_cmp(&self.score)
            .then(self.anchor.cmp(&other.anchor))
            .then(self.class.cmp(&other.class))
    }
}

/// Turns one picture's raw output into detections, best score first.
///
/// `raw` is `output0` of one picture, `[4 + classes, anchors]` row by row: centre x, centre y, width, height in input
/// pixels, then class scores after the sigmoid. Scores and boxes that are no finite numbers are dropped.
///
/// # Panics
/// Where `raw` does not hold `(4 + classes) * anchors` numbers: the caller has checked the model's output shape.
pub fn suppress(raw: &[f32], classes: usize, anchors: usize, settings: &Suppression) -> Vec<Detection> {
    assert_eq!(raw.len(), (4 + classes) * anchors, "raw output of {classes} classes and {anchors} anchors");
    let (boxes, scores) = raw.split_at(4 * anchors);
    let mut candidates = if settings.multi_label {
        every_class(scores, anchors, settings.conf)
    } else {
        best_class(scores, anchors, settings.conf)
    };
    keep_best(&mut candidates);
    greedy(&candidates, boxes, anchors, settings)
}

/// Every score above `conf` (a NaN is above nothing).
fn every_class(scores: &[f32], anchors: usize, conf: f32) -> Vec<Candidate> {
    let mut found = Vec::new();
    for (class, row) in scores.chunks_exact(anchors.max(1)).enumerate() {
        for (anchor, &score) in row.iter().enumerate() {
            if score > conf && score.is_finite() {
                found.push(Candidate { score, class: class as u32, anchor: anchor as u32 });
            }
        }
    }
    found
}

/// The best class of every anchor, where it is above `conf`; the first of equal ones.
fn best_class(scores: &[f32], anchors: usize, conf: f32) -> Vec<Candidate> {
    let mut best = vec![conf; anchors];
    let mut class_of = vec![u32::MAX; anchors];
    for (class, row) in scores.chunks_exact(anchors.max(1)).enumerate() {
        for ((best, class_of), &score) in best.iter_mut().zip(&mut class_of).zip(row) {
            if score > *best && score.is_finite() {
                *best = score;
                *class_of = class as u32;
            }
        }
    }
    let classified = best.into_iter().zip(class_of).enumerate().filter(|(_, (_, class))| *class != u32::MAX);
    classified.map(|(anchor, (score, class))| Candidate { score, class, anchor: anchor as u32 }).collect()
}

/// Sorts by [`Candidate::order`] and cuts at [`MAX_CANDIDATES`], without sorting what is cut.
fn keep_best(candidates: &mut Vec<Candidate>) {
    if candidates.len() > MAX_CANDIDATES {
        candidates.select_nth_unstable_by(MAX_CANDIDATES, Candidate::order);
        candidates.truncate(MAX_CANDIDATES);
    }
    candidates.sort_unstable_by(Candidate::order);
}

/// Greedy suppression in descending score. All classes run in one pass: since it stops at `max` kept boxes, a
/// picture costs at most `max` comparisons a candidate however crowded it is.
fn greedy(candidates: &[Candidate], boxes: &[f32], anchors: usize, settings: &Suppression) -> Vec<Detection> {
    let mut kept: Vec<Detection> = Vec::new();
    for candidate in candidates {
        if kept.len() >= settings.max {
            break;
        }
        let class = candidate.class as usize;
        let bbox = corners(boxes, anchors, candidate.anchor as usize);
        if !bbox.iter().all(|v| v.is_finite()) {
            continue;
        }
        let rivals = kept.iter().filter(|better| settings.agnostic || better.class == class);
        if rivals.into_iter().all(|better| iou(&better.bbox, &bbox) <= settings.iou) {
            kept.push(Detection { class, score: candidate.score, bbox });
        }
    }
    kept
}

fn corners(boxes: &[f32], anchors: usize, anchor: usize) -> [f32; 4] {
    let [cx, cy, w, h] = std::array::from_fn(|row| boxes[row * anchors + anchor]);
    [cx - w / 2.0, cy - h / 2.0, cx + w / 2.0, cy + h / 2.0]
}

/// Intersection over union of two boxes x1 y1 x2 y2, 0..1; 0 where both are empty.
pub fn iou(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let overlap = area(&[a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let union = area(a) + area(b) - overlap;
    if union > 0.0 { overlap / union } else { 0.0 }
}

fn area(b: &[f32; 4]) -> f32 {
    (b[2] - b[0]).max(0.0) * (b[3] - b[1]).max(0.0)
}

#[cfg(test)]
mod tests;
