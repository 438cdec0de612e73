//! A box side as a distribution: its expectation, and the distribution focal loss (DFL, arXiv 2006.04388).
//!
//! The head predicts, for each of the four distances from an anchor to a box's sides, logits over `bins`
//! whole distances 0, 1, .. bins - 1 in units of the map's stride. Everything here is [B, 4, bins, A] or
//! [B, 4, A], B pictures and A anchors, sides in the order left, top, right, bottom.

use crate::torch::{Kind, Tensor};

/// How far a target stays below the last bin, so that the bin above it exists.
const MARGIN: f64 = 0.01;

/// The predicted distances of the sides, kept as log-probabilities over the bins.
#[derive(Debug)]
pub struct Distances {
    log_p: Tensor,
}

impl Distances {
    /// From the head's box logits, float [B, 4 * bins, A].
    pub fn from_logits(logits: &Tensor, bins: i64) -> Self {
        let size = logits.size();
        Self { log_p: logits.reshape([size[0], 4, bins, size[2]]).log_softmax(2, Kind::Float) }
    }

    /// The expected distances, [B, 4, A], 0 to bins - 1 strides.
    pub fn expectation(&self) -> Tensor {
        let bins = self.log_p.size()[2];
        let values = Tensor::arange(bins, (Kind::Float, self.log_p.device())).reshape([1, 1, bins, 1]);
        (self.log_p.exp() * values).sum_dim_intlist(2, false, Kind::Float)
    }

    /// The focal loss of each anchor against target distances [B, 4, A] in strides: [B, A], the mean over
    /// the sides. A target between two bins asks each for the share that makes the target their mean.
    ///
    /// Targets outside 0 .. bins - 1 count as the nearest distance that two bins can express.
    pub fn focal_loss(&self, targets: &Tensor) -> Tensor {
        let bins = self.log_p.size()[2];
        let targets = targets.clamp(0.0, (bins - 1) as f64 - MARGIN).unsqueeze(2);
        let floor = targets.floor();
        let upper_share = &targets - &floor;
        let lower_share = 1.0 - &upper_share;
        let lower = floor.to_kind(Kind::Int64);
        let neighbours = Tensor::cat(&[&lower, &(&lower + 1)], 2);
        let shares = Tensor::cat(&[lower_share, upper_share], 2);
        let cross_entropy =
            -(self.log_p.gather(2, &neighbours, false) * shares).sum_dim_intlist(2, false, Kind::Float);
        cross_entropy.mean_dim(1, false, Kind::Float)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::Device;

    #[test]
    fn a_sharp_distribution_is_its_bin() {
        // Side s is certain of bin 2s.
        let logits = Tensor::zeros([1, 4, 8, 1], (Kind::Float, Device::Cpu));
        for side in 0..4 {
            let _ = logits.get(0).get(side).get(2 * side).fill_(50.0);
        }
        let distances = Distances::from_logits(&logits.reshape([1, 32, 1]), 8);
        let got = Vec::<f32>::try_from(distances.expectation().reshape([-1])).unwrap();
        assert!(got.iter().zip([0., 2., 4., 6.]).all(|(got, want)| (got - want).abs() < 1e-6), "{got:?}");
        let loss = distances.focal_loss(&Tensor::from_slice(&[0f32, 2., 4., 6.]).reshape([1, 4, 1]));
        assert!(loss.double_value(&[0, 0]).abs() < 1e-6);
    }

    #[test]
    fn loss_of_a_target_between_two_bins() {
        // Uniform over 4 bins: ln 4 whatever the target, also for one far out of range.
        let uniform = Distances::from_logits(&Tensor::zeros([1, 16, 2], (Kind::Float, Device::Cpu)), 4);
        let targets = Tensor::from_slice(&[0f32, 99., 1.25, -3., 2.5, 2.99, 3., 0.5]).reshape([1, 4, 2]);
        for anchor in 0..2 {
            let loss = uniform.focal_loss(&targets).double_value(&[0, anchor]);
            assert!((loss - 4f64.ln()).abs() < 1e-6, "{loss}");
        }
        // Logits ln p with p = (.1, .2, .3, .4) on every side, target 1.25: -(.75 ln .2 + .25 ln .3).
        let p = Tensor::from_slice(&[0.1f32, 0.2, 0.3, 0.4]).log().repeat([4]).reshape([1, 16, 1]);
        let targets = Tensor::full([1, 4, 1], 1.25, (Kind::Float, Device::Cpu));
        let loss = Distances::from_logits(&p, 4).focal_loss(&targets).double_value(&[0, 0]);
        let want = -(0.75 * 0.2f64.ln() + 0.25 * 0.3f64.ln());
        assert!((loss - want).abs() < 1e-6, "{loss} is not {want}");
    }
}
