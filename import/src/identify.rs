//! Which network a checkpoint is: the configuration and scale whose tensors have its names and shapes.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use yf_models::config::{BUILT_IN, Config};
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

/// Finds the network and makes a weights file of yf.
///
/// A configuration of yf's own is taken where it fits; one that the checkpoint carries where none of them does, or
/// where it wires the same tensors otherwise. Counters are ignored, and the frozen bins of the head may be missing.
///
/// # Errors
/// When no network has these tensors; the error says what was found.
pub fn identify(checkpoint: Checkpoint) -> Result<Identified, ImportError> {
    let classes = head_classes(&checkpoint.tensors);
    let (exact, nearest): (Vec<_>, Vec<_>) = known(classes.unwrap_or(80))
        .filter_map(|network| Comparison::of(network, &checkpoint.tensors))
        .partition(|comparison| comparison.difference.is_none());
    let exact = exact.into_iter().next().map(|comparison| comparison.network);
    let own = own(&checkpoint, classes);
    let network = match (exact, own) {
        (Some(exact), Some(own)) if exact.config().layers == own.config().layers => exact,
        (_, Some(own)) => own,
        (Some(exact), None) => exact,
        (None, None) => {
            let nearest = nearest.into_iter().max_by_key(|c| (c.agreeing * 1_000_000).checked_div(c.of));
            let found = Found::new(&checkpoint, classes, nearest);
            return Err(Fault::Unknown(Box::new(found)).at(&checkpoint.path));
        }
    };
    Ok(weights(checkpoint, &network))
}

/// Every network that ships with yf, at every scale.
fn known(classes: usize) -> impl Iterator<Item = Network> {
    BUILT_IN.iter().filter_map(|(name, _)| Config::built_in(name)).flat_map(move |config| {
        let scales: Vec<String> = config.scales.iter().map(|scale| scale.name.clone()).collect();
        scales.into_iter().filter_map(move |scale| Network::new(config.clone(), &scale, classes).ok())
    })
}

/// The network of the checkpoint's own configuration, if yf has its blocks and they come to these tensors.
fn own(checkpoint: &Checkpoint, classes: Option<usize>) -> Option<Network> {
    let own = checkpoint.config.as_ref()?;
    let config = Config::parse(&own.yaml, &own.name).ok()?;
    let network = Network::new(config, &own.scale, classes?).ok()?;
    let comparison = Comparison::of(network, &checkpoint.tensors)?;
    comparison.difference.is_none().then_some(comparison.network)
}

/// Number of classes: outputs of the last convolution in the head's class branch.
fn head_classes(tensors: &BTreeMap<String, Array>) -> Option<usize> {
    let (_, last) = tensors.iter().find(|(name, _)| name.ends_with(".cv3.0.2.weight"))?;
    last.shape.first().copied()
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
