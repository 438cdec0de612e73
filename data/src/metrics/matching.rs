//! Which detections of a class in one picture hit a truth, at every IoU threshold.

use super::{Scored, THRESHOLDS};
use crate::detection::Detection;

/// Matches detections, given in descending score, with the truths of their class. Each takes the truth it overlaps
/// most among those still free; of equally overlapped ones the last, as pycocotools does.
pub(super) fn match_class(found: &[&Detection], there: &[[f32; 4]]) -> Vec<Scored> {
    let overlaps: Vec<f64> =
        found.iter().flat_map(|d| there.iter().map(move |truth| iou(&d.bbox, truth))).collect();
    let mut scored: Vec<Scored> = found.iter().map(|d| Scored { score: d.score, hits: 0 }).collect();
    if there.is_empty() {
        return scored;
    }
    for threshold in 0..THRESHOLDS {
        let mut taken = vec![false; there.len()];
        for (detection, row) in scored.iter_mut().zip(overlaps.chunks_exact(there.len())) {
            if let Some(truth) = best_free(row, &taken, iou_threshold(threshold)) {
                taken[truth] = true;
                detection.hits |= 1 << threshold;
            }
        }
    }
    scored
}

fn best_free(overlaps: &[f64], taken: &[bool], threshold: f64) -> Option<usize> {
    let mut best = None;
    let mut least = threshold;
    for (truth, (&overlap, &taken)) in overlaps.iter().zip(taken).enumerate() {
        if !taken && overlap >= least {
            (best, least) = (Some(truth), overlap);
        }
    }
    best
}

fn iou_threshold(index: usize) -> f64 {
    0.5 + 0.05 * index as f64
}

/// In f64: at a threshold a rounding error decides between hit and miss.
fn iou(a: &[f32; 4], b: &[f32; 4]) -> f64 {
    let [a, b] = [a, b].map(|bbox| bbox.map(f64::from));
    let area = |c: [f64; 4]| (c[2] - c[0]).max(0.0) * (c[3] - c[1]).max(0.0);
    let overlap = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let union = area(a) + area(b) - overlap;
    if union > 0.0 { overlap / union } else { 0.0 }
}
