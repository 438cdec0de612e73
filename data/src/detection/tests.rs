use super::*;
use crate::random::Random;

/// Rows of cx cy w h and scores, one anchor each, become the layout of `output0`.
fn raw(anchors: &[(&[f32; 4], &[f32])]) -> Vec<f32> {
    let classes = anchors[0].1.len();
    let value =
        |row: usize, (bbox, scores): &(&[f32; 4], &[f32])| if row < 4 { bbox[row] } else { scores[row - 4] };
    (0..4 + classes).flat_map(|row| anchors.iter().map(move |anchor| value(row, anchor))).collect()
}

#[test]
fn the_better_of_two_overlapping_boxes_stays() {
    let raw = raw(&[
        (&[50.0, 50.0, 20.0, 20.0], &[0.6, 0.0]),
        (&[51.0, 50.0, 20.0, 20.0], &[0.9, 0.0]),
        (&[150.0, 50.0, 20.0, 20.0], &[0.3, 0.2]),
        (&[50.0, 50.0, 20.0, 20.0], &[0.0, 0.5]),
        (&[50.0, 90.0, 20.0, 20.0], &[0.25, 0.1]),
    ]);
    let found = suppress(&raw, 2, 5, &Suppression::INFER);
    let classes: Vec<_> = found.iter().map(|d| (d.class, d.score)).collect();
    assert_eq!(classes, [(0, 0.9), (1, 0.5), (0, 0.3)]);
    assert_eq!(found[0].bbox, [41.0, 40.0, 61.0, 60.0]);
    let agnostic = suppress(&raw, 2, 5, &Suppression { agnostic: true, ..Suppression::INFER });
    assert_eq!(agnostic.len(), 2);
}

#[test]
fn several_labels_an_anchor_where_asked_for() {
    let raw = raw(&[(&[50.0, 50.0, 20.0, 20.0], &[0.6, 0.4])]);
    assert_eq!(suppress(&raw, 2, 1, &Suppression::INFER).len(), 1);
    assert_eq!(suppress(&raw, 2, 1, &Suppression::VALIDATION).len(), 2);
}

#[test]
fn ties_are_kept_in_the_order_of_anchors_and_max_holds() {
    let boxes: Vec<[f32; 4]> = (0..500).map(|i| [i as f32 * 10.0, 5.0, 8.0, 8.0]).collect();
    let anchors: Vec<(&[f32; 4], &[f32])> = boxes.iter().map(|b| (b, &[0.5f32][..])).collect();
    let found = suppress(&raw(&anchors), 1, 500, &Suppression::INFER);
    assert_eq!(found.len(), 300);
    assert!(found.iter().enumerate().all(|(i, d)| d.bbox[0] == i as f32 * 10.0 - 4.0));
}

#[test]
fn junk_numbers_are_dropped() {
    let bbox = [50.0, 50.0, 20.0, 20.0];
    let raw = raw(&[
        (&bbox, &[f32::NAN, 0.9]),
        (&bbox, &[f32::INFINITY, f32::NAN]),
        (&[f32::NAN, 0.0, 1.0, 1.0], &[0.8, 0.0]),
        (&[0.0, 0.0, f32::INFINITY, 1.0], &[0.8, 0.0]),
    ]);
    for settings in [Suppression::INFER, Suppression::VALIDATION] {
        let found = suppress(&raw, 2, 4, &settings);
        assert_eq!(found, [Detection { class: 1, score: 0.9, bbox: [40.0, 40.0, 60.0, 60.0] }]);
    }
    assert!(suppress(&[], 3, 0, &Suppression::INFER).is_empty());
    assert!(suppress(&[1.0; 4], 0, 1, &Suppression::INFER).is_empty());
}

/// The textbook's way: a class at a time, every candidate against every kept one, then the best `max` of all.
fn by_definition(raw: &[f32], classes: usize, anchors: usize, settings: &Suppression) -> Vec<Detection> {
    let (boxes, scores) = raw.split_at(4 * anchors);
    let mut all = Vec::new();
    for class in 0..classes {
        let above = |a: &usize| scores[class * anchors + a] > settings.conf;
        let mut order: Vec<usize> = (0..anchors).filter(above).collect();
        order.sort_by(|&a, &b| scores[class * anchors + b].total_cmp(&scores[class * anchors + a]));
        let mut kept: Vec<Detection> = Vec::new();
        for anchor in order {
            let bbox = corners(boxes, anchors, anchor);
            if kept.iter().all(|k| iou(&k.bbox, &bbox) <= settings.iou) {
                kept.push(Detection { class, score: scores[class * anchors + anchor], bbox });
            }
        }
        all.extend(kept);
    }
    all.sort_by(|a, b| b.score.total_cmp(&a.score));
    all.truncate(settings.max);
    all
}

#[test]
fn one_pass_equals_the_definition() {
    let (classes, anchors) = (3, 2100);
    let mut random = Random::keyed(&[3]);
    let mut raw: Vec<f32> = (0..2 * anchors).map(|_| random.range(0.0, 160.0)).collect();
    raw.extend((0..2 * anchors).map(|_| random.range(20.0, 60.0)));
    raw.extend((0..classes * anchors).map(|_| random.unit()));
    for iou in [0.3, 0.7] {
        let settings = Suppression { iou, ..Suppression::VALIDATION };
        assert_eq!(
            suppress(&raw, classes, anchors, &settings),
            by_definition(&raw, classes, anchors, &settings)
        );
    }
}

#[test]
fn candidates_are_limited_to_the_best() {
    let mut random = Random::keyed(&[4]);
    let score =
        |i: usize, random: &mut Random| Candidate { score: random.unit(), class: 0, anchor: i as u32 };
    let mut candidates: Vec<Candidate> = (0..40_000).map(|i| score(i, &mut random)).collect();
    let mut sorted = candidates.clone();
    sorted.sort_by(Candidate::order);
    keep_best(&mut candidates);
    assert_eq!(candidates.len(), MAX_CANDIDATES);
    assert!(candidates.iter().zip(&sorted).all(|(a, b)| a.anchor == b.anchor));
}
