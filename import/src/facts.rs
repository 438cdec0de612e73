//! What a checkpoint says about its network beside the tensors: class names, size, epochs, configuration.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use yf_models::Config;

use crate::limits::Budget;
use crate::pickle::{Handle, Pickle, Value};

/// More class names are a mistake.
const MAX_NAMES: usize = 10_000;
/// Longer texts are no names.
const MAX_TEXT: usize = 1024;
/// Lists within lists of a configuration.
const MAX_DEPTH: usize = 8;
/// Entries of a configuration.
const MAX_ENTRIES: u64 = 100_000;
/// Larger pictures are a mistake.
const MAX_IMGSZ: i64 = 16_384;

/// Keys of a configuration that say what the network is.
const CONFIG_KEYS: [&str; 7] = ["nc", "ch", "scales", "depth_multiple", "width_multiple", "backbone", "head"];

/// Class names in the order of their indices: a list, or a dictionary of all indices.
pub(crate) fn names(pickle: &Pickle, owner: Handle) -> Option<Vec<String>> {
    let listed = pickle.attribute(owner, "names")?;
    let name = |handle: Handle| pickle.text(handle).filter(|t| t.len() <= MAX_TEXT).map(str::to_owned);
    if let Some(items) = pickle.items(listed) {
        return (items.len() <= MAX_NAMES).then(|| items.iter().map(|&item| name(item)).collect())?;
    }
    let entries = pickle.entries(listed).filter(|entries| entries.len() <= MAX_NAMES)?;
    let by_index: BTreeMap<i64, String> = entries
        .iter()
        .map(|&(index, text)| Some((pickle.int(index)?, name(text)?)))
        .collect::<Option<_>>()?;
    let contiguous = by_index.keys().copied().eq(0..by_index.len() as i64);
    contiguous.then(|| by_index.into_values().collect())
}

/// Longer side of the training pictures, from the arguments of the training.
pub(crate) fn imgsz(pickle: &Pickle, owners: &[Handle]) -> Option<usize> {
    let of = |owner: Handle, arguments: &str| {
        let size = pickle.attribute(pickle.attribute(owner, arguments)?, "imgsz")?;
        let side = match pickle.items(size) {
            Some(sides) => sides.iter().take(2).filter_map(|&side| pickle.int(side)).max()?,
            None => pickle.int(size)?,
        };
        (1..=MAX_IMGSZ).contains(&side).then_some(side as usize)
    };
    owners.iter().find_map(|&owner| of(owner, "train_args").or_else(|| of(owner, "args")))
}

/// Epochs trained. Finished runs say -1: then the file does not tell.
pub(crate) fn epochs(pickle: &Pickle) -> Option<usize> {
    let last = pickle.int(pickle.attribute(pickle.root(), "epoch")?)?;
    usize::try_from(last).ok().map(|last| last.saturating_add(1))
}

/// The configuration that the network was made from, where it has the form of ours.
pub(crate) fn config(pickle: &Pickle, module: Handle) -> Option<Config> {
    let yaml = pickle.attribute(module, "yaml")?;
    let mut budget = Budget::new(MAX_ENTRIES, "entries of the configuration");
    let mut kept = Map::new();
    for key in CONFIG_KEYS {
        if let Some(value) = pickle.entry(yaml, key) {
            kept.insert(key.to_owned(), json(pickle, value, 0, &mut budget)?);
        }
    }
    // YAML takes JSON as it is.
    Config::parse(&serde_json::to_string(&Json::Object(kept)).ok()?, "the checkpoint's configuration").ok()
}

/// A value as JSON; `None` where it is too deep, too long or not plain.
fn json(pickle: &Pickle, handle: Handle, depth: usize, budget: &mut Budget) -> Option<Json> {
    budget.spend(1).ok()?;
    if depth > MAX_DEPTH {
        return None;
    }
    Some(match pickle.value(handle) {
        Value::None => Json::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(i) => (*i).into(),
        Value::Float(f) => (*f).into(),
        Value::Text(text) if text.len() <= MAX_TEXT => (**text).into(),
        Value::Dict(entries) => {
            let mut map = Map::new();
            for &(key, value) in entries {
                let key = pickle.text(key).filter(|key| key.len() <= MAX_TEXT)?;
                map.insert(key.to_owned(), json(pickle, value, depth + 1, budget)?);
            }
            Json::Object(map)
        }
        _ => {
            let items = pickle.items(handle)?.iter();
            Json::Array(items.map(|&item| json(pickle, item, depth + 1, budget)).collect::<Option<_>>()?)
        }
    })
}
