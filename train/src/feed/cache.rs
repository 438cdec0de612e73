//! Where decoded pairs stay between epochs: as the plan asks, or the next best place that they fit into.
//!
//! Ranks of one machine keep pairs in memory together, so that each is decoded and kept once and not once a rank.

use std::path::{Path, PathBuf};

use tracing::{info, warn};
use yf_data::DataError;
use yf_data::dataset::PairFiles;
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

/// A loader of these pairs, and what the device holds of them. All ranks call it together. `promised` counts the bytes of
/// memory that caches are going to fill.
///
/// # Errors
/// Headers that cannot be read, a cache's folder that cannot be made, a rank that is gone.
pub fn keep(
    pairs: Vec<PairFiles>,
    plan: &TrainPlan,
    world: &World,
    promised: &mut u64,
) -> Result<(Loader, Option<Resident>), Error> {
    let loader = |cache: Cache| Loader::new(pairs.clone(), plan.imgsz, cache, Limits::default());
    let part = match plan.cache {
        yf_plan::Cache::None | yf_plan::Cache::Disk => None,
        yf_plan::Cache::Auto | yf_plan::Cache::Device => Some(UNASKED),
        yf_plan::Cache::Ram => Some(ASKED),
    };
    let shared = share(&loader(Cache::None)?, part, world, promised)?;
    let is_shared = shared.is_some();
    let in_memory = match shared {
        Some(pairs) => loader(Cache::None)?.shared(pairs),
        None => loader(Cache::Ram)?,
    };
    match plan.cache {
        yf_plan::Cache::None => return Ok((loader(Cache::None)?, None)),
        yf_plan::Cache::Disk => return Ok((loader(Cache::Disk(folder()?))?, None)),
        yf_plan::Cache::Device => {
            // What waits to be sent to a device may go again, so that memory for all pairs is not asked for, unless it is
            // shared.
            if let Some(resident) = Resident::open(&in_memory, world.device())? {
                return Ok((in_memory, Some(resident)));
            }
        }
        yf_plan::Cache::Auto | yf_plan::Cache::Ram => (),
    }
    let part = if plan.cache == yf_plan::Cache::Auto { UNASKED } else { ASKED };
    let room = room(part / world.local_size() as f64, *promised);
    let stay = is_shared || fits(&in_memory, room, promised)?;
    Ok((if stay { in_memory } else { loader(Cache::None)? }, None))
}

/// Whether every pair of `loader` may stay in `room` bytes of memory that this process has for itself; says so.
fn fits(loader: &Loader, room: u64, promised: &mut u64) -> Result<bool, Error> {
    match loader.ensure_memory(room) {
        Ok(bytes) => {
            info!("{} pairs will take {:.2} GB of memory", loader.len(), bytes as f64 / 1e9);
            *promised += bytes;
            Ok(true)
        }
        Err(e @ DataError::Memory { .. }) => {
            warn!("no cache: {e}");
            Ok(false)
        }
        Err(e) => Err(e.into()),
    }
}

/// Bytes that a cache may take: this part (0..1) of what is free and not promised.
fn room(part: f64, promised: u64) -> u64 {
    available_memory().map_or(u64::MAX, |free| (free.saturating_sub(promised) as f64 * part) as u64)
}

/// Memory for the pairs of `loader` that all ranks of this machine share, if it fits into `part` of what is free: the first
/// of those that want any makes it. `None` where there is no other, or where each must keep its own.
fn share(
    loader: &Loader,
    part: Option<f64>,
    world: &World,
    promised: &mut u64,
) -> Result<Option<SharedPairs>, Error> {
    let wish = if part.is_some() { machine() } else { String::new() };
    let wishes = world.gather(wish.clone().into_bytes())?;
    let together: Vec<usize> = (0..wishes.len()).filter(|&rank| wishes[rank] == wish.as_bytes()).collect();
    let part = part.filter(|_| together.len() > 1 && !wish.is_empty());
    let own = world.shard().rank;
    let made = match part {
        Some(part) if together[0] == own => make(loader, room(part, *promised))?,
        _ => None,
    };
    let path = made.as_ref().map_or_else(String::new, |pairs| pairs.path().display().to_string());
    let paths = world.gather(path.into_bytes())?;
    let shared = match part {
        Some(_) if together[0] != own => open(loader, &String::from_utf8_lossy(&paths[together[0]]))?,
        _ => made,
    };
    *promised += if shared.is_some() { loader.estimate_bytes(LOOK_AT)? } else { 0 };
    Ok(shared)
}

/// Tells machines apart, and what cannot see one another's processes on one. Empty where that cannot be told.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processes = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let boot = read("/proc/sys/kernel/random/boot_id");
    if boot.is_empty() {
        return boot;
    }
    format!("{boot}{}{}", read("/proc/sys/kernel/hostname"), processes.display())
}

/// New memory, if it fits into `room` bytes.
fn make(loader: &Loader, room: u64) -> Result<Option<SharedPairs>, Error> {
    let bytes = loader.estimate_bytes(LOOK_AT)?;
    if bytes > room {
        return Ok(None);
    }
    let pairs = SharedPairs::create(loader.sizes()?).map_err(|why| warn!("{ALONE}: {why}")).ok();
    if pairs.is_some() {
        let gb = bytes as f64 / 1e9;
        info!("{} pairs will take {gb:.2} GB of memory, for all ranks of this machine", loader.len());
    }
    Ok(pairs)
}

/// The memory that another rank has made at `path`, if it has.
fn open(loader: &Loader, path: &str) -> Result<Option<SharedPairs>, Error> {
    if path.is_empty() {
        return Ok(None);
    }
    let opened = SharedPairs::open(Path::new(path), loader.sizes()?);
    Ok(opened.map_err(|why| warn!("{ALONE}: {path}: {why}")).ok())
}

/// Files whose headers tell about how much the pairs are.
const LOOK_AT: usize = 1000;

/// What is said where memory cannot be shared.
const ALONE: &str = "this rank decodes and keeps every pair for itself";

/// `yf/pairs` in the user's folder for caches; says so.
fn folder() -> Result<PathBuf, Error> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = of("XDG_CACHE_HOME").or_else(|| of("HOME").map(|home| home.join(".cache")));
    let Some(caches) = caches else {
        let why = "neither HOME nor XDG_CACHE_HOME is set: --cache disk has no place to write to";
        return Err(Error::Other(why.to_owned()));
    };
    let folder = caches.join("yf/pairs");
    info!("decoded pairs are kept in {}", folder.display());
    Ok(folder)
}
