//! `yf val` on weights, through libtorch.

use yf_data::dataset::{DataSet, Split};
use yf_data::decode::Limits;
use yf_data::loader::{Cache, Loader};
use yf_models::Weights;
use yf_plan::ValPlan;

use crate::Error;
use crate::distributed::Shard;
use crate::feed::Settings;
use crate::output;
use crate::records::progress::ValidationProgress;
use crate::setup::workers;
use crate::torch::{self, Kind, Parameters};
use crate::validator::Validator;
use yf_data::metrics::table;

/// Validates a weights file on a split and prints the metrics.
///
/// # Errors
/// The first thing that is not there or does not fit.
pub fn validate(plan: &ValPlan) -> Result<(), Error> {
    let device = torch::open_device(plan.device.as_ref())?;
    torch::set_flags(true)?;
    let weights = Weights::read(&plan.weights)?;
    let set = DataSet::open(&plan.data)?;
    let network = weights.header.network()?;
    if network.classes() != set.classes() {
        return Err(Error::Checkpoint {
            path: plan.weights.clone(),
            why: format!("has {} classes, {} has {}", network.classes(), plan.data.display(), set.classes()),
        });
    }
    let size = plan.imgsz.unwrap_or(weights.header.imgsz);
    let graph = network.graph(size, size)?;
    let parameters = Parameters::from_weights(&graph, &weights, device)
        .map_err(|why| Error::Checkpoint { path: plan.weights.clone(), why })?;
    parameters.channels_last()?;
    let pairs = set.pairs(split(&plan.split)?)?;
    let loader = Loader::new(pairs, size, Cache::None, Limits::default())?;
    let settings = Settings {
        size,
        batch: plan.batch.max(1),
        shard: Shard::WHOLE,
        workers: workers(plan.workers, 1),
        seed: 0,
        device,
        kind: Kind::Float,
    };
    let validator = Validator::new(&graph, loader, None, settings)?;
    let mut bar = ValidationProgress::new(validator.batches());
    let outcome = validator.run(&parameters, plan.modality, None, &mut || bar.step())?;
    drop(bar);
    if plan.json {
        output::line(&table::json(&outcome.metrics, set.names()));
    } else {
        output::line(&table::classes(&outcome.metrics, set.names()));
    }
    Ok(())
}

fn split(name: &str) -> Result<Split, Error> {
    match name {
        "train" => Ok(Split::Train),
        "val" => Ok(Split::Val),
        "test" => Ok(Split::Test),
        other => Err(Error::Other(format!("no split '{other}': use train, val or test"))),
    }
}
