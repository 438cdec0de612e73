//! Where decoded pairs stay between epochs: as the plan asks, or the next best place that they fit into.
//!
//! Ranks of one machine keep pairs in memory together, so that each is decoded and kept once and not once a rank.

use std::path::{Path, PathBuf};

use tracing::{info, warn};
use yf_data::DataError;
use yf_data::dataset::{PairFiles, Split};
use yf_data::decode::Limits;
use yf_data::loader::{Cache, Loader, SharedPairs};
use yf_data::memory::available_memory;
use yf_plan::TrainPlan;

use super::Resident;
use crate::Error;
use crate::distributed::World;

/// Of the memory that is free: what each part of a data set may take where nobody asked for it, and where somebody did.
const UNASKED: f64 = 0.4;
const ASKED: f64 = 0.9;

/// A loader of these pairs of a split, and what the device holds of them.
///
/// # Errors
/// Headers that cannot be read, a cache's folder that cannot be made, a rank that is gone.
pub fn keep(
    pairs: Vec<PairFiles>,
    split: Split,
    plan: &TrainPlan,
    world: &World,
) -> Result<(Loader, Option<Resident>), Error> {
    let cached = |cache: Cache| Loader::new(pairs.clone(), plan.imgsz, cache, Limits::default());
    let part = match plan.cache {
        yf_plan::Cache::None => return Ok((cached(Cache::None)?, None)),
        yf_plan::Cache::Disk => {
            let folder = folder()?;
            info!("decoded pairs are kept in {}", folder.display());
            return Ok((cached(Cache::Disk(folder))?, None));
        }
        yf_plan::Cache::Auto => UNASKED,
        yf_plan::Cache::Ram | yf_plan::Cache::Device => ASKED,
    };
    let shared = share(&cached(Cache::None)?, split, part, world)?;
    let asked = plan.cache == yf_plan::Cache::Device;
    if asked || (plan.cache == yf_plan::Cache::Auto && world.device().is_cuda()) {
        // In a rank's own memory they only wait to be sent.
        let loader = match &shared {
            Some(pairs) => cached(Cache::None)?.shared(pairs.clone()),
            None => cached(Cache::Ram)?,
        };
        if let Some(resident) = Resident::open(&loader, world.device(), asked)? {
            return Ok((loader, Some(resident)));
        }
    }
    if let Some(pairs) = shared {
        return Ok((cached(Cache::None)?.shared(pairs), None));
    }
    let loader = cached(Cache::Ram)?;
    match loader.ensure_memory(part / world.local_size() as f64) {
        Ok(bytes) => {
            info!("{} pairs will take {:.2} GB of memory", pairs.len(), bytes as f64 / 1e9);
            Ok((loader, None))
        }
        Err(e @ DataError::Memory { .. }) => {
            warn!("no cache: {e}");
            Ok((cached(Cache::None)?, None))
        }
        Err(e) => Err(e.into()),
    }
}

/// Memory for the pairs of `loader` that all ranks of this machine share, if it fits into this part (0..1) of what is
/// free. The first rank makes it. `None` where there are no other ranks, or where each must keep its own.
fn share(loader: &Loader, split: Split, part: f64, world: &World) -> Result<Option<SharedPairs>, Error> {
    if world.local_size() == 1 {
        return Ok(None);
    }
    let mut made = Ok(None);
    let said = world.told_on_host(split.name(), || {
        made = make(loader, part);
        let path = made.as_ref().ok().and_then(Option::as_ref).map(SharedPairs::path);
        path.map_or_else(String::new, |path| path.display().to_string())
    })?;
    match (made?, said) {
        (None, Some(path)) if !path.is_empty() => {
            let opened = SharedPairs::open(Path::new(&path), loader.sizes()?);
            Ok(opened.map_err(|why| warn!("{ALONE}: {path}: {why}")).ok())
        }
        (made, _) => Ok(made),
    }
}

/// The memory, if it fits.
fn make(loader: &Loader, part: f64) -> Result<Option<SharedPairs>, Error> {
    let bytes = loader.estimate_bytes(LOOK_AT)?;
    if available_memory().is_some_and(|free| bytes as f64 > free as f64 * part) {
        return Ok(None);
    }
    let pairs = SharedPairs::create(loader.sizes()?).map_err(|why| warn!("{ALONE}: {why}")).ok();
    if pairs.is_some() {
        let gb = bytes as f64 / 1e9;
        info!("{} pairs will take {gb:.2} GB of memory, for all ranks of this machine", loader.len());
    }
    Ok(pairs)
}

/// Files whose headers tell about how much the pairs are.
const LOOK_AT: usize = 1000;

/// What is said where memory cannot be shared.
const ALONE: &str = "this rank decodes and keeps every pair for itself";

/// `yf/pairs` in the user's folder for caches.
fn folder() -> Result<PathBuf, Error> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = of("XDG_CACHE_HOME").or_else(|| of("HOME").map(|home| home.join(".cache")));
    caches.map(|folder| folder.join("yf/pairs")).ok_or_else(|| {
        Error::Other(
            "neither HOME nor XDG_CACHE_HOME is set: --cache disk has no place to write to".to_owned(),
        )
    })
}
