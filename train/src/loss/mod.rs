//! The detection loss: what the head's raw maps say against what is there.
//!
//! Three parts, as YOLOv8-style detectors have them, over all anchors of all maps at once:
//!
//! | part | what it compares | article |
//! |---|---|---|
//! | box | CIoU of predicted and assigned box | arXiv 1911.08287 |
//! | cls | binary cross-entropy of class logits and target scores | |
//! | dfl | the sides' distributions and the assigned distances | arXiv 2006.04388 |
//!
//! [`assign`] says which anchor answers for which box (arXiv 2108.07755). Everything is computed in 32 bits,
//! whatever the maps are in, in shapes that do not depend on the data, and without waiting for the device.
//! Anchors are always the last dimension, as they lie in the maps.

pub mod assign;
pub mod dfl;
pub mod iou;
pub mod targets;

use crate::torch::{Device, Kind, Reduction, Tensor, no_grad};

use assign::{Assigner, Assignment, Predictions};
use dfl::Distances;
use iou::{Sides, ciou};
pub use targets::{Label, Targets, TargetsError};

/// How much each part counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gains {
    /// Of the CIoU part.
    pub boxes: f64,
    /// Of the class part.
    pub classes: f64,
    /// Of the distribution part.
    pub dfl: f64,
}

impl Default for Gains {
    fn default() -> Self {
        Self { boxes: 7.5, classes: 0.5, dfl: 1.5 }
    }
}

/// The loss of one head: its classes, its box bins, the strides of its maps, and the settings.
#[derive(Debug, Clone)]
pub struct Loss {
    /// Number of classes.
    pub classes: i64,
    /// Bins a side of the box distribution.
    pub reg_max: i64,
    /// Input pixels per cell, one a map, in the maps' order.
    pub strides: Vec<i64>,
    /// How much each part counts.
    pub gains: Gains,
    /// Which anchors answer for which boxes.
    pub assigner: Assigner,
}

/// The value of the loss for a batch.
#[derive(Debug)]
pub struct Losses {
    /// Scalar with gradient: (box + cls + dfl) * batch.
    pub total: Tensor,
    /// float `[3]`, detached: box, cls, dfl, gains applied, not multiplied by the batch.
    pub parts: Tensor,
}

/// The three parts before they are divided by the normaliser, which in a distributed run is a matter of all
/// ranks: `sums`, then the sum of `totals` over all ranks, then [`Sums::divided_by`].
#[derive(Debug)]
pub struct Sums {
    /// float `[3]` with gradient: box, cls, dfl, gains applied.
    parts: Tensor,
    /// float `[2]`, detached: the sum of this batch's target scores, and its pictures.
    pub totals: Tensor,
}

impl Sums {
    /// What this batch adds to the losses of all ranks' batches, whose [`Sums::totals`] together are `totals`. The sum
    /// of target scores is taken as at least 1.
    pub fn divided_by(&self, totals: &Tensor) -> Losses {
        let parts = &self.parts / totals.get(0).clamp_min(1.0);
        Losses { total: parts.sum(Kind::Float) * totals.get(1), parts: parts.detach() }
    }
}

impl Loss {
    /// The reference's loss (16 bins, its gains and assigner) for a head of `classes` over maps of `strides`.
    pub fn new(classes: i64, strides: &[i64]) -> Self {
        Self {
            classes,
            reg_max: 16,
            strides: strides.to_vec(),
            gains: Gains::default(),
            assigner: Assigner::default(),
        }
    }

    /// The loss of a batch. `maps`, one a stride: [B, 4 * reg_max + classes, h, w], of any float kind.
    pub fn forward(&self, maps: &[Tensor], targets: &Targets) -> Losses {
        let sums = self.sums(maps, targets);
        sums.divided_by(&sums.totals)
    }

    /// The parts of [`Loss::forward`], not yet normalised.
    pub fn sums(&self, maps: &[Tensor], targets: &Targets) -> Sums {
        let head = Head::read(maps, self);
        let assignment = self.assign(&head, targets);
        let pictures = maps.first().map_or(0, |map| map.size()[0]);
        let totals = no_grad(|| {
            let weight = assignment.scores.sum(Kind::Float);
            Tensor::stack(&[&weight, &weight.full_like(pictures as f64)], 0)
        });
        let parts = [
            self.box_part(&head, &assignment) * self.gains.boxes,
            self.class_part(&head, &assignment) * self.gains.classes,
            self.dfl_part(&head, &assignment) * self.gains.dfl,
        ];
        Sums { parts: Tensor::stack(&parts, 0), totals }
    }

    /// The assignment alone, for the maps of a batch as in [`Loss::forward`].
    pub fn assignment(&self, maps: &[Tensor], targets: &Targets) -> Assignment {
        no_grad(|| self.assign(&Head::read(maps, self), targets))
    }

    fn assign(&self, head: &Head, targets: &Targets) -> Assignment {
        no_grad(|| {
            let predictions = Predictions {
                scores: &head.class_logits.sigmoid(),
                boxes: &(&head.boxes * &head.anchors.strides),
                centres: &(&head.anchors.centres * &head.anchors.strides),
            };
            self.assigner.assign(&predictions, targets)
        })
    }

    /// 1 - CIoU of every anchor's box, in strides, weighted by its target score.
    fn box_part(&self, head: &Head, assignment: &Assignment) -> Tensor {
        let targets = &assignment.boxes / &head.anchors.strides;
        let ciou = ciou(&Sides::of(&head.boxes, 1), &Sides::of(&targets, 1)).squeeze_dim(1);
        let missing: Tensor = 1.0 - ciou;
        (missing * &assignment.scores).sum(Kind::Float)
    }

    /// Cross-entropy of every anchor and class; the target is the target score in the class of the
    /// assigned box and zero elsewhere.
    fn class_part(&self, head: &Head, assignment: &Assignment) -> Tensor {
        let targets = head.class_logits.detach().zeros_like().scatter(
            1,
            &assignment.classes.unsqueeze(1),
            &assignment.scores.unsqueeze(1),
        );
        head.class_logits.binary_cross_entropy_with_logits::<Tensor>(&targets, None, None, Reduction::Sum)
    }

    /// Focal loss of every anchor's four sides, weighted by its target score.
    fn dfl_part(&self, head: &Head, assignment: &Assignment) -> Tensor {
        let targets = head.anchors.distances_to(&(&assignment.boxes / &head.anchors.strides));
        (head.distances.focal_loss(&targets) * &assignment.scores).sum(Kind::Float)
    }
}

/// The head's maps side by side, read as boxes and class logits.
struct Head {
    anchors: Anchors,
    /// float [B, classes, A].
    class_logits: Tensor,
    /// [B, 4, reg_max, A].
    distances: Distances,
    /// float [B, 4, A]: x1, y1, x2, y2 in strides.
    boxes: Tensor,
}

impl Head {
    fn read(maps: &[Tensor], loss: &Loss) -> Self {
        let anchors = Anchors::of(maps, &loss.strides);
        let flat: Vec<Tensor> = maps.iter().map(|map| map.flatten(2, 3)).collect();
        let all = Tensor::cat(&flat, 2).to_kind(Kind::Float);
        let mut split = all.split_with_sizes([4 * loss.reg_max, loss.classes], 1).into_iter();
        let (Some(box_logits), Some(class_logits)) = (split.next(), split.next()) else {
            unreachable!("two sizes make two parts")
        };
        let distances = Distances::from_logits(&box_logits, loss.reg_max);
        let boxes = anchors.boxes_at(&distances.expectation());
        Self { anchors, class_logits, distances, boxes }
    }
}

/// The anchors of all maps: the centres of their cells.
struct Anchors {
    /// float [2, A]: centres (x, y) in strides of their own map.
    centres: Tensor,
    /// float [1, A]: the stride of each anchor's map, in pixels.
    strides: Tensor,
}

impl Anchors {
    /// In the order in which the maps lie when flattened: row by row, map after map.
    fn of(maps: &[Tensor], strides: &[i64]) -> Self {
        let (centres, strides): (Vec<_>, Vec<_>) = maps
            .iter()
            .zip(strides)
            .map(|(map, &stride)| {
                let [_, _, h, w] = map.size()[..] else { panic!("a head map is [B, C, h, w], not {map:?}") };
                let options = (Kind::Float, map.device());
                (cell_centres(h, w, map.device()), Tensor::full([1, h * w], stride as f64, options))
            })
            .unzip();
        Self { centres: Tensor::cat(&centres, 1), strides: Tensor::cat(&strides, 1) }
    }

    /// Boxes [B, 4, A] at distances [B, 4, A] from the centres, both in strides.
    fn boxes_at(&self, distances: &Tensor) -> Tensor {
        let near = &self.centres - distances.narrow(1, 0, 2);
        let far = &self.centres + distances.narrow(1, 2, 2);
        Tensor::cat(&[near, far], 1)
    }

    /// Distances [B, 4, A] from the centres to the sides of boxes [B, 4, A], both in strides.
    fn distances_to(&self, boxes: &Tensor) -> Tensor {
        let near = &self.centres - boxes.narrow(1, 0, 2);
        let far = boxes.narrow(1, 2, 2) - &self.centres;
        Tensor::cat(&[near, far], 1)
    }
}

/// float [2, h * w]: x and y of the centres of an h x w grid of unit cells, row by row.
fn cell_centres(h: i64, w: i64, device: Device) -> Tensor {
    let options = (Kind::Float, device);
    let x = (Tensor::arange(w, options) + 0.5).reshape([1, w]).expand([h, w], false);
    let y = (Tensor::arange(h, options) + 0.5).reshape([h, 1]).expand([h, w], false);
    Tensor::stack(&[x, y], 0).flatten(1, 2)
}

#[cfg(test)]
mod tests;
