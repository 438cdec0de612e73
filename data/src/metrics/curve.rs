//! From matched detections to average precision and to the confidence of the best mean F1.

use super::{ClassRecord, Scored};

/// Recall is sampled at 0, .01 ... 1.
const RECALL_POINTS: usize = 101;

/// COCO's interpolated average precision of one class at one threshold; `scored` is in descending score.
pub(super) fn average_precision(record: &ClassRecord, threshold: usize) -> f64 {
    if record.instances == 0 {
        return 0.0;
    }
    let mut hits = 0usize;
    let (recall, mut precision): (Vec<f64>, Vec<f64>) = (record.scored.iter().enumerate())
        .map(|(i, detection)| {
            hits += usize::from(hit(detection, threshold));
            (hits as f64 / record.instances as f64, hits as f64 / (i + 1) as f64)
        })
        .unzip();
    // The best precision at this recall or a higher one.
    for i in (1..precision.len()).rev() {
        precision[i - 1] = precision[i - 1].max(precision[i]);
    }
    let at_recall = |point: usize| {
        let wanted = point as f64 * 0.01;
        precision.get(recall.partition_point(|&r| r < wanted)).copied().unwrap_or(0.0)
    };
    (0..RECALL_POINTS).map(at_recall).sum::<f64>() / RECALL_POINTS as f64
}

fn hit(detection: &Scored, threshold: usize) -> bool {
    detection.hits >> threshold & 1 == 1
}

/// Where a detector is best run, and what each class reaches there.
pub(super) struct OperatingPoint {
    pub(super) confidence: f64,
    /// Precision and recall a class.
    pub(super) per_class: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    found: usize,
    hits: usize,
}

impl Count {
    /// 2 hits / (found + instances) is the harmonic mean of precision and recall.
    fn f1(self, instances: usize) -> f64 {
        if instances == 0 { 0.0 } else { 2.0 * self.hits as f64 / (self.found + instances) as f64 }
    }

    fn precision(self) -> f64 {
        if self.found == 0 { 0.0 } else { self.hits as f64 / self.found as f64 }
    }

    fn recall(self, instances: usize) -> f64 {
        if instances == 0 { 0.0 } else { self.hits as f64 / instances as f64 }
    }
}

/// Lowers the threshold from score to score over all classes at once, and stops at the best sum of F1 at IoU .5
/// (the highest confidence of equally good ones). Classes without instances do not take part.
pub(super) fn operating_point(classes: &[ClassRecord]) -> OperatingPoint {
    let with_instances = classes.iter().enumerate().filter(|(_, record)| record.instances > 0);
    let mut all: Vec<(usize, &Scored)> =
        with_instances.flat_map(|(class, record)| record.scored.iter().map(move |s| (class, s))).collect();
    all.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));

    let mut counts = vec![Count::default(); classes.len()];
    let mut best = (0.0, 0.0, counts.clone());
    let mut sum = 0.0;
    for (i, &(class, detection)) in all.iter().enumerate() {
        let instances = classes[class].instances;
        sum -= counts[class].f1(instances);
        counts[class].found += 1;
        counts[class].hits += usize::from(hit(detection, 0));
        sum += counts[class].f1(instances);
        let last_of_equals = all.get(i + 1).is_none_or(|(_, next)| next.score != detection.score);
        // The margin is for rounding: the sum has been carried along.
        if last_of_equals && sum > best.0 + 1e-12 {
            best = (sum, f64::from(detection.score), counts.clone());
        }
    }
    let (_, confidence, counts) = best;
    let reached =
        |(count, record): (&Count, &ClassRecord)| (count.precision(), count.recall(record.instances));
    OperatingPoint { confidence, per_class: counts.iter().zip(classes).map(reached).collect() }
}
