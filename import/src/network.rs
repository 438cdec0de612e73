//! What a pickled network or state dictionary holds: tensors by name, and the blocks they belong to.

use std::collections::BTreeMap;

use crate::limits::Budget;
use crate::pickle::{Handle, Pickle, Record, Value};
use crate::{Fault, Limits};

/// Longer names of tensors are no names.
const MAX_NAME: usize = 1024;

/// Tensors of a network by dotted name, not yet read.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// The tensors.
    pub tensors: BTreeMap<String, Handle>,
    /// How many modules there are of each class that is not torch's own.
    pub blocks: BTreeMap<String, usize>,
    /// The outermost module, where the file holds one.
    pub module: Option<Handle>,
}

/// Finds the network: under `ema`, else under `model`, a state dictionary, or the file's one object.
///
/// # Errors
/// When there is none.
pub(crate) fn find(pickle: &Pickle, limits: &Limits) -> Result<Parts, Fault> {
    let root = pickle.root();
    let inner = ["ema", "model", "state_dict", "model_state_dict"];
    let candidates = inner.iter().filter_map(|key| pickle.entry(root, key)).chain([root]);
    for candidate in candidates {
        let mut walk = Walk {
            pickle,
            parts: Parts::default(),
            budget: Budget::new(limits.max_values as u64, "parts of the network"),
            max_depth: limits.max_depth,
        };
        if is_module(pickle, candidate) {
            walk.module(candidate, "", 0)?;
            walk.parts.module = Some(candidate);
        } else if let Some(entries) = pickle.entries(candidate) {
            walk.table(entries, "")?;
        }
        if !walk.parts.tensors.is_empty() {
            return Ok(Parts { tensors: renamed(walk.parts.tensors), ..walk.parts });
        }
    }
    let kind = match pickle.class(root) {
        Some(class) => format!("an object of the class {class}"),
        None => pickle.value(root).kind().to_owned(),
    };
    Err(Fault::Form(format!(
        "no network is in it: it holds {kind}, and a network under 'model' or 'ema', or a state_dict, is wanted"
    )))
}

fn is_module(pickle: &Pickle, handle: Handle) -> bool {
    matches!(pickle.value(handle), Value::Record(_)) && pickle.attribute(handle, "_modules").is_some()
}

/// A walk over a module tree. A file may refer to one module many times, so every look is accounted for.
struct Walk<'a> {
    pickle: &'a Pickle,
    parts: Parts,
    budget: Budget,
    max_depth: usize,
}

impl Walk<'_> {
    fn module(&mut self, module: Handle, path: &str, depth: usize) -> Result<(), Fault> {
        if depth > self.max_depth {
            return Err(Fault::TooLarge {
                what: "modules within each other".to_owned(),
                limit: self.max_depth as u64,
            });
        }
        let pickle = self.pickle;
        let Value::Record(record) = pickle.value(module) else { return Ok(()) };
        self.budget.spend(1 + self.attributes(record))?;
        if let Some(class) = pickle.class(module).filter(|class| !class.module.starts_with("torch.")) {
            let name = class.name.rsplit('.').next().unwrap_or_default();
            *self.parts.blocks.entry(name.to_owned()).or_default() += 1;
        }
        for table in ["_parameters", "_buffers"] {
            let table = pickle.attribute(module, table).and_then(|table| pickle.entries(table));
            self.table(table.unwrap_or_default(), path)?;
        }
        let children = pickle.attribute(module, "_modules").and_then(|table| pickle.entries(table));
        for &(name, child) in children.unwrap_or_default() {
            let Some(name) = pickle.text(name) else { continue };
            self.module(child, &joined(path, name)?, depth + 1)?;
        }
        Ok(())
    }

    /// The tensors of one dictionary.
    fn table(&mut self, entries: &[(Handle, Handle)], path: &str) -> Result<(), Fault> {
        self.budget.spend(entries.len() as u64)?;
        for &(name, value) in entries {
            if let (Some(name), Value::Tensor(_)) = (self.pickle.text(name), self.pickle.value(value)) {
                self.parts.tensors.insert(joined(path, name)?, value);
            }
        }
        Ok(())
    }

    /// How many attributes have to be looked through.
    fn attributes(&self, record: &Record) -> u64 {
        let of = |state: Handle| self.pickle.entries(state).map_or(1, |entries| entries.len() as u64);
        let mut count = 0u64;
        for &state in &record.states {
            count = count.saturating_add(match self.pickle.value(state) {
                Value::Tuple(states) => states.iter().map(|&state| of(state)).fold(0, u64::saturating_add),
                _ => of(state),
            });
        }
        count
    }
}

fn joined(path: &str, name: &str) -> Result<String, Fault> {
    let length = path.len() + 1 + name.len();
    if length > MAX_NAME {
        return Err(Fault::TooLarge {
            what: "bytes in the name of a tensor".to_owned(),
            limit: MAX_NAME as u64,
        });
    }
    Ok(if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") })
}

/// Names as a network's own: without what wraps it (`module.`, a second `model.`), and starting with `model.` where
/// only its layers were saved.
pub(crate) fn renamed<T>(mut tensors: BTreeMap<String, T>) -> BTreeMap<String, T> {
    for wrapper in ["module.", "_orig_mod.", "model.model."] {
        let kept = if wrapper == "model.model." { "model.".len() } else { wrapper.len() };
        while !tensors.is_empty() && tensors.keys().all(|name| name.starts_with(wrapper)) {
            tensors = tensors.into_iter().map(|(name, tensor)| (name[kept..].to_owned(), tensor)).collect();
        }
    }
    if tensors.keys().all(|name| name.starts_with(|first: char| first.is_ascii_digit())) {
        tensors = tensors.into_iter().map(|(name, tensor)| (format!("model.{name}"), tensor)).collect();
    }
    tensors
}
