//! Overlap of boxes: intersection over union (IoU) and complete IoU (CIoU, arXiv 1911.08287).
//!
//! Boxes come as four tensors, one a side, that only have to broadcast with those of the other box. So the
//! same lines compare boxes one to one ([B, A] with [B, A]) and each with each ([B, M, 1] with [B, 1, A]),
//! and what depends on one box alone (area, angle) is computed once a box, not once a pair.

use std::f64::consts::PI;

use crate::torch::{Tensor, no_grad};

/// Keeps every divisor of this module away from zero.
const EPS: f64 = 1e-7;

/// Boxes by their sides: left, top, right and bottom, in any unit, of any shapes that broadcast.
#[derive(Debug)]
pub struct Sides {
    /// Left edge.
    pub x1: Tensor,
    /// Top edge.
    pub y1: Tensor,
    /// Right edge, at or right of `x1`.
    pub x2: Tensor,
    /// Bottom edge, at or below `y1`.
    pub y2: Tensor,
}

impl Sides {
    /// The boxes of a tensor whose dimension `dim` holds x1, y1, x2, y2; it stays, with length 1.
    pub fn of(boxes: &Tensor, dim: i64) -> Self {
        let side = |i| boxes.narrow(dim, i, 1);
        Self { x1: side(0), y1: side(1), x2: side(2), y2: side(3) }
    }

    /// Width and height; the height is never zero, since the aspect ratio divides by it.
    fn extent(&self) -> (Tensor, Tensor) {
        (&self.x2 - &self.x1, &self.y2 - &self.y1 + EPS)
    }
}

/// What IoU and CIoU share.
struct Overlap {
    iou: Tensor,
    extents: [(Tensor, Tensor); 2],
}

fn overlap(a: &Sides, b: &Sides) -> Overlap {
    let extents = [a.extent(), b.extent()];
    let width = (a.x2.minimum(&b.x2) - a.x1.maximum(&b.x1)).clamp_min(0.0);
    let height = (a.y2.minimum(&b.y2) - a.y1.maximum(&b.y1)).clamp_min(0.0);
    let intersection = width * height;
    let [area_a, area_b] = extents.each_ref().map(|(w, h)| w * h);
    let union = area_a + area_b - &intersection + EPS;
    Overlap { iou: intersection / union, extents }
}

/// Intersection over union, 0 to 1, in the shape the two broadcast to.
pub fn iou(a: &Sides, b: &Sides) -> Tensor {
    overlap(a, b).iou
}

/// Complete IoU, above -1.5 and at most 1: IoU, less the squared distance of the centres in units of the
/// enclosing box's diagonal, less a term for unlike aspect ratios.
///
/// That term is `alpha * v`, where `alpha` weighs it by the overlap; as in the article, no gradient flows
/// through `alpha`.
pub fn ciou(a: &Sides, b: &Sides) -> Tensor {
    let Overlap { iou, extents } = overlap(a, b);

    let width = a.x2.maximum(&b.x2) - a.x1.minimum(&b.x1);
    let height = a.y2.maximum(&b.y2) - a.y1.minimum(&b.y1);
    let diagonal = width.square() + height.square() + EPS;
    // The centres, doubled: what is the same on both sides is summed first, before it is spread over pairs.
    let dx = (&b.x1 + &b.x2) - (&a.x1 + &a.x2);
    let dy = (&b.y1 + &b.y2) - (&a.y1 + &a.y2);
    let distance = (dx.square() + dy.square()) / 4.0;

    let [angle_a, angle_b] = extents.each_ref().map(|(w, h)| (w / h).atan());
    let aspect = (angle_b - angle_a).square() * (4.0 / (PI * PI));
    // Two equal boxes make 0 / 0 here but for the bound.
    let alpha = no_grad(|| &aspect / (&aspect - &iou + (1.0 + EPS)).clamp_min(EPS));

    iou - (distance / diagonal + aspect * alpha)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::Kind;

    fn sides(boxes: &[[f64; 4]]) -> Sides {
        Sides::of(&Tensor::from_slice2(boxes), 1)
    }

    fn values(t: &Tensor) -> Vec<f64> {
        Vec::try_from(t.reshape([-1])).unwrap()
    }

    #[test]
    fn iou_of_known_pairs() {
        let a = sides(&[[0., 0., 2., 2.], [0., 0., 2., 2.], [0., 0., 1., 1.]]);
        let b = sides(&[[1., 1., 3., 3.], [0., 0., 2., 2.], [5., 5., 6., 6.]]);
        for (got, want) in values(&iou(&a, &b)).iter().zip([1. / 7., 1., 0.]) {
            assert!((got - want).abs() < 1e-6, "{got} is not {want}");
        }
    }

    #[test]
    fn ciou_takes_distance_and_aspect_off() {
        // Same centre, 4x1 against 1x4: IoU 1/7, no distance, aspect by hand.
        let got = values(&ciou(&sides(&[[0., 1.5, 4., 2.5]]), &sides(&[[1.5, 0., 2.5, 4.]])))[0];
        let v = 4. / (PI * PI) * (4f64.atan() - 0.25f64.atan()).powi(2);
        let want = 1. / 7. - v * v / (v - 1. / 7. + 1.);
        assert!((got - want).abs() < 1e-6, "{got} is not {want}");
        // Same shape, no overlap: centres 5 apart (3, 4), enclosing box 4x5.
        let got = values(&ciou(&sides(&[[0., 0., 1., 1.]]), &sides(&[[3., 4., 4., 5.]])))[0];
        assert!((got + 25. / 41.).abs() < 1e-6, "{got}");
    }

    #[test]
    fn equal_boxes_and_points_stay_finite() {
        let boxes = [[3., 4., 9., 9.], [1., 1., 1., 1.]];
        let a = Tensor::from_slice2(&boxes).to_kind(Kind::Float).set_requires_grad(true);
        let got = ciou(&Sides::of(&a, 1), &Sides::of(&a.detach(), 1));
        got.sum(None).backward();
        assert!((got.double_value(&[0, 0]) - 1.).abs() < 1e-6);
        assert!(values(&a.grad().to_kind(Kind::Double)).iter().all(|g| g.is_finite()));
    }

    #[test]
    fn each_with_each() {
        let a = Tensor::from_slice2(&[[0., 0., 2., 2.], [4., 4., 8., 6.]]);
        let b = Tensor::from_slice2(&[[1., 1., 3., 3.], [0., 0., 2., 2.], [3., 4., 7., 6.]]);
        let pairs = ciou(&Sides::of(&a.unsqueeze(1), 2), &Sides::of(&b.unsqueeze(0), 2)).squeeze_dim(2);
        assert_eq!(pairs.size(), [2, 3]);
        for i in 0..2 {
            for j in 0..3 {
                let one = ciou(&Sides::of(&a.get(i), 0), &Sides::of(&b.get(j), 0));
                assert_eq!(pairs.double_value(&[i, j]), one.double_value(&[0]));
            }
        }
    }
}
