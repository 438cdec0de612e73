//! A graph's layers as a transplant sees them: where each stands in the network, and the units it is made of.

use std::collections::BTreeMap;

use crate::graph::{Graph, Node, Op, Param, ValueId};

/// The pictures a layer descends from. `images`, the one picture of a one-stream network, stands for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stream {
    Rgb,
    Ir,
    Both,
}

impl Stream {
    /// Streams of a source in the order in which they are good for this one.
    fn preferences(self) -> [Stream; 3] {
        match self {
            Stream::Rgb => [Stream::Rgb, Stream::Both, Stream::Ir],
            Stream::Ir => [Stream::Ir, Stream::Both, Stream::Rgb],
            Stream::Both => [Stream::Both, Stream::Rgb, Stream::Ir],
        }
    }

    fn join(self, other: Stream) -> Stream {
        if self == other { self } else { Stream::Both }
    }
}

/// Tensors that only make sense together: a convolution with its batch norm.
pub(super) struct Unit<'g> {
    /// Name within the layer, the same in every network.
    pub key: Key,
    /// The convolution's weight first.
    pub params: Vec<&'g Param>,
    /// Groups of the convolution; 0 where there is none.
    pub groups: usize,
    /// Whether its outputs are the head's class logits.
    pub scores_classes: bool,
    /// What the convolution reads.
    reads: Option<ValueId>,
    /// Whether that is a picture, and whose.
    picture: Option<Stream>,
    layer: usize,
}

/// A unit's name within its layer. In the head the map's index is replaced by its stride and the place among the
/// maps of that stride.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    name: String,
    map: Option<(usize, usize)>,
}

impl Unit<'_> {
    /// Whether it reads the infrared picture and the other one a picture of colours.
    pub fn reads_infrared_as(&self, other: &Unit<'_>) -> bool {
        self.picture == Some(Stream::Ir) && other.picture.is_some_and(|p| p != Stream::Ir)
    }
}

/// A layer with parameters.
pub(super) struct Layer<'g> {
    pub index: usize,
    pub block: &'g str,
    pub units: Vec<Unit<'g>>,
    place: Place,
}

/// Where a layer stands: what it descends from, and the strides on the longest way to it. So P4 on the way down, P4
/// on the way up and P4 on the second way down are three places, in any network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    way: Vec<usize>,
    stream: Stream,
    head: bool,
}

impl Layer<'_> {
    /// The unit of that name; of several maps of a stride the first stands for those that the source has not.
    pub fn unit(&self, key: &Key) -> Option<&Unit<'_>> {
        let exact = self.units.iter().find(|u| u.key == *key);
        exact.or_else(|| {
            let first = Key { name: key.name.clone(), map: key.map.map(|(stride, _)| (stride, 0)) };
            self.units.iter().find(|u| u.key == first)
        })
    }

    /// Whether every unit of the other is here, in the same shapes.
    fn contains(&self, other: &Layer<'_>) -> bool {
        let shapes = |unit: &Unit<'_>| unit.params.iter().map(|p| p.shape.clone()).collect::<Vec<_>>();
        let is_here = |theirs: &Unit<'_>| {
            self.units.iter().any(|mine| mine.key == theirs.key && shapes(mine) == shapes(theirs))
        };
        other.units.iter().all(is_here)
    }
}

/// Channels in a row that come from one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    origin: Origin,
    /// Channels.
    pub width: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Picture(Stream),
    /// Index of a layer of the source.
    Layer(usize),
}

impl Segment {
    pub fn is_infrared(&self) -> bool {
        self.origin == Origin::Picture(Stream::Ir)
    }

    /// Whether this segment of a source is what `target` is made of; `all` are the source's segments.
    pub fn is_source_of(&self, target: &Segment, all: &[Segment]) -> bool {
        let same = match (self.origin, target.origin) {
            // A picture stands for another one where the source has not that very one.
            (Origin::Picture(_), Origin::Picture(_)) => {
                self.origin == target.origin || !all.iter().any(|s| s.origin == target.origin)
            }
            (a, b) => a == b,
        };
        same && self.width == target.width
    }
}

/// All layers of a graph that have parameters, and what is needed to look around in it.
pub(super) struct Anatomy<'g> {
    graph: &'g Graph,
    pub layers: Vec<Layer<'g>>,
    /// The node that writes each value.
    producers: Vec<Option<&'g Node>>,
}

impl<'g> Anatomy<'g> {
    pub fn of(graph: &'g Graph) -> Self {
        let mut producers = vec![None; graph.values.len()];
        for node in &graph.nodes {
            node.outputs.iter().for_each(|v| producers[v.0] = Some(node));
        }
        let (streams, ways) = (streams(graph), ways(graph));
        let head = graph.head.maps.first().and_then(|map| producers[map.0]).map(|node| node.layer);
        let mut units: BTreeMap<usize, Vec<Unit<'g>>> = BTreeMap::new();
        for unit in self::units(graph, &producers) {
            units.entry(unit.layer).or_default().push(unit);
        }
        let layers = units.into_iter().filter_map(|(index, units)| {
            let summary = graph.layers.get(index)?;
            let mine = |n: &&Node| n.layer == index && !n.params.is_empty();
            let stream =
                graph.nodes.iter().filter(mine).map(|n| streams[n.outputs[0].0]).reduce(Stream::join)?;
            let place = Place { way: ways[index].clone(), stream, head: head == Some(index) };
            Some(Layer { index, block: &summary.block, units, place })
        });
        Anatomy { layers: layers.collect(), graph, producers }
    }

    /// For every layer of `target` (by its index) its partner here (by its position in [`Anatomy::layers`]).
    ///
    /// At each place, layers of a block are paired in their order; a block that has no partner may have one that it
    /// contains whole. The head is paired with the head.
    pub fn partners_of(&self, target: &Anatomy<'_>) -> BTreeMap<usize, usize> {
        let mut pairs = BTreeMap::new();
        // How far the source's layers at a target's place have been given away.
        let mut given: BTreeMap<&Place, usize> = BTreeMap::new();
        for layer in &target.layers {
            let next = given.entry(&layer.place).or_default();
            let here = self.at(&layer.place);
            let mut open = here.iter().copied().filter(|&at| at >= *next);
            let same = open.clone().find(|&at| self.layers[at].block == layer.block);
            if let Some(at) = same.or_else(|| open.find(|&at| layer.contains(&self.layers[at]))) {
                pairs.insert(layer.index, at);
                *next = at + 1;
            }
        }
        pairs
    }

    /// Positions of the layers that stand where a target's do, of the best stream that there is.
    fn at(&self, place: &Place) -> Vec<usize> {
        let stands = |layer: &Layer<'_>, stream: Stream| match place.head {
            true => layer.place.head,
            false => !layer.place.head && layer.place.way == place.way && layer.place.stream == stream,
        };
        let of = |stream| (0..self.layers.len()).filter(|&at| stands(&self.layers[at], stream)).collect();
        let found = place.stream.preferences().map(of);
        found.into_iter().find(|positions: &Vec<usize>| !positions.is_empty()).unwrap_or_default()
    }

    /// What a unit's convolution reads, in terms of the source's layers, which `layer` gives for one of this graph's;
    /// none where it reads anything else.
    pub fn segments(&self, unit: &Unit<'_>, layer: &dyn Fn(usize) -> Option<usize>) -> Option<Vec<Segment>> {
        self.segments_of(unit.reads?, unit.layer, layer)
    }

    fn segments_of(
        &self,
        value: ValueId,
        reader: usize,
        layer: &dyn Fn(usize) -> Option<usize>,
    ) -> Option<Vec<Segment>> {
        let node = self.producers[value.0]?;
        let width = *self.graph.shape(value).first()?;
        if let Some(stream) = picture(self.graph, value) {
            return Some(vec![Segment { origin: Origin::Picture(stream), width }]);
        }
        if node.layer != reader && self.layers.iter().any(|l| l.index == node.layer) {
            return match layer(node.layer) {
                Some(twin) => Some(vec![Segment { origin: Origin::Layer(twin), width }]),
                None => self.given(node.layer, width, layer),
            };
        }
        match node.op {
            Op::Concat { axis: 0 } | Op::UpsampleNearest { .. } => {
                let parts = node.inputs.iter().map(|&v| self.segments_of(v, node.layer, layer));
                parts.collect::<Option<Vec<_>>>().map(|parts| parts.concat())
            }
            _ => None,
        }
    }

    /// What a layer that begins plain gives at first: the maps that it is given, one behind the other, or where these are
    /// of one source, that one.
    fn given(
        &self,
        fusing: usize,
        width: usize,
        layer: &dyn Fn(usize) -> Option<usize>,
    ) -> Option<Vec<Segment>> {
        let block = &self.graph.layers.get(fusing)?.block;
        if !crate::blocks::find(block).is_some_and(|block| block.begins_plain) {
            return None;
        }
        let within = self.graph.nodes.iter().filter(|node| node.layer == fusing);
        let read = within.flat_map(|node| &node.inputs).copied();
        let mut maps: Vec<ValueId> = Vec::new();
        for value in read.filter(|v| self.producers[v.0].is_some_and(|node| node.layer != fusing)) {
            if !maps.contains(&value) {
                maps.push(value);
            }
        }
        let parts = maps.iter().map(|&value| self.segments_of(value, fusing, layer));
        let parts = parts.collect::<Option<Vec<_>>>()?.concat();
        let joined: usize = parts.iter().map(|part| part.width).sum();
        let first = *parts.first()?;
        if joined == width {
            Some(parts)
        } else if first.width == width && parts.iter().all(|part| *part == first) {
            Some(vec![first])
        } else {
            None
        }
    }
}

/// The picture that an input of the graph is.
fn picture(graph: &Graph, value: ValueId) -> Option<Stream> {
    let (name, _) = graph.inputs.iter().find(|(_, v)| *v == value)?;
    Some(match name.as_str() {
        "rgb" => Stream::Rgb,
        "ir" => Stream::Ir,
        _ => Stream::Both,
    })
}

/// Stream of every value.
fn streams(graph: &Graph) -> Vec<Stream> {
    let mut streams: Vec<Option<Stream>> = vec![None; graph.values.len()];
    for node in &graph.nodes {
        let inherited = node.inputs.iter().filter_map(|v| streams[v.0]).reduce(Stream::join);
        for &value in &node.outputs {
            streams[value.0] = picture(graph, value).or(inherited);
        }
    }
    // A constant descends from no picture.
    streams.into_iter().map(|s| s.unwrap_or(Stream::Both)).collect()
}

/// For every layer the strides on the longest way to it, each once where it stays.
fn ways(graph: &Graph) -> Vec<Vec<usize>> {
    let (height, _) = graph.input_size();
    let mut ways: Vec<Vec<usize>> = Vec::new();
    for layer in &graph.layers {
        let before = layer.from.iter().filter_map(|&from| ways.get(from));
        // Every way begins at the pictures.
        let longest =
            |best: Vec<usize>, way: &Vec<usize>| if way.len() > best.len() { way.clone() } else { best };
        let mut way = before.fold(vec![1], longest);
        let rows = layer.outputs.first().and_then(|shape| shape.get(1)).copied();
        let stride = rows.filter(|&rows| rows > 0).map(|rows| height.div_ceil(rows));
        if let Some(stride) = stride.filter(|stride| way.last() != Some(stride)) {
            way.push(stride);
        }
        ways.push(way);
    }
    ways
}

/// Every parameter and buffer once, in units.
fn units<'g>(graph: &'g Graph, producers: &[Option<&'g Node>]) -> Vec<Unit<'g>> {
    let mut units: Vec<Unit<'g>> = Vec::new();
    let mut unit_of_value: BTreeMap<ValueId, usize> = BTreeMap::new();
    let mut seen = vec![false; graph.params.len()];
    let logits = logits(graph, producers);
    for node in &graph.nodes {
        let fresh: Vec<&Param> = node
            .params
            .iter()
            .filter(|id| !std::mem::replace(&mut seen[id.0], true))
            .map(|&id| graph.param(id))
            .collect();
        let convolution = match &node.op {
            Op::BatchNorm2d => node.inputs.first().and_then(|v| unit_of_value.get(v)).copied(),
            _ => None,
        };
        match (convolution, fresh.first()) {
            (Some(at), _) => units[at].params.extend(fresh),
            (None, Some(first)) => {
                if let Some(&out) = node.outputs.first() {
                    unit_of_value.insert(out, units.len());
                }
                units.push(Unit {
                    key: key(graph, node.layer, &first.name),
                    groups: if let Op::Conv2d(conv) = &node.op { conv.groups } else { 0 },
                    scores_classes: node.outputs.iter().any(|v| logits.contains(v)),
                    reads: node.inputs.first().copied(),
                    picture: node.inputs.first().and_then(|&v| picture(graph, v)),
                    layer: node.layer,
                    params: fresh,
                });
            }
            (None, None) => {}
        }
    }
    units
}

/// The class logits: what each of the head's maps ends with.
fn logits(graph: &Graph, producers: &[Option<&Node>]) -> Vec<ValueId> {
    let maps = graph.head.maps.iter().filter_map(|map| producers[map.0]);
    maps.filter_map(|node| node.inputs.last().copied()).collect()
}

/// `model.22.cv2.1.0.conv.weight` of a head whose second map has stride 16 is `cv2.0.conv.weight` of (16, 0).
fn key(graph: &Graph, layer: usize, name: &str) -> Key {
    let within = name.strip_prefix(&format!("model.{layer}.")).unwrap_or(name);
    let is_head = layer + 1 == graph.layers.len();
    let split = within.split_once('.').and_then(|(branch, rest)| {
        let (map, rest) = rest.split_once('.')?;
        Some((branch, map.parse::<usize>().ok()?, rest))
    });
    match split.filter(|_| is_head) {
        Some((branch, map, rest)) if map < graph.head.strides.len() => {
            let strides = &graph.head.strides;
            let before = strides[..map].iter().filter(|&s| *s == strides[map]).count();
            Key { name: format!("{branch}.{rest}"), map: Some((strides[map], before)) }
        }
        _ => Key { name: within.to_owned(), map: None },
    }
}
