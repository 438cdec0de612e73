//! A start from other weights: what a network takes over from one that was trained before.
//!
//! Any two networks go: a one-stream network into both branches of a fusion, a fusion into another, a network into
//! itself with other classes. Layers are paired by structure alone: by the pictures they descend from,
//! by the way through the pyramid that leads to them, and by their order among the layers of their block. Within a
//! pair a convolution and its batch norm move together, in one of three ways:
//!
//! - *taken*: every shape is equal;
//! - *adapted*: the convolution reads what its source reads, but repeated (two branches joined, six channels instead
//!   of three): its weights are repeated as well and shared out, so that equal inputs give the source's response. The
//!   infrared stem gets the mean over the RGB kernel, which is the same response to a grey picture. Of the head's
//!   classes those with the same name are adapted;
//! - *left*: as it was initialised. No tensor is cut to size.

mod anatomy;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::graph::{Graph, Param, Role};
use crate::weights::{Array, Weights};
use crate::{Config, ModelError, Network};
use anatomy::{Anatomy, Segment, Unit};

/// Tensors, and the parameters in them (buffers are tensors without parameters; frozen ones are not counted).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Parameters and buffers.
    pub tensors: usize,
    /// Elements of the parameters.
    pub parameters: usize,
}

/// Where a layer's tensors come from.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerOrigin {
    /// Index of the layer.
    pub index: usize,
    /// Its block.
    pub block: String,
    /// Index and block of the source's layer; none where nothing corresponds.
    pub source: Option<(usize, String)>,
    /// What comes over as it is.
    pub taken: Count,
    /// What comes over changed.
    pub adapted: Count,
    /// What stays as initialised.
    pub left: Count,
}

/// The plan of a start: for every tensor of a network where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Transplant {
    /// A line a layer that has parameters.
    pub layers: Vec<LayerOrigin>,
    pieces: BTreeMap<String, Piece>,
}

/// A tensor to start from.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// All of it.
    Whole(Array),
    /// Rows of the first axis, each with its index; the others stay as initialised.
    Rows(Vec<(usize, Vec<f32>)>),
}

/// How a tensor is made of the source's.
#[derive(Debug, Clone, PartialEq)]
struct Piece {
    from: String,
    how: How,
}

#[derive(Debug, Clone, PartialEq)]
enum How {
    Taken,
    /// Input channels of a convolution, part by part.
    Channels(Vec<Part>),
    /// Rows: target's, source's.
    Rows(Vec<(usize, usize)>),
}

/// Input channels in a row, from the source's input channels.
#[derive(Debug, Clone, PartialEq)]
struct Part {
    first: usize,
    width: usize,
    /// Factor on the weights.
    share: f32,
    /// Every channel gets the mean of all: they are to read three equal ones.
    mean: bool,
}

impl Transplant {
    /// Plans the start of `target`, whose classes are `names`, from `source` with classes `source_names`.
    pub fn plan(source: &Graph, source_names: &[String], target: &Graph, names: &[String]) -> Self {
        let (source, target) = (Anatomy::of(source), Anatomy::of(target));
        let mut transplant = Transplant { layers: vec![], pieces: BTreeMap::new() };
        // Layers of which nothing is left: they compute what these layers of the source compute.
        let mut twins: BTreeMap<usize, usize> = BTreeMap::new();
        let pairs = source.partners_of(&target);
        for layer in &target.layers {
            let partner = pairs.get(&layer.index).map(|&at| &source.layers[at]);
            let mut origin = LayerOrigin {
                index: layer.index,
                block: layer.block.to_owned(),
                source: partner.map(|p| (p.index, p.block.to_owned())),
                taken: Count::default(),
                adapted: Count::default(),
                left: Count::default(),
            };
            for unit in &layer.units {
                let made = partner.and_then(|p| p.unit(&unit.key)).and_then(|from| {
                    let twin = |at: usize| twins.get(&at).copied();
                    let reads = || (source.segments(from, &Some), target.segments(unit, &twin));
                    make(from, unit, reads, (source_names, names))
                });
                origin.count(unit, made.as_deref());
                let named = unit.params.iter().map(|p| p.name.clone());
                transplant.pieces.extend(named.zip(made.into_iter().flatten()));
            }
            if let Some(partner) = partner.filter(|_| origin.left == Count::default()) {
                twins.insert(layer.index, partner.index);
            }
            if origin.taken == Count::default() && origin.adapted == Count::default() {
                origin.source = None;
            }
            transplant.layers.push(origin);
        }
        transplant
    }

    /// The start of `network`, with classes `names` and the training graph `graph`, from a weights file.
    ///
    /// # Errors
    /// Weights that are damaged, or of which nothing but parts of the head fits: then the error names networks into
    /// which they would go.
    pub fn from_weights(
        weights: &Weights,
        network: &Network,
        graph: &Graph,
        names: &[String],
    ) -> Result<Self, ModelError> {
        let header = &weights.header;
        let source = header.network()?.graph(header.imgsz, header.imgsz)?;
        weights.check(&source).map_err(|why| ModelError::Transplant {
            source_model: header.model.clone(),
            why: format!("the file is damaged: {why}"),
        })?;
        let transplant = Transplant::plan(&source, &header.names, graph, names);
        if transplant.reaches_beyond_the_head() {
            return Ok(transplant);
        }
        let advice = match best_fits(&source, &header.names, network, names).as_slice() {
            [] => "no network that ships with yf has its widths and blocks".to_owned(),
            fits => format!("it would fit {}", fits.join(", ")),
        };
        let why = format!(
            "nothing but parts of the head fits {}, whose layers have other widths or other blocks; {advice}",
            network.name()
        );
        Err(ModelError::Transplant { source_model: header.model.clone(), why })
    }

    /// The tensors to start from, by the target's names; those that are not among them stay as initialised.
    ///
    /// # Errors
    /// A tensor that is missing or not finite, by name.
    pub fn tensors(&self, weights: &Weights) -> Result<BTreeMap<String, Start>, String> {
        let made = |(name, piece): (&String, &Piece)| {
            let array =
                weights.tensors.get(&piece.from).ok_or_else(|| format!("{} is missing", piece.from))?;
            if !array.data.iter().all(|x| x.is_finite()) {
                return Err(format!("{} holds NaN or infinity: no training can start from it", piece.from));
            }
            Ok((name.clone(), piece.how.apply(array)))
        };
        self.pieces.iter().map(made).collect()
    }

    /// What is taken, adapted and left in all layers together.
    pub fn total(&self) -> [Count; 3] {
        let sum = |part: fn(&LayerOrigin) -> Count| {
            self.layers.iter().map(part).fold(Count::default(), |a, b| Count {
                tensors: a.tensors + b.tensors,
                parameters: a.parameters + b.parameters,
            })
        };
        [sum(|l| l.taken), sum(|l| l.adapted), sum(|l| l.left)]
    }

    /// Part of the parameters that is taken or adapted, 0..1.
    pub fn share(&self) -> f64 {
        let [taken, adapted, left] = self.total().map(|count| count.parameters as f64);
        (taken + adapted) / (taken + adapted + left).max(1.0)
    }

    /// The head ends every network.
    fn reaches_beyond_the_head(&self) -> bool {
        let body = self.layers.split_last().map_or(&[][..], |(_, body)| body);
        body.iter().any(|layer| layer.source.is_some())
    }
}

impl LayerOrigin {
    fn count(&mut self, unit: &Unit<'_>, made: Option<&[Piece]>) {
        for (at, param) in unit.params.iter().enumerate().filter(|(_, p)| p.role != Role::Frozen) {
            let count = match made.map(|pieces| &pieces[at].how) {
                Some(How::Taken) => &mut self.taken,
                Some(_) => &mut self.adapted,
                None => &mut self.left,
            };
            count.tensors += 1;
            if param.role != Role::Buffer {
                count.parameters += numel(param);
            }
        }
    }
}

fn numel(param: &Param) -> usize {
    param.shape.iter().product()
}

/// The pieces of a unit's tensors, or none where it does not fit. `reads` says what the convolution of either reads.
fn make(
    from: &Unit<'_>,
    to: &Unit<'_>,
    reads: impl FnOnce() -> (Option<Vec<Segment>>, Option<Vec<Segment>>),
    (source_names, names): (&[String], &[String]),
) -> Option<Vec<Piece>> {
    if from.params.len() != to.params.len() {
        return None;
    }
    let all = |how: &dyn Fn(usize) -> How| {
        let piece = |(at, p): (usize, &&Param)| Piece { from: p.name.clone(), how: how(at) };
        Some(from.params.iter().enumerate().map(piece).collect())
    };
    let same = |at: usize| from.params[at].shape == to.params[at].shape;
    let others_same = (1..to.params.len()).all(same);
    if to.scores_classes && from.scores_classes {
        let rows = agreeing(source_names, names);
        // Classes in the same places, some of them perhaps under a new name.
        if same(0) && others_same && rows.iter().all(|(to, from)| to == from) {
            return all(&|_| How::Taken);
        }
        let fits = from.params[0].shape[1..] == to.params[0].shape[1..] && !rows.is_empty();
        return if fits { all(&|_| How::Rows(rows.clone())) } else { None };
    }
    if same(0) && others_same && !to.reads_infrared_as(from) {
        return all(&|_| How::Taken);
    }
    let parts = if others_same { spread(from, to, reads()) } else { None }?;
    all(&|at| if at == 0 { How::Channels(parts.clone()) } else { How::Taken })
}

/// Classes of the same name: index in the target, index in the source.
fn agreeing(source: &[String], target: &[String]) -> Vec<(usize, usize)> {
    let same = |a: &String, b: &String| a.trim().eq_ignore_ascii_case(b.trim());
    let of = |(at, name): (usize, &String)| Some((at, source.iter().position(|s| same(s, name))?));
    target.iter().enumerate().filter_map(of).collect()
}

/// The input channels of a convolution from those of its source, where both read the same maps and the target reads
/// some of them more than once.
fn spread(
    from: &Unit<'_>,
    to: &Unit<'_>,
    (source, target): (Option<Vec<Segment>>, Option<Vec<Segment>>),
) -> Option<Vec<Part>> {
    let (source, target) = (source?, target?);
    let kernel = |unit: &Unit<'_>| {
        let shape = &unit.params[0].shape;
        (shape.len() == 4).then(|| (shape[0], shape[2], shape[3]))
    };
    if kernel(from).is_none() || kernel(from) != kernel(to) || from.groups != 1 || to.groups != 1 {
        return None;
    }
    let place = |segment: &Segment| source.iter().position(|s| s.is_source_of(segment, &source));
    let places = target.iter().map(place).collect::<Option<Vec<_>>>()?;
    let times = |at: usize| places.iter().filter(|&&p| p == at).count();
    if (0..source.len()).any(|at| times(at) == 0) {
        return None;
    }
    let part = |(&at, segment): (&usize, &Segment)| Part {
        first: source[..at].iter().map(|s| s.width).sum(),
        width: segment.width,
        share: 1.0 / times(at) as f32,
        mean: segment.is_infrared() && !source[at].is_infrared(),
    };
    Some(places.iter().zip(&target).map(part).collect())
}

impl How {
    fn apply(&self, array: &Array) -> Start {
        match self {
            How::Taken => Start::Whole(array.clone()),
            How::Channels(parts) => Start::Whole(channels(array, parts)),
            How::Rows(rows) => {
                let width = array.data.len() / array.shape[0].max(1);
                let row = |&(to, from): &(usize, usize)| (to, array.data[from * width..][..width].to_vec());
                Start::Rows(rows.iter().map(row).collect())
            }
        }
    }
}

/// A convolution's weight `[out, in, k, k]` with its input channels put together anew.
fn channels(array: &Array, parts: &[Part]) -> Array {
    let plane: usize = array.shape[2..].iter().product();
    let inputs = array.shape[1];
    let mut data = Vec::new();
    for out in array.data.chunks(inputs * plane) {
        for part in parts {
            let part_of = &out[part.first * plane..][..part.width * plane];
            let value = |at: usize| match part.mean {
                true => part_of.iter().skip(at % plane).step_by(plane).sum::<f32>() / part.width as f32,
                false => part_of[at],
            };
            data.extend((0..part_of.len()).map(|at| value(at) * part.share));
        }
    }
    let mut shape = array.shape.clone();
    shape[1] = parts.iter().map(|part| part.width).sum();
    Array { shape, data }
}

/// The networks that take most from a source, best first: scales of the configuration that was asked for, or where
/// none of them fits, of any that ships with yf.
fn best_fits(source: &Graph, source_names: &[String], wanted: &Network, names: &[String]) -> Vec<String> {
    const SIDE: usize = 640;
    let own = [wanted.config().clone()];
    let built_in = crate::config::BUILT_IN.iter().filter_map(|(name, _)| Config::built_in(name));
    for configs in [own.to_vec(), built_in.collect()] {
        let mut fits: Vec<(f64, String)> = Vec::new();
        for config in &configs {
            for scale in &config.scales {
                let Ok(network) = Network::new(config.clone(), &scale.name, names.len()) else { continue };
                let Ok(graph) = network.graph(SIDE, SIDE) else { continue };
                let plan = Transplant::plan(source, source_names, &graph, names);
                if plan.reaches_beyond_the_head() {
                    fits.push((plan.share(), network.name().to_owned()));
                }
            }
        }
        if !fits.is_empty() {
            fits.sort_by(|a, b| b.0.total_cmp(&a.0));
            let said = |(share, name): &(f64, String)| format!("{name} ({:.0} % of it)", share * 100.0);
            return fits.iter().take(3).map(said).collect();
        }
    }
    vec![]
}
