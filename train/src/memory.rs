//! Batches that fit: the largest one a GPU holds, and a smaller one where memory runs out after all.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::{info, warn};
use yf_plan::{Cache, TrainPlan};

use crate::Error;
use crate::distributed::World;
use crate::schedule::Schedule;
use crate::setup::Setup;
use crate::torch::{self, Device};

/// Part of a GPU's memory that a batch may take.
const USABLE: f64 = 0.9;
/// Two batches whose memory tells what a pair takes.
const PROBES: [usize; 2] = [4, 16];
/// Steps of a probe: after them a batch is recorded, which takes memory of its own.
const STEPS: usize = 4;
/// More pairs a batch than this help no training.
const MOST: usize = 1024;
/// Batches that are found are a multiple of this.
const STEP: usize = 8;

/// The plan with the largest batch that fits into nine tenths of the memory of its GPU, or of every rank's. Memory grows by the pair, so two
/// small batches tell; a step with the found one proves it.
///
/// # Errors
/// What stops a step other than memory, and a network of which not even a few pairs fit.
pub fn with_largest_batch(plan: TrainPlan, world: &World) -> Result<TrainPlan, Error> {
    let plan = TrainPlan { auto_batch: false, ..plan };
    let Device::Cuda(index) = world.device() else {
        warn!("--batch auto looks at a GPU's memory; on a CPU a batch is {}", plan.recipe.batch);
        return Ok(plan);
    };
    let own = largest_batch(&plan, index, world.size())?;
    let all = world.gather((own as u64).to_le_bytes().to_vec())?;
    let of_rank = |bytes: &Vec<u8>| bytes[..].try_into().map(u64::from_le_bytes).unwrap_or(1);
    let least = all.iter().map(of_rank).min().unwrap_or(1) as usize;
    Ok(with_batch(&plan, least * world.size()))
}

/// The largest batch of one rank.
fn largest_batch(plan: &TrainPlan, index: usize, ranks: usize) -> Result<usize, Error> {
    let alone = World::alone(Device::Cuda(index));
    let uncached = TrainPlan { cache: Cache::None, ..with_batch(plan, 1) };
    let pairs = Setup::open(&uncached, &alone)?.feed.labels().len() / ranks;
    torch::empty_cache()?;
    let (free, total) = torch::memory(index)?;
    let others = total - free;
    let [small, large] = PROBES.map(|batch| peak(plan, batch, index));
    let (small, large) = (small? as f64, large? as f64);
    let each = (large - small) / (PROBES[1] - PROBES[0]) as f64;
    let room = USABLE * total as f64 - others as f64 - (small - each * PROBES[0] as f64);
    let mut batch = round(((room / each.max(1.0)) as usize).clamp(PROBES[0], MOST)).min(pairs.max(1));
    loop {
        match peak(plan, batch, index) {
            Ok(bytes) => {
                let part = (bytes + others) as f64 / total as f64;
                info!(
                    "--batch auto: {batch} pairs take {:.1} GB, {:.0} % of the GPU's memory in use",
                    bytes as f64 / 1e9,
                    part * 100.0
                );
                return Ok(batch);
            }
            Err(e) if is_out_of_memory(&e) && batch > 1 => batch = round(batch * 9 / 10).min(batch - 1),
            Err(e) => return Err(e),
        }
    }
}

fn round(batch: usize) -> usize {
    if batch > STEP { batch / STEP * STEP } else { batch.max(1) }
}

fn with_batch(plan: &TrainPlan, batch: usize) -> TrainPlan {
    let mut plan = plan.clone();
    plan.recipe.batch = batch;
    plan
}

/// Bytes that steps with a batch of this size take at most.
fn peak(plan: &TrainPlan, batch: usize, index: usize) -> Result<u64, Error> {
    // Pairs that will lie on the device take their part; other caches would only be filled.
    let cache = if plan.cache == Cache::Device { Cache::Device } else { Cache::None };
    let plan = TrainPlan { cache, weights: None, ..with_batch(plan, batch) };
    torch::empty_cache()?;
    torch::reset_peak_memory(index)?;
    let result = contained(|| steps(&plan, &World::alone(Device::Cuda(index))));
    let bytes = torch::peak_memory(Device::Cuda(index));
    torch::empty_cache()?;
    result.map(|()| bytes)
}

/// A few steps on the first batch.
fn steps(plan: &TrainPlan, world: &World) -> Result<(), Error> {
    let setup = Setup::open(plan, world)?;
    let parameters = setup.start(plan)?;
    parameters.channels_last()?;
    let schedule = Schedule::new(&plan.recipe, setup.feed.batches());
    let mut learner = setup.learner(parameters, &plan.recipe, &schedule)?;
    let decoded = setup.feed.epoch(0, setup.augmentation.clone()).next();
    let decoded = decoded.ok_or_else(|| Error::Other("there are no training pairs".to_owned()))??;
    let batch = setup.feed.batch(decoded, plan.modality)?;
    for _ in 0..STEPS {
        let rates = schedule.at(0, 0);
        learner.accumulate(&batch.inputs(&setup.graph, plan.modality)?, &batch.targets, &rates)?;
        learner.step(&rates)?;
    }
    Ok(torch::synchronize(setup.device)?)
}

/// Runs `work`; a panic of libtorch's is an error here.
///
/// # Errors
/// Those of `work`, and its panics.
pub fn contained<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Error::of_panic(&*panic)))
}

/// Whether a GPU's memory ran out.
pub fn is_out_of_memory(error: &Error) -> bool {
    error.to_string().contains("out of memory")
}

/// The plan with half the batch, and a line that says so. One of several ranks cannot begin again by itself: it ends, and
/// the launcher begins again with all of them, who then find half the batch by [`as_often_halved`].
///
/// # Errors
/// `why`, where there is nothing to halve; [`Error::BatchTooLarge`] on one of several ranks.
pub fn with_half_the_batch(plan: &TrainPlan, why: Error, world: &World) -> Result<TrainPlan, Error> {
    let batch = plan.recipe.batch;
    let said = why.to_string();
    let first = said.split(". ").next().unwrap_or(&said).to_owned();
    if world.size() > 1 {
        return Err(Error::BatchTooLarge { batch, why: first });
    }
    if batch == 1 {
        return Err(why);
    }
    // Without a GPU there is nothing to give back, which is no error.
    let _ = torch::empty_cache();
    warn!("a batch of {batch} does not fit ({first}): the run starts again with {}", batch / 2);
    Ok(with_batch(plan, batch / 2))
}

/// The plan with its batch halved as often as the launcher has had to begin again.
///
/// # Errors
/// When the ranks would no longer have a pair each.
pub fn as_often_halved(plan: TrainPlan, world: &World) -> Result<TrainPlan, Error> {
    let batch = plan.recipe.batch.checked_shr(world.halvings() as u32).unwrap_or(0);
    if batch == plan.recipe.batch {
        return Ok(plan);
    }
    if batch < world.size() {
        return Err(Error::Other(format!(
            "not even a batch of {} fits: take a smaller network, or a smaller --imgsz",
            batch.max(1) * 2
        )));
    }
    if world.is_main() {
        warn!("the run starts again with a batch of {batch}");
    }
    Ok(with_batch(&plan, batch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_libtorch_is_an_error_and_memory_is_told_from_the_rest() {
        let told = "called `Result::unwrap()` on an `Err` value: Torch(\"CUDA out of memory. Tried to allocate 2 GiB.";
        let error = contained::<()>(|| panic!("{told}")).unwrap_err();
        assert!(is_out_of_memory(&error));
        assert_eq!(error.to_string(), "CUDA out of memory. Tried to allocate 2 GiB.");
        let other = contained::<()>(|| Err(Error::Other("the disk is full".into()))).unwrap_err();
        assert!(!is_out_of_memory(&other));
        assert_eq!([1, 7, 8, 9, 31, 100].map(round), [1, 7, 8, 8, 24, 96]);
    }
}
