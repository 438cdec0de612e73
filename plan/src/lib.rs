//! What a run is told.
//!
//! `yf` turns arguments into one of these plans, checks it, and hands it to `yf-train` as JSON. A training plan
//! is kept as `args.toml` in the run's folder and inside `last.safetensors`, so that a run can be resumed.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

mod device;
pub mod log;
pub mod ranks;
mod recipe;

pub use device::{Device, DeviceError};
pub use recipe::{AmpKind, Optimizer, PlanError, Recipe};

/// Which camera's pictures reach the network; the other one is a picture of 114.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modality {
    /// Both cameras.
    #[default]
    Both,
    /// The RGB camera alone.
    Rgb,
    /// The infrared camera alone.
    Ir,
}

impl fmt::Display for Modality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Modality::Both => "both",
            Modality::Rgb => "rgb",
            Modality::Ir => "ir",
        })
    }
}

/// Where decoded pairs are kept between epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cache {
    /// As `Ram` where less than half of the memory that is free suffices, else as `None`.
    #[default]
    Auto,
    /// Decode at every use.
    None,
    /// Decoded and resized pairs in memory, both modalities.
    Ram,
    /// The same in files of a cache folder, for the next runs too.
    Disk,
    /// The same in the GPU's memory, where they fit; else as `Ram`.
    Device,
}

/// What `yf-train` is started with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub enum Job {
    /// Train a network.
    Train(Box<TrainPlan>),
    /// Validate weights through libtorch.
    Val(ValPlan),
    /// Time the training step and its stages.
    Bench(Box<BenchPlan>),
}

/// A training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainPlan {
    /// The data set's YAML, absolute.
    pub data: PathBuf,
    /// A model name (`mid-n`) or the path of a configuration.
    pub model: String,
    /// Weights to start from: a weights file of yf or a checkpoint of another program, of any network.
    pub weights: Option<PathBuf>,
    /// Side of the square training pictures, a multiple of the largest stride.
    pub imgsz: usize,
    /// Where to compute; `None` takes a GPU where there is one.
    pub device: Option<Device>,
    /// Threads that decode; 0 for all cores.
    pub workers: usize,
    /// Where decoded pairs are kept.
    pub cache: Cache,
    /// Which camera's pictures are seen in training and validation.
    pub modality: Modality,
    /// Leave broken pairs out instead of refusing.
    pub skip_bad: bool,
    /// The run's folder, already created and empty; or the folder of the run to resume.
    pub run: PathBuf,
    /// Find the largest batch that fits the GPU before anything else, and put it into the recipe.
    #[serde(default)]
    pub auto_batch: bool,
    /// Go on with the run in `run` from its `weights/last.safetensors`.
    pub resume: bool,
    /// Every hyperparameter.
    #[serde(flatten)]
    pub recipe: Recipe,
}

impl TrainPlan {
    /// The plan as the text of `args.toml`.
    ///
    /// # Errors
    /// When a path is not UTF-8 or the seed is above 2^63 - 1, which TOML cannot hold.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// The plan that `args.toml` holds.
    ///
    /// # Errors
    /// With the line, when the text is no such plan.
    pub fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

/// A validation through libtorch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValPlan {
    /// The weights file.
    pub weights: PathBuf,
    /// The data set's YAML.
    pub data: PathBuf,
    /// `train`, `val` or `test`.
    pub split: String,
    /// Side of the square pictures; `None` takes the weights' own.
    pub imgsz: Option<usize>,
    /// Pairs a batch.
    pub batch: usize,
    /// Where to compute.
    pub device: Option<Device>,
    /// Threads that decode; 0 for all cores.
    pub workers: usize,
    /// Which camera's pictures are seen.
    pub modality: Modality,
    /// Print one JSON object instead of a table.
    pub json: bool,
}

/// A measurement of the training step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchPlan {
    /// The run that is measured; nothing of it is kept.
    pub train: TrainPlan,
    /// Steps timed after the warm-up.
    pub steps: usize,
    /// Print one JSON object instead of a table.
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> TrainPlan {
        TrainPlan {
            data: "/pairs/data.yaml".into(),
            model: "mid-n".to_owned(),
            weights: None,
            imgsz: 640,
            device: Some(Device::Cuda(vec![0, 1])),
            workers: 0,
            cache: Cache::Ram,
            modality: Modality::Both,
            skip_bad: false,
            run: "/runs/train/exp".into(),
            auto_batch: false,
            resume: false,
            recipe: Recipe { amp: Some(AmpKind::Bf16), seed: i64::MAX as u64, ..Recipe::default() },
        }
    }

    #[test]
    fn a_plan_survives_its_own_toml() {
        for plan in [plan(), TrainPlan { device: None, recipe: Recipe::default(), ..plan() }] {
            assert_eq!(TrainPlan::from_toml(&plan.to_toml().unwrap()).unwrap(), plan);
        }
    }

    #[test]
    fn a_job_survives_its_own_json() {
        let job = Job::Train(Box::new(plan()));
        assert_eq!(serde_json::from_str::<Job>(&serde_json::to_string(&job).unwrap()).unwrap(), job);
    }
}
