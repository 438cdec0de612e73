//! A plan becomes what a run works with: device, network, pairs.

use std::path::Path;

use tracing::{info, warn};
use yf_data::check::check_pairs;
use yf_data::dataset::{DataSet, PairFiles, Split};
use yf_data::decode::Limits;
use yf_models::{Auxiliary, Camera, Graph, Network, Transplant, Weights};
use yf_plan::{Modality, Recipe, TrainPlan};

use crate::Error;
use crate::augment::Augmentation;
use crate::distributed::World;
use crate::feed::{Feed, Settings, keep};
use crate::learner::{Learner, precision};
use crate::schedule::Schedule;
use crate::torch::{self, Device, Kind, Parameters};
use crate::validator::Validator;

/// A validation's batches are no larger, so that many ranks' training batch fits one of them.
const MAX_VALIDATION_BATCH: usize = 64;

/// Everything a run works with that does not change while it learns.
pub struct Setup {
    /// Where to compute.
    pub device: Device,
    /// Class names.
    pub names: Vec<String>,
    /// The network.
    pub network: Network,
    /// Its training graph.
    pub graph: Graph,
    /// The same with auxiliary heads, where the recipe wants them: what learns.
    pub trained: Auxiliary,
    /// How strongly training pairs are changed.
    pub augmentation: Augmentation,
    /// The training pairs.
    pub feed: Feed,
    /// The validation pairs.
    pub validator: Validator,
}

impl Setup {
    /// Opens everything a training plan names, as one of the ranks of a world.
    ///
    /// # Errors
    /// The first thing that is not there or does not fit.
    pub fn open(plan: &TrainPlan, world: &World) -> Result<Self, Error> {
        let device = world.device();
        torch::set_flags(plan.recipe.tf32)?;
        torch::limit_threads(device);
        let set = DataSet::open(&plan.data)?;
        let network = Network::load(&plan.model, Some(set.classes()))?;
        let graph = network.graph(plan.imgsz, plan.imgsz)?;
        let trained = match plan.recipe.auxiliary_gain > 0.0 {
            true => Auxiliary::append(graph.clone()).map_err(|e| Error::Other(e.to_string()))?,
            false => Auxiliary::none(graph.clone()),
        };
        let workers = workers(plan.workers, world.local_size());
        let train = usable(set.pairs(Split::Train)?, set.classes(), plan)?;
        let val = usable(set.pairs(Split::Val)?, set.classes(), plan)?;
        check_ranks(plan.recipe.batch, train.len(), world.size())?;
        let settings = Settings {
            size: plan.imgsz,
            batch: plan.recipe.batch,
            shard: world.shard(),
            workers,
            seed: plan.recipe.seed,
            device,
            kind: pictures(plan, device),
        };
        let mut promised = 0;
        let (loader, resident) = keep(train, plan, world, &mut promised)?;
        let feed = Feed::new(loader, resident, set.classes(), settings)?;
        check_labels(&feed)?;
        let (loader, resident) = keep(val, plan, world, &mut promised)?;
        // As large whatever the number of ranks, which then compute the very same.
        let batch = plan.recipe.batch.min(MAX_VALIDATION_BATCH);
        let settings = Settings { kind: Kind::Float, batch, ..settings };
        let validator = Validator::new(&graph, loader, resident, settings)?.shared_by(world);
        if world.is_main() && !validator.has_objects() {
            warn!("no validation pair has a labelled object, so that mAP is 0 whatever the network finds");
        }
        Ok(Setup {
            device,
            names: set.names().to_vec(),
            network,
            graph,
            trained,
            augmentation: Augmentation::from(&plan.recipe),
            feed,
            validator,
        })
    }

    /// Parameters at the start of a run: fresh, or as far as they fit those of a weights file of any network. What
    /// comes over is told in a table.
    ///
    /// # Errors
    /// A weights file that cannot be read, or of which nothing fits.
    pub fn start(&self, plan: &TrainPlan) -> Result<Parameters, Error> {
        torch::seed(plan.recipe.seed);
        let parameters = Parameters::fresh(&self.trained.graph, self.device);
        if let Some(path) = &plan.weights {
            self.take_over(&parameters, &yf_import::weights(path, &yf_import::Limits::default())?, path)?;
        }
        Ok(parameters)
    }

    /// A learner over parameters of [`Setup::trained`].
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn learner(
        &self,
        parameters: Parameters,
        recipe: &Recipe,
        schedule: &Schedule,
    ) -> Result<Learner, Error> {
        let mut learner = Learner::new(&self.trained.graph, parameters, recipe, schedule, self.device)?;
        learner.help(&self.trained.heads, recipe.auxiliary_gain);
        Ok(learner)
    }

    fn take_over(&self, parameters: &Parameters, weights: &Weights, path: &Path) -> Result<(), Error> {
        let wrong = |why: String| Error::Checkpoint { path: path.into(), why };
        let transplant = Transplant::from_weights(weights, &self.network, &self.graph, &self.names)
            .map_err(|e| wrong(e.to_string()))?;
        parameters.start_from(&transplant.tensors(weights).map_err(wrong)?)?;
        info!(
            "{} starts from {} ({}):\n{}",
            self.network.name(),
            weights.header.model,
            path.display(),
            transplant.table()
        );
        Ok(())
    }

    /// The camera that a one-stream network sees; none where it sees both.
    pub fn camera(&self, modality: Modality) -> Option<Camera> {
        let one = if modality == Modality::Ir { Camera::Ir } else { Camera::Rgb };
        (!self.network.two_streams()).then_some(one)
    }

    /// Parameters of a weights file that must be of this network; `graph` is [`Setup::graph`], or that of
    /// [`Setup::trained`].
    ///
    /// # Errors
    /// The first that is missing, of another shape, or not finite.
    pub fn from_weights(&self, graph: &Graph, weights: &Weights, path: &Path) -> Result<Parameters, Error> {
        Parameters::from_weights(graph, weights, self.device).map_err(|why| Error::Checkpoint {
            path: path.into(),
            why: format!(
                "cannot be used for {} with {} classes: {why} (it was written for {} with {})",
                self.network.name(),
                self.names.len(),
                weights.header.model,
                weights.header.names.len()
            ),
        })
    }
}

/// Threads of one rank that decode; 0 means all cores, shared by the ranks of this host.
pub fn workers(wanted: usize, local_ranks: usize) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    if wanted > 0 { wanted } else { (cores() / local_ranks).max(1) }
}

/// Every rank needs a pair of every batch.
fn check_ranks(batch: usize, pairs: usize, ranks: usize) -> Result<(), Error> {
    if batch.min(pairs) >= ranks {
        return Ok(());
    }
    Err(Error::Other(format!(
        "a batch of {batch} and {pairs} training pairs for {ranks} ranks: each rank needs at least one pair a batch \
         (--batch is the total over all ranks)"
    )))
}

/// Without a labelled object there is nothing to learn.
fn check_labels(feed: &Feed) -> Result<(), Error> {
    if feed.labels().iter().any(|boxes| !boxes.is_empty()) {
        return Ok(());
    }
    let first = feed.pairs().first().map(|pair| pair.labels.display().to_string()).unwrap_or_default();
    Err(Error::Other(format!(
        "none of {} training pairs has a labelled object: labels are looked for in files such as {first}",
        feed.pairs().len()
    )))
}

/// The pairs that can be read; with `skip_bad` the others are listed and left out.
fn usable(pairs: Vec<PairFiles>, classes: usize, plan: &TrainPlan) -> Result<Vec<PairFiles>, Error> {
    if !plan.skip_bad {
        return Ok(pairs);
    }
    let total = pairs.len();
    let (good, bad) = check_pairs(&pairs, classes, &Limits::default(), &|_, _| ());
    for problem in &bad {
        warn!("skipped: {problem}");
    }
    if good.is_empty() {
        return Err(Error::Other(format!("none of {total} pairs can be read; `yf data check` lists why")));
    }
    Ok(good)
}

/// Type of the training pictures: what autocast would make of them first of all.
fn pictures(plan: &TrainPlan, device: Device) -> Kind {
    if device.is_cuda() { precision(plan.recipe.amp, device).unwrap_or(Kind::Float) } else { Kind::Float }
}
