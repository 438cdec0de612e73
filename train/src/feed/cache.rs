//! Where decoded pairs stay between epochs: as the plan asks, or the next best place that they fit into.

use std::path::PathBuf;

use tracing::{info, warn};
use yf_data::DataError;
use yf_data::dataset::PairFiles;
use yf_data::decode::Limits;
use yf_data::loader::{Cache, Loader};
use yf_plan::TrainPlan;

use super::Resident;
use crate::Error;
use crate::distributed::World;

/// Of the memory that is free: what each part of a data set may take where nobody asked for it, and where somebody did.
const UNASKED: f64 = 0.4;
const ASKED: f64 = 0.9;

/// A loader of these pairs, and what the device holds of them.
///
/// # Errors
/// Headers that cannot be read, a cache's folder that cannot be made.
pub fn keep(
    pairs: Vec<PairFiles>,
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
        // Every rank of this machine keeps pairs of its own.
        yf_plan::Cache::Auto => UNASKED / world.local_size() as f64,
        yf_plan::Cache::Ram => ASKED,
        yf_plan::Cache::Device => {
            // In memory they only wait to be sent.
            let loader = cached(Cache::Ram)?;
            if let Some(resident) = Resident::open(&loader, world.device())? {
                return Ok((loader, Some(resident)));
            }
            ASKED
        }
    };
    let loader = cached(Cache::Ram)?;
    match loader.ensure_memory(part) {
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
