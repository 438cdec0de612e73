//! Task-aligned assignment (TOOD, arXiv 2108.07755): which anchor answers for which box, and how well.
//!
//! For box m and anchor a the alignment is `score^alpha * overlap^beta`, of the score that the anchor gives
//! to the box's class and the overlap (CIoU, at least 0) of the anchor's own prediction. A box claims the
//! `topk` anchors of highest alignment among those whose centre lies in it.
//!
//! All of it is whole-tensor arithmetic over [B, M, A] (B pictures, M padded boxes, A anchors): no shape
//! depends on the data and nothing waits for the device, so that a step can be captured into a CUDA graph.

use crate::torch::{Kind, Tensor, no_grad};

use super::iou::{Sides, ciou};
use super::targets::Targets;

/// Keeps the scaling of a box's alignments away from 0 / 0.
const EPS: f64 = 1e-9;

/// The assigner's settings; [`Default`] has the reference's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assigner {
    /// Anchors a box may claim.
    pub topk: i64,
    /// Exponent of the class score.
    pub alpha: f64,
    /// Exponent of the overlap.
    pub beta: f64,
}

impl Default for Assigner {
    fn default() -> Self {
        Self { topk: 10, alpha: 0.5, beta: 6.0 }
    }
}

/// What the network predicts for every anchor, detached, in input pixels.
#[derive(Debug)]
pub struct Predictions<'a> {
    /// float [B, classes, A]: class scores, 0 to 1.
    pub scores: &'a Tensor,
    /// float [B, 4, A]: x1, y1, x2, y2 in pixels.
    pub boxes: &'a Tensor,
    /// float [2, A]: centres (x, y) of the anchors in pixels.
    pub centres: &'a Tensor,
}

/// The answer for every anchor; what an unassigned anchor holds in `gt`, `classes` and `boxes` is arbitrary
/// (but finite) and has no weight.
#[derive(Debug)]
pub struct Assignment {
    /// bool [B, A]: whether the anchor answers for a box.
    pub assigned: Tensor,
    /// i64 [B, A]: index of that box within its picture.
    pub gt: Tensor,
    /// i64 [B, A]: class of that box.
    pub classes: Tensor,
    /// float [B, 4, A]: that box, x1, y1, x2, y2 in pixels.
    pub boxes: Tensor,
    /// float [B, A]: the class score the anchor should reach, 0 to 1, and its weight in the box losses;
    /// zero where not assigned.
    pub scores: Tensor,
}

impl Assigner {
    /// Assigns the anchors of a batch. No gradient flows.
    pub fn assign(&self, predictions: &Predictions<'_>, targets: &Targets) -> Assignment {
        no_grad(|| {
            let [batch, m, _] = targets.boxes.size()[..] else {
                panic!("boxes are [B, M, 4], not {targets:?}")
            };
            // Reductions over M need one row: a padded one stands for no boxes at all.
            if m == 0 {
                self.assign_rows(predictions, &Targets::none(batch, 1, targets.boxes.device()))
            } else {
                self.assign_rows(predictions, targets)
            }
        })
    }

    fn assign_rows(&self, predictions: &Predictions<'_>, targets: &Targets) -> Assignment {
        let candidates = candidates(predictions.centres, targets);
        let overlaps = overlaps(predictions.boxes, targets) * &candidates;
        let alignment = self.alignment(predictions.scores, &overlaps, targets);
        let claims = self.claims(&alignment, &candidates);
        let owned = one_owner(&claims, &overlaps).to_kind(Kind::Float);
        let gt = owned.argmax(1, false);
        let assigned = owned.amax(1, false);
        let scores = target_scores(&alignment, &overlaps, &owned, &gt) * &assigned;

        let [b, _, a] = owned.size()[..] else { unreachable!("owned is [B, M, A]") };
        let boxes = targets.boxes.to_kind(Kind::Float).transpose(1, 2);
        Assignment {
            assigned: assigned.to_kind(Kind::Bool),
            classes: targets.classes.gather(1, &gt, false),
            boxes: boxes.gather(2, &gt.unsqueeze(1).expand([b, 4, a], false), false),
            scores,
            gt,
        }
    }

    /// score^alpha * overlap^beta, [B, M, A]; zero where the overlap is.
    fn alignment(&self, scores: &Tensor, overlaps: &Tensor, targets: &Targets) -> Tensor {
        let [b, m, a] = overlaps.size()[..] else { unreachable!("overlaps are [B, M, A]") };
        let class = targets.classes.unsqueeze(2).expand([b, m, a], false);
        let scores = scores.pow_tensor_scalar(self.alpha).gather(1, &class, false);
        scores * overlaps.pow_tensor_scalar(self.beta)
    }

    /// bool [B, M, A]: the candidates among each box's `topk` anchors of highest alignment.
    fn claims(&self, alignment: &Tensor, candidates: &Tensor) -> Tensor {
        let k = self.topk.min(alignment.size()[2]);
        let (_, best) = alignment.topk(k, 2, true, true);
        candidates.zeros_like().scatter_value(2, &best, 1).logical_and(candidates)
    }
}

/// bool [B, M, A]: whether the anchor's centre lies inside the box, and the box is no padding.
fn candidates(centres: &Tensor, targets: &Targets) -> Tensor {
    let (cx, cy) = (centres.get(0), centres.get(1));
    let sides = Sides::of(&targets.boxes, 2);
    sides
        .x1
        .lt_tensor(&cx)
        .logical_and(&sides.y1.lt_tensor(&cy))
        .logical_and(&sides.x2.gt_tensor(&cx))
        .logical_and(&sides.y2.gt_tensor(&cy))
        .logical_and(&targets.mask.unsqueeze(2))
}

/// CIoU of each box with each prediction, at least 0: [B, M, A].
fn overlaps(predicted: &Tensor, targets: &Targets) -> Tensor {
    let boxes = Sides::of(&targets.boxes, 2);
    let predicted = Sides::of(predicted, 1);
    ciou(&boxes, &predicted).clamp_min(0.0)
}

/// An anchor that several boxes claim goes to the one of highest overlap, among all it lies in.
fn one_owner(claims: &Tensor, overlaps: &Tensor) -> Tensor {
    let contested = claims.sum_dim_intlist(1, true, Kind::Int64).gt(1);
    let row = Tensor::arange(overlaps.size()[1], (Kind::Int64, overlaps.device())).reshape([1, -1, 1]);
    let highest = overlaps.argmax(1, true).eq_tensor(&row);
    highest.where_self(&contested, claims)
}

/// [B, A]: the alignment of an anchor with its box, scaled so that the best anchor of a box is asked for the
/// highest overlap that any anchor of that box reaches.
fn target_scores(alignment: &Tensor, overlaps: &Tensor, owned: &Tensor, gt: &Tensor) -> Tensor {
    let highest_alignment = (alignment * owned).amax(2, false).gather(1, gt, false);
    let highest_overlap = (overlaps * owned).amax(2, false).gather(1, gt, false);
    let own = alignment.gather(1, &gt.unsqueeze(1), false).squeeze_dim(1);
    own * highest_overlap / (highest_alignment + EPS)
}
