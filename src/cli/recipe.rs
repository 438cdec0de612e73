//! The flags of the training recipe. Defaults are [`Recipe::default`]'s.

use clap::Args;
use yf_plan::{AmpKind, Optimizer, PlanError, Recipe};

use super::choices::{AMP, Batch, Dropout, OPTIMIZER, choice};

/// Hyperparameters as flags.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Recipe", allow_negative_numbers = true)]
pub struct RecipeArgs {
    /// Passes over the training pairs
    #[arg(long, value_name = "N", default_value_t = Recipe::default().epochs)]
    epochs: usize,
    /// Pairs a step, over all GPUs; auto takes as many as nine tenths of the GPU's memory hold
    #[arg(long, value_name = "N|auto", default_value_t = Batch::Fixed(Recipe::default().batch))]
    batch: Batch,
    /// Compute in reduced precision: fp16 with a dynamic loss scale, or bf16; alone it means fp16, on a CPU bf16
    #[arg(long, value_name = "KIND", num_args = 0..=1, default_missing_value = "fp16", value_parser = choice::<AmpKind>(AMP))]
    amp: Option<AmpKind>,
    /// First loss scale of fp16, 2^14 to 2^16
    #[arg(long, value_name = "SCALE", default_value_t = Recipe::default().amp_init_scale)]
    amp_init_scale: f64,
    /// Products of fp32 in full precision on a GPU, instead of TF32
    #[arg(long)]
    no_tf32: bool,
    /// The optimizer; both take --momentum (AdamW as its beta1)
    #[arg(long, value_name = "NAME", default_value = "sgd", value_parser = choice::<Optimizer>(OPTIMIZER))]
    optimizer: Optimizer,
    /// Learning rate after the warm-up
    #[arg(long, value_name = "RATE", default_value_t = Recipe::default().lr0)]
    lr0: f64,
    /// Last learning rate, as a fraction of --lr0
    #[arg(long, value_name = "FRACTION", default_value_t = Recipe::default().lrf)]
    lrf: f64,
    /// Decay the learning rate along one cosine half-cycle instead of a line
    #[arg(long)]
    cos_lr: bool,
    /// Momentum of SGD, beta1 of AdamW
    #[arg(long, value_name = "M", default_value_t = Recipe::default().momentum)]
    momentum: f64,
    /// Weight decay at a batch of 64
    #[arg(long, value_name = "DECAY", default_value_t = Recipe::default().weight_decay)]
    weight_decay: f64,
    /// Epochs of warm-up, at least 100 steps
    #[arg(long, value_name = "EPOCHS", default_value_t = Recipe::default().warmup_epochs)]
    warmup_epochs: f64,
    /// Stop after so many epochs without a better fitness; 0 never stops
    #[arg(long, value_name = "EPOCHS", default_value_t = Recipe::default().patience)]
    patience: usize,
    /// Key of every random draw
    #[arg(long, value_name = "KEY", default_value_t = Recipe::default().seed, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,

    /// Chance of a mosaic of four pairs
    #[arg(long, value_name = "CHANCE", default_value_t = Recipe::default().mosaic, help_heading = "Augmentation")]
    mosaic: f64,
    /// Last epochs without mosaic
    #[arg(long, value_name = "EPOCHS", default_value_t = Recipe::default().close_mosaic, help_heading = "Augmentation")]
    close_mosaic: usize,
    /// Largest shift, as a fraction of the picture
    #[arg(long, value_name = "FRACTION", default_value_t = Recipe::default().translate, help_heading = "Augmentation")]
    translate: f64,
    /// Scale by a factor from 1 - SCALE to 1 + SCALE
    #[arg(long, value_name = "SCALE", default_value_t = Recipe::default().scale, help_heading = "Augmentation")]
    scale: f64,
    /// Chance of a left-right flip
    #[arg(long, value_name = "CHANCE", default_value_t = Recipe::default().fliplr, help_heading = "Augmentation")]
    fliplr: f64,
    /// Gain of the RGB picture's hue
    #[arg(long, value_name = "GAIN", default_value_t = Recipe::default().hsv_h, help_heading = "Augmentation")]
    hsv_h: f64,
    /// Gain of the RGB picture's saturation
    #[arg(long, value_name = "GAIN", default_value_t = Recipe::default().hsv_s, help_heading = "Augmentation")]
    hsv_s: f64,
    /// Gain of the RGB picture's value
    #[arg(long, value_name = "GAIN", default_value_t = Recipe::default().hsv_v, help_heading = "Augmentation")]
    hsv_v: f64,
    /// Gain of the infrared picture's brightness
    #[arg(long, value_name = "GAIN", default_value_t = Recipe::default().ir_brightness, help_heading = "Augmentation")]
    ir_brightness: f64,
    /// Gain of the infrared picture's contrast
    #[arg(long, value_name = "GAIN", default_value_t = Recipe::default().ir_contrast, help_heading = "Augmentation")]
    ir_contrast: f64,

    /// Chance that one camera of a training pair is blanked, as if it were dead: P for either half as often, or RGB,IR
    #[arg(long, value_name = "P|RGB,IR", default_value_t = Dropout::of(&Recipe::default()), help_heading = "Augmentation")]
    modality_dropout: Dropout,
    /// Largest shift of infrared against RGB, as a fraction of the picture, for cameras that are not aligned to the pixel
    #[arg(long, value_name = "FRACTION", default_value_t = Recipe::default().ir_shift, help_heading = "Augmentation")]
    ir_shift: f64,

    /// Weight of the box loss
    #[arg(long, value_name = "GAIN", default_value_t = Recipe::default().box_gain, help_heading = "Loss")]
    box_gain: f64,
    /// Weight of the class loss
    #[arg(long, value_name = "GAIN", default_value_t = Recipe::default().cls_gain, help_heading = "Loss")]
    cls_gain: f64,
    /// Weight of the distribution focal loss
    #[arg(long, value_name = "GAIN", default_value_t = Recipe::default().dfl_gain, help_heading = "Loss")]
    dfl_gain: f64,

    /// Weight of the loss of an auxiliary head on each camera's branch, in training alone; 0 does without
    #[arg(long, value_name = "GAIN", default_value_t = Recipe::default().auxiliary_gain, help_heading = "Loss")]
    auxiliary_gain: f64,

    /// Validate after every N epochs and after the last; 0 after the last alone, whose weights are the best then
    #[arg(long, value_name = "N", default_value_t = Recipe::default().val_every)]
    val_every: usize,
    /// Write last.safetensors, to resume from, after every N epochs and after the last; 0 after the last alone
    #[arg(long, value_name = "N", default_value_t = Recipe::default().save_every)]
    save_every: usize,

    /// With --ddp: normalise by the statistics of all ranks' pictures, for few pairs a rank
    #[arg(long, help_heading = "Distributed")]
    sync_bn: bool,
}

impl RecipeArgs {
    /// Whether `yf-train` is to find the batch.
    pub fn auto_batch(&self) -> bool {
        self.batch == Batch::Auto
    }

    /// The recipe, every value within its range.
    pub fn recipe(self) -> Result<Recipe, PlanError> {
        let recipe = Recipe {
            epochs: self.epochs,
            batch: self.batch.number(),
            seed: self.seed,
            amp: self.amp,
            amp_init_scale: self.amp_init_scale,
            tf32: !self.no_tf32,
            optimizer: self.optimizer,
            lr0: self.lr0,
            lrf: self.lrf,
            cos_lr: self.cos_lr,
            momentum: self.momentum,
            weight_decay: self.weight_decay,
            warmup_epochs: self.warmup_epochs,
            patience: self.patience,
            close_mosaic: self.close_mosaic,
            mosaic: self.mosaic,
            translate: self.translate,
            scale: self.scale,
            fliplr: self.fliplr,
            hsv_h: self.hsv_h,
            hsv_s: self.hsv_s,
            hsv_v: self.hsv_v,
            ir_brightness: self.ir_brightness,
            ir_contrast: self.ir_contrast,
            rgb_dropout: self.modality_dropout.rgb,
            ir_dropout: self.modality_dropout.ir,
            ir_shift: self.ir_shift,
            box_gain: self.box_gain,
            cls_gain: self.cls_gain,
            dfl_gain: self.dfl_gain,
            auxiliary_gain: self.auxiliary_gain,
            val_every: self.val_every,
            save_every: self.save_every,
            sync_bn: self.sync_bn,
        };
        recipe.check()?;
        Ok(recipe)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        recipe: RecipeArgs,
    }

    fn read(arguments: &[&str]) -> Recipe {
        let line = std::iter::once("yf").chain(arguments.iter().copied());
        Only::try_parse_from(line).unwrap().recipe.recipe().unwrap()
    }

    #[test]
    fn no_flag_means_the_default_recipe() {
        assert_eq!(read(&[]), Recipe::default());
    }

    #[test]
    fn amp_alone_is_fp16() {
        assert_eq!(read(&["--amp"]).amp, Some(AmpKind::Fp16));
        assert_eq!(read(&["--amp", "bf16"]).amp, Some(AmpKind::Bf16));
        assert_eq!(read(&["--amp", "--epochs", "3"]).epochs, 3);
    }

    #[test]
    fn one_chance_is_shared_by_both_cameras() {
        let chances = |text| {
            let recipe = read(&["--modality-dropout", text]);
            (recipe.rgb_dropout, recipe.ir_dropout)
        };
        assert_eq!(chances("0.5"), (0.25, 0.25));
        assert_eq!(chances(".3,.1"), (0.3, 0.1));
        assert!(Only::try_parse_from(["yf", "--modality-dropout", "0.1,0.2,0.3"]).is_err());
        let both = Only::try_parse_from(["yf", "--modality-dropout", "0.9,0.3"]).unwrap();
        assert!(both.recipe.recipe().is_err());
    }
}
