//! What a run leaves behind: `best.safetensors` to export, `last.safetensors` to export or to go on from.
//!
//! Both hold the averaged weights under their own names. `last` holds besides, under `train.`, the weights that
//! are being trained, those of auxiliary heads, the optimizer's state and gradients that wait for a step; its header holds [`Progress`]. There are no random states: every
//! draw is keyed by seed, epoch and picture.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use yf_models::auxiliary;
use yf_models::weights::{Array, Header, Weights};
use yf_plan::TrainPlan;

use crate::Error;
use crate::distributed::World;
use crate::learner::Learner;
use crate::torch::{Parameters, ScalerState, to_array, to_tensor};

const MODEL: &str = "train.model.";
const OPTIMIZER: &str = "train.optimizer.";
const GRADIENT: &str = "train.gradient.";

/// How far a run has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What the run was told.
    pub plan: TrainPlan,
    /// Epochs done.
    pub epoch: usize,
    /// Batches done, over all epochs.
    pub batches: usize,
    /// Batches whose gradients wait for a step.
    pub pending: usize,
    /// Updates of the average.
    pub ema_updates: u64,
    /// The loss scale.
    pub scaler: ScalerState,
    /// Best fitness so far and its epoch (from 1).
    pub best: Option<(f64, usize)>,
    /// Seconds spent.
    pub seconds: f64,
}

/// Writes the averaged weights of the network alone.
///
/// # Errors
/// When the file system refuses.
pub fn write_best(path: &Path, header: &Header, learner: &Learner, epoch: usize) -> Result<(), Error> {
    let header = Header { epoch, ..header.clone() };
    let of_the_network = |(name, _): &(String, Array)| !name.starts_with(auxiliary::PREFIX);
    let tensors = learner.ema.parameters.arrays().filter(of_the_network).collect();
    Ok(Weights { header, tensors }.write(path)?)
}

/// Writes everything that is needed to go on.
///
/// # Errors
/// When the file system refuses.
pub fn write_last(path: &Path, header: &Header, learner: &Learner, progress: &Progress) -> Result<(), Error> {
    let training = serde_json::to_value(progress).map_err(|e| Error::Other(e.to_string()))?;
    let header = Header { epoch: progress.epoch, training: Some(training), ..header.clone() };
    let prefixed =
        |prefix: &'static str| move |(name, array): (String, Array)| (format!("{prefix}{name}"), array);
    let mut tensors: BTreeMap<String, Array> = learner.ema.parameters.arrays().collect();
    tensors.extend(learner.parameters.arrays().map(prefixed(MODEL)));
    tensors.extend(learner.optimizer.state().into_iter().map(prefixed(OPTIMIZER)));
    let gradients = learner.pending_gradients().into_iter().map(|(name, g)| (name, to_array(&g)));
    tensors.extend(gradients.map(prefixed(GRADIENT)));
    Ok(Weights { header, tensors }.write(path)?)
}

/// A run as `last.safetensors` kept it.
pub struct Last {
    /// How far it had come.
    pub progress: Progress,
    weights: Weights,
}

impl Last {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or holds only weights.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let wrong = |why: String| Error::Checkpoint { path: path.into(), why };
        let weights = Weights::read(path)?;
        let training = weights.header.training.clone().ok_or_else(|| {
            wrong("holds weights only, nothing to resume; start from it with --weights".to_owned())
        })?;
        let progress = serde_json::from_value(training)
            .map_err(|e| wrong(format!("its training state is damaged: {e}")))?;
        Ok(Last { progress, weights })
    }

    /// Checks that the run was for these classes; `path` is the file's.
    ///
    /// # Errors
    /// Others, or others in their place.
    pub fn is_of(&self, names: &[String], path: &Path) -> Result<(), Error> {
        let known = &self.weights.header.names;
        if known == names {
            return Ok(());
        }
        let (known, names) = (known.join(", "), names.join(", "));
        let why = format!(
            "the run was for the classes {known}, and data.yaml now has {names}: begin a new run with --weights"
        );
        Err(Error::Checkpoint { path: path.into(), why })
    }

    /// The parts of the file under `train.model.` as weights of their own.
    pub fn trained_weights(&self) -> Weights {
        Weights { header: self.weights.header.clone(), tensors: self.under(MODEL) }
    }

    /// Puts a learner, made from [`Last::trained_weights`], where the run was. Gradients that wait are the sum of all
    /// ranks' and go to rank 0 of however many there are now.
    ///
    /// # Errors
    /// When something is missing or of another shape.
    pub fn restore(
        &self,
        learner: &mut Learner,
        graph: &yf_models::Graph,
        world: &World,
    ) -> Result<(), Error> {
        let device = learner.device();
        let average = Parameters::from_weights(graph, &self.weights, device).map_err(Error::Other)?;
        learner.ema.parameters.assign(&average);
        learner.ema.set_updates(self.progress.ema_updates);
        learner.optimizer.restore(&self.under(OPTIMIZER)).map_err(Error::Other)?;
        learner.resume_scale(self.progress.scaler);
        let gradients = if world.is_main() { self.under(GRADIENT) } else { BTreeMap::new() };
        learner.restore_gradients(|name| gradients.get(name).map(to_tensor), self.progress.pending)?;
        Ok(())
    }

    fn under(&self, prefix: &str) -> BTreeMap<String, Array> {
        let inside =
            |(name, array): (&String, &Array)| Some((name.strip_prefix(prefix)?.to_owned(), array.clone()));
        self.weights.tensors.iter().filter_map(inside).collect()
    }
}
