//! Which network a checkpoint is: the configuration and scale whose tensors have its names and shapes.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use yf_models::config::{BUILT_IN, Config, LayerConfig};
use yf_models::graph::Role;
use yf_models::weights::Array;
use yf_models::{Header, Network, Weights};

use crate::found::{Found, difference};
use crate::{Checkpoint, Fault, ImportError, coco};

/// A size that every network takes; parameters do not depend on it.
const SIDE: usize = 640;

/// A checkpoint that is a network of yf.
#[derive(Debug, Clone, PartialEq)]
pub struct Identified {
    /// Ready to be written.
    pub weights: Weights,
    /// Where the class names are from.
    pub names: NameSource,
}

/// Where class names are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameSource {
    /// The file.
    File,
    /// The file has none and 80 classes: COCO's.
    Coco,
    /// The file has none: `class0`, `class1`, ...
    Numbered,
}

impl fmt::Display for NameSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NameSource::File => "class names: the file's own",
            NameSource::Coco => "the file has no class names for its 80 classes: taken to be COCO's",
            NameSource::Numbered => "the file has no names for its classes: called class0, class1, ...",
        })
    }
}

/// Finds the network among those that ship with yf and makes weights of it. Counters are ignored, and the frozen bins
/// of the head may be missing.
///
/// # Errors
/// When no network has these tensors (the error says what was found), or when one has them and the checkpoint's own
/// configuration wires them otherwise.
pub fn identify(checkpoint: Checkpoint) -> Result<Identified, ImportError> {
    let classes = checkpoint.classes();
    let (exact, nearest): (Vec<_>, Vec<_>) = known(classes.unwrap_or(80))
        .filter_map(|network| Comparison::of(network, &checkpoint.tensors))
        .partition(|comparison| comparison.difference.is_none());
    let Some(first) = exact.first() else {
        let nearest = nearest.into_iter().max_by_key(|c| (c.agreeing * 1_000_000).checked_div(c.of));
        let found = Found::new(&checkpoint, classes, nearest);
        return Err(Fault::Unknown(Box::new(found)).at(&checkpoint.path));
    };
    let wired = |comparison: &&Comparison| {
        let ours = &comparison.network.config().layers;
        checkpoint.config.as_ref().is_none_or(|own| first_difference(&own.layers, ours).is_none())
    };
    match exact.iter().find(wired) {
        Some(comparison) => Ok(weights(checkpoint, &comparison.network)),
        None => Err(other_wiring(&checkpoint, &first.network).at(&checkpoint.path)),
    }
}

/// Makes weights of a network that somebody says it is.
///
/// # Errors
/// When its tensors are not the network's.
pub fn identify_as(checkpoint: Checkpoint, network: Network) -> Result<Identified, ImportError> {
    let model = network.name().to_owned();
    let misfit = |why: String| Fault::Misfit { model: model.clone(), why }.at(&checkpoint.path);
    network.graph(SIDE, SIDE).map_err(|error| misfit(error.to_string()))?;
    match Comparison::of(network, &checkpoint.tensors) {
        Some(Comparison { network, difference: None, .. }) => Ok(weights(checkpoint, &network)),
        Some(Comparison { difference: Some(why), .. }) => Err(misfit(why)),
        None => Err(misfit("it cannot be built".to_owned())),
    }
}

/// Every network that ships with yf, at every scale.
fn known(classes: usize) -> impl Iterator<Item = Network> {
    BUILT_IN.iter().filter_map(|(name, _)| Config::built_in(name)).flat_map(move |config| {
        let scales: Vec<String> = config.scales.iter().map(|scale| scale.name.clone()).collect();
        scales.into_iter().filter_map(move |scale| Network::new(config.clone(), &scale, classes).ok())
    })
}

/// Index of the first layer that two configurations do not share; where a layer reads from may be said in two ways.
fn first_difference(own: &[LayerConfig], ours: &[LayerConfig]) -> Option<usize> {
    let sources = |index: usize, layer: &LayerConfig| -> Vec<i64> {
        layer
            .from
            .iter()
            .map(|&from| if from < 0 { from.saturating_add(index as i64) } else { from })
            .collect()
    };
    let same = |index: usize| match (own.get(index), ours.get(index)) {
        (Some(own), Some(ours)) => {
            (own.repeats, &own.block, &own.args) == (ours.repeats, &ours.block, &ours.args)
                && sources(index, own) == sources(index, ours)
        }
        _ => false,
    };
    (0..own.len().max(ours.len())).find(|&index| !same(index))
}

/// The error that names the layer in which the checkpoint's own configuration differs.
fn other_wiring(checkpoint: &Checkpoint, network: &Network) -> Fault {
    let own = checkpoint.config.as_ref().map_or(&[][..], |config| &config.layers);
    let ours = &network.config().layers;
    let layer = first_difference(own, ours).unwrap_or(0);
    let told = |layers: &[LayerConfig]| match layers.get(layer) {
        Some(LayerConfig { from, repeats, block, args }) => {
            format!("{block} from {from:?}, {repeats} times, with {args:?}")
        }
        None => "missing".to_owned(),
    };
    Fault::Wiring { model: network.name().to_owned(), layer, here: told(own), there: told(ours) }
}

/// A network beside a checkpoint's tensors.
pub(crate) struct Comparison {
    pub network: Network,
    /// Tensors of the same name and shape.
    pub agreeing: usize,
    /// Tensors of either.
    pub of: usize,
    /// The first that differs, in the order of the layers.
    pub difference: Option<String>,
}

impl Comparison {
    fn of(network: Network, tensors: &BTreeMap<String, Array>) -> Option<Self> {
        let graph = network.graph(SIDE, SIDE).ok()?;
        let (mut agreeing, mut missing, mut first) = (0, 0, None);
        for param in &graph.params {
            let here = tensors.get(&param.name).map(|array| array.shape.as_slice());
            if here == Some(&param.shape) {
                agreeing += 1;
            } else if here.is_some() || param.role != Role::Frozen {
                missing += usize::from(here.is_none());
                first = first.or_else(|| Some(difference(&param.name, here, Some(&param.shape))));
            }
        }
        let names: HashSet<&str> = graph.params.iter().map(|param| param.name.as_str()).collect();
        let extra = tensors.iter().find(|(name, _)| !names.contains(name.as_str()));
        let first = first.or_else(|| extra.map(|(name, array)| difference(name, Some(&array.shape), None)));
        Some(Comparison { network, agreeing, of: tensors.len() + missing, difference: first })
    }
}

fn weights(checkpoint: Checkpoint, network: &Network) -> Identified {
    let classes = network.classes();
    let (names, source) = match checkpoint.names.filter(|names| names.len() == classes) {
        Some(names) => (names, NameSource::File),
        None if classes == coco::NAMES.len() => (coco::NAMES.map(str::to_owned).to_vec(), NameSource::Coco),
        None => ((0..classes).map(|i| format!("class{i}")).collect(), NameSource::Numbered),
    };
    let imgsz = checkpoint.imgsz.filter(|&side| network.graph(side, side).is_ok()).unwrap_or(SIDE);
    let epoch = checkpoint.epochs.unwrap_or(0);
    let header = Header { epoch, ..Header::new(network, names, imgsz) };
    Identified { weights: Weights { header, tensors: checkpoint.tensors }, names: source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_networks_have_the_same_tensors() {
        let mut seen: BTreeMap<Vec<(String, Vec<usize>)>, String> = BTreeMap::new();
        for network in known(3) {
            let params = network.graph(SIDE, SIDE).unwrap().params;
            let mut tensors: Vec<_> = params.into_iter().map(|param| (param.name, param.shape)).collect();
            tensors.sort();
            let classes = tensors.iter().find(|(name, _)| name.ends_with(".cv3.0.2.weight"));
            assert_eq!(classes.unwrap().1[0], 3, "{}", network.name());
            let other = seen.insert(tensors, network.name().to_owned());
            assert_eq!(other, None, "{}", network.name());
        }
        assert_eq!(seen.len(), 5 * BUILT_IN.len());
    }
}
