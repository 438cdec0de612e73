//! The training recipe: every hyperparameter, its default and its range.

use serde::{Deserialize, Serialize};

/// Reduced precision of the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AmpKind {
    /// Half precision with a dynamic loss scale; on a CPU it means bf16.
    Fp16,
    /// bfloat16, no loss scale.
    Bf16,
}

/// The optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Stochastic gradient descent with Nesterov momentum.
    Sgd,
    /// Adam with decoupled weight decay.
    AdamW,
}

/// Hyperparameters of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recipe {
    /// Passes over the training pairs.
    pub epochs: usize,
    /// Pairs a step, over all GPUs.
    pub batch: usize,
    /// Key of every random draw.
    pub seed: u64,
    /// Reduced precision; `None` computes in fp32.
    pub amp: Option<AmpKind>,
    /// First loss scale of fp16, 2^14 to 2^16.
    pub amp_init_scale: f64,
    /// TF32 in the products of fp32 on a GPU: 10 bits of mantissa, several times as fast.
    pub tf32: bool,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Learning rate after the warm-up.
    pub lr0: f64,
    /// Last learning rate, as a fraction of `lr0`.
    pub lrf: f64,
    /// One cosine half-cycle instead of a linear decay.
    pub cos_lr: bool,
    /// Momentum of SGD; beta1 of AdamW.
    pub momentum: f64,
    /// Weight decay at the nominal batch of 64.
    pub weight_decay: f64,
    /// Epochs of warm-up; at least 100 steps.
    pub warmup_epochs: f64,
    /// Epochs without a better fitness before the run stops; 0 never stops.
    pub patience: usize,
    /// Last epochs without mosaic.
    pub close_mosaic: usize,
    /// Chance of a mosaic of four pairs.
    pub mosaic: f64,
    /// Largest shift, as a fraction of the picture.
    pub translate: f64,
    /// Scale factor is drawn from 1 - scale to 1 + scale.
    pub scale: f64,
    /// Chance of a left-right flip.
    pub fliplr: f64,
    /// Gain of the hue, a fraction.
    pub hsv_h: f64,
    /// Gain of the saturation.
    pub hsv_s: f64,
    /// Gain of the value.
    pub hsv_v: f64,
    /// Gain of the infrared brightness.
    pub ir_brightness: f64,
    /// Gain of the infrared contrast.
    pub ir_contrast: f64,
    /// Chance that a training picture's RGB half is blanked, as if that camera were dead.
    pub rgb_dropout: f64,
    /// Chance that a training picture's infrared half is blanked; of the two never both are.
    pub ir_dropout: f64,
    /// Largest shift of infrared against RGB in x and y, as a fraction of the picture's longer side.
    pub ir_shift: f64,
    /// Weight of the box loss.
    pub box_gain: f64,
    /// Weight of the class loss.
    pub cls_gain: f64,
    /// Weight of the distribution focal loss.
    pub dfl_gain: f64,
    /// Weight of the loss of auxiliary heads, one on each camera's branch, in training alone; with 0 there are none.
    pub auxiliary_gain: f64,
    /// Epochs from one validation to the next; the last epoch has one in any case, and with 0 it alone.
    pub val_every: usize,
    /// Epochs from one `last.safetensors` to the next; the last epoch has one in any case, and with 0 it alone.
    pub save_every: usize,
    /// Batch norms take the statistics of all ranks' pictures, not of each rank's own.
    pub sync_bn: bool,
}

impl Default for Recipe {
    fn default() -> Self {
        Recipe {
            epochs: 100,
            batch: 16,
            seed: 0,
            amp: None,
            amp_init_scale: 65_536.0,
            tf32: true,
            optimizer: Optimizer::Sgd,
            lr0: 0.01,
            lrf: 0.01,
            cos_lr: false,
            momentum: 0.937,
            weight_decay: 5e-4,
            warmup_epochs: 3.0,
            patience: 100,
            close_mosaic: 10,
            mosaic: 1.0,
            translate: 0.1,
            scale: 0.5,
            fliplr: 0.5,
            hsv_h: 0.015,
            hsv_s: 0.7,
            hsv_v: 0.4,
            ir_brightness: 0.2,
            ir_contrast: 0.2,
            rgb_dropout: 0.0,
            ir_dropout: 0.0,
            ir_shift: 0.0,
            box_gain: 7.5,
            cls_gain: 0.5,
            dfl_gain: 1.5,
            auxiliary_gain: 0.0,
            val_every: 1,
            save_every: 1,
            sync_bn: false,
        }
    }
}

/// A hyperparameter outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name} is {value}, but must be {range}")]
pub struct PlanError {
    /// Name of the hyperparameter.
    pub name: &'static str,
    /// What was given.
    pub value: f64,
    /// What is allowed.
    pub range: &'static str,
}

impl Recipe {
    /// The same for one camera alone: it is neither blanked nor shifted against the other nor helped to hold its own.
    #[must_use]
    pub fn of_one_camera(self) -> Self {
        Recipe { rgb_dropout: 0.0, ir_dropout: 0.0, ir_shift: 0.0, auxiliary_gain: 0.0, ..self }
    }

    /// Whether the epoch (from 0) is one that is due `every` so many, or the last.
    pub fn is_due(&self, every: usize, epoch: usize) -> bool {
        epoch + 1 >= self.epochs || (every > 0 && (epoch + 1).is_multiple_of(every))
    }

    /// Checks every range.
    ///
    /// # Errors
    /// The first hyperparameter out of its range.
    pub fn check(&self) -> Result<(), PlanError> {
        let dropout = self.rgb_dropout + self.ir_dropout;
        let rules: [(&'static str, f64, bool, &'static str); 25] = [
            ("epochs", self.epochs as f64, (1..=100_000).contains(&self.epochs), "1 to 100000"),
            ("batch", self.batch as f64, (1..=65_536).contains(&self.batch), "1 to 65536"),
            (
                "amp-init-scale",
                self.amp_init_scale,
                (16_384.0..=65_536.0).contains(&self.amp_init_scale),
                "16384 to 65536 (2^14 to 2^16)",
            ),
            ("lr0", self.lr0, self.lr0 > 0.0 && self.lr0 <= 10.0, "above 0, at most 10"),
            ("lrf", self.lrf, self.lrf > 0.0 && self.lrf <= 1.0, "above 0, at most 1"),
            ("momentum", self.momentum, (0.0..1.0).contains(&self.momentum), "0 to below 1"),
            ("weight-decay", self.weight_decay, (0.0..=1.0).contains(&self.weight_decay), "0 to 1"),
            ("warmup-epochs", self.warmup_epochs, (0.0..=1000.0).contains(&self.warmup_epochs), "0 to 1000"),
            ("mosaic", self.mosaic, unit(self.mosaic), "0 to 1"),
            ("translate", self.translate, unit(self.translate), "0 to 1"),
            ("scale", self.scale, (0.0..1.0).contains(&self.scale), "0 to below 1"),
            ("fliplr", self.fliplr, unit(self.fliplr), "0 to 1"),
            ("hsv-h", self.hsv_h, unit(self.hsv_h), "0 to 1"),
            ("hsv-s", self.hsv_s, unit(self.hsv_s), "0 to 1"),
            ("hsv-v", self.hsv_v, unit(self.hsv_v), "0 to 1"),
            ("ir-brightness", self.ir_brightness, unit(self.ir_brightness), "0 to 1"),
            ("ir-contrast", self.ir_contrast, unit(self.ir_contrast), "0 to 1"),
            ("modality-dropout", self.rgb_dropout, unit(self.rgb_dropout), "0 to 1"),
            ("modality-dropout", self.ir_dropout, unit(self.ir_dropout), "0 to 1"),
            ("modality-dropout", dropout, unit(dropout), "0 to 1 for both cameras together"),
            ("ir-shift", self.ir_shift, (0.0..=0.25).contains(&self.ir_shift), "0 to 0.25"),
            ("box-gain", self.box_gain, gain(self.box_gain), "0 to 1000"),
            ("cls-gain", self.cls_gain, gain(self.cls_gain), "0 to 1000"),
            ("dfl-gain", self.dfl_gain, gain(self.dfl_gain), "0 to 1000"),
            ("auxiliary-gain", self.auxiliary_gain, (0.0..=10.0).contains(&self.auxiliary_gain), "0 to 10"),
        ];
        match rules.into_iter().find(|(.., holds, _)| !holds) {
            Some((name, value, _, range)) => Err(PlanError { name, value, range }),
            None => Ok(()),
        }
    }
}

fn unit(x: f64) -> bool {
    (0.0..=1.0).contains(&x)
}

fn gain(x: f64) -> bool {
    (0.0..=1000.0).contains(&x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_in_range_and_nan_is_not() {
        assert_eq!(Recipe::default().check(), Ok(()));
        let wrong = Recipe { lr0: f64::NAN, ..Recipe::default() };
        assert_eq!(wrong.check().unwrap_err().name, "lr0");
        let wrong = Recipe { amp_init_scale: 1e6, ..Recipe::default() };
        assert!(wrong.check().unwrap_err().to_string().contains("2^14"));
        let wrong = Recipe { rgb_dropout: 0.6, ir_dropout: 0.6, ..Recipe::default() };
        assert!(wrong.check().unwrap_err().to_string().contains("together"));
    }

    #[test]
    fn the_last_epoch_is_always_due() {
        let recipe = Recipe { epochs: 7, ..Recipe::default() };
        let due = |every| (0..7).filter(|&epoch| recipe.is_due(every, epoch)).collect::<Vec<_>>();
        assert_eq!(due(1), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(due(3), [2, 5, 6]);
        assert_eq!(due(0), [6]);
    }
}
