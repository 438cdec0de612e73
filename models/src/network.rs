//! A network: a configuration at a scale, for a number of classes. It becomes a [`Graph`] at an input size.

use std::path::Path;

use crate::blocks::{self, Args, Block, Layer, Scaling};
use crate::builder::Builder;
use crate::config::{BUILT_IN, Config, LayerConfig, Scale};
use crate::error::ShapeError;
use crate::graph::{Graph, LayerSummary, ValueId};
use crate::{ModelError, Weights};

/// More classes than this are a mistake.
const MAX_CLASSES: usize = 10_000;

/// A larger side is a mistake: a graph's activations would not fit any device.
const MAX_SIDE: usize = 16_384;

/// A configuration at a scale, for a number of classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    config: Config,
    scale: Scale,
    classes: usize,
    name: String,
}

impl Network {
    /// A network from a parsed configuration; an empty scale name takes the first.
    ///
    /// # Errors
    /// When the scale or a block does not exist, or a layer reads one that is not before it.
    pub fn new(config: Config, scale: &str, classes: usize) -> Result<Self, ModelError> {
        let origin = config.origin().to_owned();
        let wrong = |why: String| ModelError::Config { origin: origin.clone(), why };
        let found = if scale.is_empty() { config.scales.first() } else { config.scale(scale) };
        let scale = found.cloned().ok_or_else(|| {
            let known: Vec<&str> = config.scales.iter().map(|s| s.name.as_str()).collect();
            wrong(format!("no scale '{scale}'; there are {}", known.join(", ")))
        })?;
        if classes == 0 || classes > MAX_CLASSES {
            return Err(wrong(format!("{classes} classes; a network has 1 to {MAX_CLASSES}")));
        }
        let name = match scale.name.as_str() {
            "" => origin.clone(),
            s if origin.ends_with(&format!("-{s}")) => origin.clone(),
            s => format!("{origin}-{s}"),
        };
        let network = Network { config, scale, classes, name };
        network.check_wiring()?;
        Ok(network)
    }

    /// A network by name (`mid-n`), by the path of a configuration, or by the path of a weights file.
    /// `classes` overrides the configuration's number; a weights file has its own.
    ///
    /// # Errors
    /// When nothing of that name exists or it cannot be read.
    pub fn load(model: &str, classes: Option<usize>) -> Result<Self, ModelError> {
        let path = Path::new(model);
        match path.extension().and_then(|e| e.to_str()) {
            Some("safetensors") => Weights::read(path)?.header.network(),
            Some("yaml" | "yml") => Network::from_file(path, classes),
            _ => Network::from_name(model, classes),
        }
    }

    fn from_name(model: &str, classes: Option<usize>) -> Result<Self, ModelError> {
        let (name, scale) = model.rsplit_once('-').unwrap_or((model, "n"));
        let config = Config::built_in(name).filter(|c| c.scale(scale).is_some()).ok_or_else(|| {
            let known = BUILT_IN.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", ");
            ModelError::UnknownModel { name: model.to_owned(), known }
        })?;
        let classes = classes.or(config.classes).unwrap_or(80);
        Network::new(config, scale, classes)
    }

    /// `net-s.yaml` also means `net.yaml` at scale s, as the published files are used.
    fn from_file(path: &Path, classes: Option<usize>) -> Result<Self, ModelError> {
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        let (file, scale) = match stem.rsplit_once('-') {
            Some((base, scale)) if !path.exists() => (path.with_file_name(format!("{base}.yaml")), scale),
            _ => (path.to_owned(), ""),
        };
        let yaml =
            std::fs::read_to_string(&file).map_err(|source| ModelError::Io { path: path.into(), source })?;
        let config = Config::parse(&yaml, &file.display().to_string())?;
        let classes = classes.or(config.classes).unwrap_or(80);
        Network::new(config, scale, classes)
    }

    /// Name with the scale, e.g. `mid-n`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name of the scale; empty where the configuration has none.
    pub fn scale(&self) -> &str {
        &self.scale.name
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Whether it takes both pictures; if not, the one picture `images`.
    pub fn two_streams(&self) -> bool {
        self.config.channels == 6 || self.config.layers.first().is_some_and(|l| l.block == "IdentityInput")
    }

    /// The training graph at an input size: it ends at the head's raw maps.
    ///
    /// # Errors
    /// When a layer cannot take its inputs, with the layer's number and the shapes, or the size is no multiple
    /// of the largest stride.
    pub fn graph(&self, height: usize, width: usize) -> Result<Graph, ModelError> {
        if height == 0 || width == 0 || height > MAX_SIDE || width > MAX_SIDE {
            let why = format!("image size {height}x{width}: a side must be 1 to {MAX_SIDE} pixels");
            return Err(ModelError::Config { origin: self.name.clone(), why });
        }
        self.emit(height, width).map_err(|error| self.blame_size(error))
    }

    /// Pixels that the size of the pictures must be a multiple of.
    pub fn max_stride(&self) -> Option<usize> {
        let probe = self.emit(1024, 1024).ok()?;
        probe.head.strides.iter().copied().max()
    }

    /// A size that is no multiple of the stride shows first as a layer whose shapes do not fit; then the error says
    /// which size would.
    fn blame_size(&self, error: ModelError) -> ModelError {
        let Some(stride) = self.max_stride() else {
            return error;
        };
        let fit = |side: usize| (side as f64 / stride as f64).round().max(1.0) as usize * stride;
        match error {
            ModelError::Layer { layer, block, height, width, source, .. }
                if (fit(height), fit(width)) != (height, width) =>
            {
                let (fit_height, fit_width) = (fit(height), fit(width));
                ModelError::InputSize { height, width, stride, layer, block, source, fit_height, fit_width }
            }
            other => other,
        }
    }

    fn emit(&self, height: usize, width: usize) -> Result<Graph, ModelError> {
        let mut graph = Builder::default();
        let pictures = self.declare_inputs(&mut graph, height, width);
        let mut outputs: Vec<Vec<ValueId>> = Vec::new();
        let mut layers = Vec::new();
        for (index, config) in self.config.layers.iter().enumerate() {
            let at = |source| self.at(index, (height, width), source);
            let from = self.sources(index)?;
            let inputs: Vec<ValueId> = if index == 0 {
                pictures.clone()
            } else {
                from.iter().flat_map(|&f| outputs[f].iter().copied()).collect()
            };
            let before = graph.parameter_count();
            let emitted = self.layer(&mut graph, index, config, inputs.clone()).map_err(at)?;
            layers.push(LayerSummary {
                index,
                from,
                block: config.block.clone(),
                inputs: inputs.iter().map(|&v| graph.shape(v).to_vec()).collect(),
                outputs: emitted.iter().map(|&v| graph.shape(v).to_vec()).collect(),
                parameters: graph.parameter_count() - before,
            });
            outputs.push(emitted);
        }
        let head = graph.take_head().ok_or_else(|| ModelError::Config {
            origin: self.config.origin().to_owned(),
            why: "no Detect layer: the network would have no output".to_owned(),
        })?;
        let exact = head.maps.iter().zip(&head.strides).all(|(&map, &stride)| {
            graph.shape(map)[1] * stride == height && graph.shape(map)[2] * stride == width
        });
        if !exact {
            let why = "the maps are not the input over a whole stride".to_owned();
            let source = graph.refuse("Detect", head.maps[0], why);
            return Err(self.at(self.config.layers.len() - 1, (height, width), source));
        }
        Ok(graph.finish(head.maps.clone(), head, layers))
    }

    fn declare_inputs(&self, graph: &mut Builder, height: usize, width: usize) -> Vec<ValueId> {
        let shape = vec![3, height, width];
        if !self.two_streams() {
            return vec![graph.input("images", shape)];
        }
        let pictures = vec![graph.input("rgb", shape.clone()), graph.input("ir", shape)];
        if self.config.layers.first().is_some_and(|l| l.block == "IdentityInput") {
            return pictures;
        }
        graph.concat(&pictures, 0, "input.concat").map_or(pictures, |joined| vec![joined])
    }

    fn layer(
        &self,
        graph: &mut Builder,
        index: usize,
        config: &LayerConfig,
        mut inputs: Vec<ValueId>,
    ) -> Result<Vec<ValueId>, ShapeError> {
        graph.enter_layer(index);
        let block =
            blocks::find(&config.block).ok_or_else(|| ShapeError::Arguments("unknown block".to_owned()))?;
        let repeats = match config.repeats {
            1 => 1,
            n => (n as f64 * self.scale.depth).round_ties_even().max(1.0) as usize,
        };
        let in_sequence = if block.takes_repeats { 1 } else { repeats };
        for i in 0..in_sequence {
            let path = if in_sequence == 1 { format!("model.{index}") } else { format!("model.{index}.{i}") };
            inputs = (block.emit)(&mut Layer {
                graph: &mut *graph,
                path,
                inputs,
                args: Args(&config.args),
                repeats: if block.takes_repeats { repeats } else { 1 },
                scaling: Scaling {
                    name: &self.scale.name,
                    width: self.scale.width,
                    max_channels: self.scale.max_channels,
                },
                classes: self.classes,
                depthwise_head: self.depthwise_head(),
            })?;
        }
        Ok(inputs)
    }

    fn depthwise_head(&self) -> bool {
        self.blocks().any(|b| b.depthwise_head)
    }

    fn blocks(&self) -> impl Iterator<Item = &'static Block> + '_ {
        self.config.layers.iter().filter_map(|l| blocks::find(&l.block))
    }

    fn check_wiring(&self) -> Result<(), ModelError> {
        for (layer, config) in self.config.layers.iter().enumerate() {
            if blocks::find(&config.block).is_none() {
                return Err(ModelError::UnknownBlock {
                    origin: self.config.origin().to_owned(),
                    layer,
                    block: config.block.clone(),
                    known: blocks::names(),
                });
            }
            self.sources(layer)?;
        }
        Ok(())
    }

    /// The layers that layer `index` reads, as indices; layer 0 reads the network's input and none.
    fn sources(&self, index: usize) -> Result<Vec<usize>, ModelError> {
        let config = &self.config.layers[index];
        if index == 0 && config.from == [-1] {
            return Ok(vec![]);
        }
        let absolute = |&from: &i64| {
            let at = if from < 0 { from.saturating_add(index as i64) } else { from };
            usize::try_from(at).ok().filter(|&at| at < index).ok_or_else(|| ModelError::Source {
                origin: self.config.origin().to_owned(),
                layer: index,
                block: config.block.clone(),
                from: at,
            })
        };
        config.from.iter().map(absolute).collect()
    }

    fn at(&self, layer: usize, (height, width): (usize, usize), source: ShapeError) -> ModelError {
        let (origin, block) = (self.config.origin().to_owned(), self.config.layers[layer].block.clone());
        ModelError::Layer { origin, layer, block, height, width, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_the_references() {
        let graph = Network::load("mid-n", Some(1)).unwrap().graph(640, 640).unwrap();
        let parameters: Vec<usize> = graph.layers.iter().map(|l| l.parameters).collect();
        assert_eq!(parameters[3..8], [232, 1184, 1720, 232, 1184]);
        assert_eq!(parameters[21], 63424);
        assert_eq!(parameters[40], 267_123);
        assert_eq!(graph.layers[38].outputs, vec![vec![320, 20, 20]]);
        assert_eq!(graph.head.strides, [8, 16, 32]);
        assert_eq!(graph.head.anchors(&graph), 8400);
    }

    fn refusal(yaml: &str) -> String {
        let built = Config::parse(yaml, "own.yaml")
            .and_then(|c| Network::new(c, "", 3))
            .and_then(|n| n.graph(64, 64));
        built.unwrap_err().to_string()
    }

    #[test]
    fn a_users_own_configuration_works() {
        let yaml = "nc: 3\nbackbone:\n  - [-1, 1, Conv, [16, 3, 2]]\n  - [-1, 2, Conv, [16, 3]]\nhead:\n  - [[1], 1, Detect, [nc]]\n";
        let network = Network::new(Config::parse(yaml, "own.yaml").unwrap(), "", 3).unwrap();
        let graph = network.graph(64, 64).unwrap();
        assert_eq!(graph.inputs[0].0, "images");
        assert!(graph.params.iter().any(|p| p.name == "model.1.1.conv.weight"));
    }

    #[test]
    fn wrong_configurations_are_refused_with_layer_and_shapes() {
        let unknown = refusal("backbone:\n  - [-1, 1, Convolution, [16, 3, 2]]\n");
        assert!(
            unknown.contains("layer 0: unknown block 'Convolution'") && unknown.contains("C3k2"),
            "{unknown}"
        );

        let cycle = refusal("backbone:\n  - [-1, 1, Conv, [16, 3, 2]]\n  - [1, 1, Conv, [16, 3, 2]]\n");
        assert!(cycle.contains("layer 1 (Conv) reads layer 1"), "{cycle}");

        let mismatch = refusal(
            "backbone:\n  - [-1, 1, Conv, [16, 3, 2]]\n  - [-1, 1, Conv, [16, 3, 2]]\n  - [[0, 1], 1, Concat, [1]]\n  - [-1, 1, Detect, [nc]]\n",
        );
        assert!(
            mismatch.contains("layer 2 (Concat)") && mismatch.contains("16x32x32 and 16x16x16"),
            "{mismatch}"
        );

        let arguments = refusal("backbone:\n  - [-1, 1, Conv, [wide]]\n");
        assert!(arguments.contains("layer 0 (Conv)") && arguments.contains("got 'wide'"), "{arguments}");

        let headless = refusal("backbone:\n  - [-1, 1, Conv, [16, 3, 2]]\n");
        assert!(headless.contains("no Detect"), "{headless}");

        let no_yaml = refusal("backbone: [\n");
        assert!(no_yaml.contains("line"), "{no_yaml}");
    }

    #[test]
    fn a_size_that_does_not_fit_names_one_that_does() {
        let told = Network::load("mid-n", None).unwrap().graph(650, 640).unwrap_err().to_string();
        assert!(told.contains("650x640") && told.contains("640x640") && told.contains("32"), "{told}");
        assert!(told.contains("layer 29 (Concat)") && told.contains("256x42x40 and 128x41x40"), "{told}");
    }

    #[test]
    fn unknown_names_list_the_known() {
        for name in ["middle-n", "mid-q", "", "-", "mid-"] {
            let told = Network::load(name, None).unwrap_err().to_string();
            assert!(told.contains("early, mid"), "{told}");
        }
    }
}
