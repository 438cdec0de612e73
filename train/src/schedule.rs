//! What each step is run with: learning rates, momentum, and how many batches make a step.

use yf_plan::{Optimizer, Recipe};

/// Pairs whose gradients make one step, where a batch is smaller.
const NOMINAL_BATCH: f64 = 64.0;
/// Learning rate of the biases at the first step of SGD. AdamW moves a parameter by its whole rate whatever the
/// gradient, so there biases start from 0 like all others.
const WARMUP_BIAS_LR: f64 = 0.1;
/// Momentum at the first step.
const WARMUP_MOMENTUM: f64 = 0.8;
/// The warm-up is at least this many batches.
const MIN_WARMUP: f64 = 100.0;

/// Learning rates and momentum over a run.
#[derive(Debug, Clone)]
pub struct Schedule {
    recipe: Recipe,
    /// Batches of the warm-up; 0 without.
    warmup: f64,
    accumulate: f64,
}

/// What one step is run with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Learning rates of biases, weights and norm weights.
    pub lr: [f64; 3],
    /// Momentum of SGD; beta1 of AdamW.
    pub momentum: f64,
    /// Batches whose gradients make a step.
    pub accumulate: usize,
}

impl Schedule {
    /// The schedule of a recipe for epochs of `batches` batches.
    pub fn new(recipe: &Recipe, batches: usize) -> Self {
        let warmup = match recipe.warmup_epochs {
            epochs if epochs > 0.0 => (epochs * batches as f64).round().max(MIN_WARMUP),
            _ => 0.0,
        };
        let accumulate = (NOMINAL_BATCH / recipe.batch as f64).round().max(1.0);
        Schedule { recipe: recipe.clone(), warmup, accumulate }
    }

    /// Weight decay, scaled to the pairs that make a step.
    pub fn weight_decay(&self) -> f64 {
        self.recipe.weight_decay * self.recipe.batch as f64 * self.accumulate / NOMINAL_BATCH
    }

    /// Optimizer steps of the whole run, about: the warm-up's are closer together.
    pub fn steps(&self, batches: usize) -> usize {
        (self.recipe.epochs * batches) / self.accumulate as usize
    }

    /// The rates at batch number `batch` of the run (from 0), in epoch `epoch` (from 0).
    pub fn at(&self, batch: usize, epoch: usize) -> Rates {
        let base = self.recipe.lr0 * (self.recipe.batch as f64 / NOMINAL_BATCH).max(1.0);
        let lr = base * self.decay(epoch);
        let momentum = self.recipe.momentum;
        let done = batch as f64 / self.warmup;
        if self.warmup == 0.0 || done > 1.0 {
            return Rates { lr: [lr; 3], momentum, accumulate: self.accumulate as usize };
        }
        let ramp = |from: f64, to: f64| from + (to - from) * done;
        let (bias_lr, momentum) = match self.recipe.optimizer {
            Optimizer::Sgd => (ramp(WARMUP_BIAS_LR, lr), ramp(WARMUP_MOMENTUM, momentum)),
            Optimizer::AdamW => (ramp(0.0, lr), momentum),
        };
        Rates {
            lr: [bias_lr, ramp(0.0, lr), ramp(0.0, lr)],
            momentum,
            accumulate: ramp(1.0, self.accumulate).round().max(1.0) as usize,
        }
    }

    /// Falls from 1 to `lrf` over the epochs: on a line, or half a cosine.
    fn decay(&self, epoch: usize) -> f64 {
        let (done, lrf) = (epoch as f64 / self.recipe.epochs as f64, self.recipe.lrf);
        if self.recipe.cos_lr {
            return (1.0 - (done * std::f64::consts::PI).cos()) / 2.0 * (lrf - 1.0) + 1.0;
        }
        (1.0 - done).max(0.0) * (1.0 - lrf) + lrf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn warms_up_and_decays() {
        let recipe = Recipe { batch: 16, epochs: 100, ..Recipe::default() };
        let schedule = Schedule::new(&recipe, 50);
        assert_eq!(schedule.at(0, 0), Rates { lr: [0.1, 0.0, 0.0], momentum: 0.8, accumulate: 1 });
        let half = schedule.at(75, 1);
        let lr = 0.01 * (0.99 * 0.99 + 0.01);
        assert!(close(half.lr[1], lr / 2.0) && close(half.lr[0], (0.1 + lr) / 2.0));
        assert_eq!(half.accumulate, 3);
        assert_eq!(schedule.steps(50), 1250);
        let last = schedule.at(99 * 50, 99);
        assert!(close(last.lr[0], 0.01 * (0.01 * 0.99 + 0.01)) && last.accumulate == 4);
    }

    #[test]
    fn large_batches_scale_the_rate_and_do_not_accumulate() {
        let recipe = Recipe { batch: 128, warmup_epochs: 0.0, ..Recipe::default() };
        let schedule = Schedule::new(&recipe, 10);
        assert_eq!(schedule.at(0, 0), Rates { lr: [0.02; 3], momentum: 0.937, accumulate: 1 });
        assert!(close(schedule.weight_decay(), 1e-3));
    }

    #[test]
    fn a_short_warm_up_is_a_hundred_batches() {
        let schedule = Schedule::new(&Recipe::default(), 5);
        assert!(schedule.at(100, 20).lr[0] > schedule.at(101, 20).lr[0] - 1e-12);
        assert!(schedule.at(50, 10).lr[1] < schedule.at(100, 10).lr[1]);
    }

    #[test]
    fn adamw_warms_all_groups_up_from_nothing() {
        let recipe = Recipe { optimizer: Optimizer::AdamW, ..Recipe::default() };
        let first = Schedule::new(&recipe, 50).at(0, 0);
        assert_eq!((first.lr, first.momentum), ([0.0; 3], recipe.momentum));
    }

    #[test]
    fn a_cosine_ends_where_the_line_does() {
        let recipe = Recipe { cos_lr: true, warmup_epochs: 0.0, epochs: 10, ..Recipe::default() };
        let schedule = Schedule::new(&recipe, 1);
        assert!(close(schedule.at(0, 0).lr[0], 0.01) && close(schedule.at(0, 10).lr[0], 0.0001));
    }
}
