//! What an ONNX file says about itself: inputs, sizes, classes, metadata.
//!
//! Read from the file's own fields, so that every backend is told the same, and junk is refused before a runtime
//! sees it.

mod names;
mod proto;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use prost::Message;

use crate::DeployError;
use crate::modality::Modality;

/// protobuf's own limit on a message.
const MAX_BYTES: u64 = 2 << 30;
/// No camera gives more; a larger side is a corrupt file, and would be allocated for.
const MAX_SIDE: usize = 16_384;
/// Far above any detector; a corrupt file must not make yf allocate for it.
const MAX_CLASSES: usize = 65_536;
/// Far above any detector (640 x 640 at stride 4 gives 34,000).
const MAX_ANCHORS: usize = 1 << 24;

/// Where an ONNX model comes from.
#[derive(Clone, Debug)]
pub enum ModelSource {
    /// A file.
    Path(PathBuf),
    /// A model in memory (weights that were exported just now), under the name that errors give it.
    Bytes {
        /// What errors call it.
        name: String,
        /// The serialised ModelProto.
        bytes: Vec<u8>,
    },
}

/// A model in memory together with what it says about itself.
#[derive(Clone, Debug)]
pub struct Model {
    /// What it says about itself.
    pub info: ModelInfo,
    /// The serialised ModelProto.
    pub bytes: Vec<u8>,
}

impl ModelSource {
    /// Reads and checks the model.
    ///
    /// # Errors
    /// [`DeployError::Read`] where the file cannot be read, [`DeployError::Model`] where it is no detector.
    pub fn load(self) -> Result<Model, DeployError> {
        let (origin, bytes) = match self {
            Self::Path(path) => (path.display().to_string(), read(&path)?),
            Self::Bytes { name, bytes } => (name, bytes),
        };
        let info = ModelInfo::from_bytes(&bytes, &origin)?;
        Ok(Model { info, bytes })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, DeployError> {
    let failed = |source| DeployError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(refuse(&path.display().to_string(), "is larger than 2 GiB, which no ONNX file is"));
    }
    Ok(bytes)
}

/// The pictures that a network takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// Two streams, `rgb` and `ir`.
    Pair,
    /// One stream (`images`): a network for one modality.
    Single,
}

/// What a detector's ONNX file says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// The file, or the name given to a model in memory; begins every error about it.
    pub origin: String,
    /// One stream or two.
    pub inputs: Inputs,
    /// Names of the inputs: `rgb`, `ir` in this order, or the single one.
    pub input_names: Vec<String>,
    /// Name of the output that holds the detections.
    pub output_name: String,
    /// Height of the input pictures, pixels.
    pub height: usize,
    /// Width of the input pictures, pixels.
    pub width: usize,
    /// Pictures a run, or `None` where any number goes.
    pub batch: Option<usize>,
    /// Classes, from the output's rows (4 + classes).
    pub classes: usize,
    /// Candidate boxes of a picture.
    pub anchors: usize,
    /// The camera that a one-stream network was trained on (RGB where the file does not say); `Both` for two streams.
    pub modality: Modality,
    /// One name a class; `class0`, `class1` ... where the file has none.
    pub names: Vec<String>,
    /// The network's largest stride, pixels (32 where the file does not say).
    pub stride: usize,
    /// Nodes of the graph.
    pub nodes: usize,
    /// All of `metadata_props`.
    pub metadata: BTreeMap<String, String>,
}

impl ModelInfo {
    /// Reads a file's description.
    ///
    /// # Errors
    /// As [`ModelSource::load`].
    pub fn from_file(path: &Path) -> Result<Self, DeployError> {
        Self::from_bytes(&read(path)?, &path.display().to_string())
    }

    /// Reads the description of a model in memory; `origin` names it in errors.
    ///
    /// # Errors
    /// [`DeployError::Model`] where it is no ONNX detector, or one with inputs that this version does not serve.
    pub fn from_bytes(bytes: &[u8], origin: &str) -> Result<Self, DeployError> {
        describe(bytes, origin).map_err(|why| refuse(origin, why))
    }

    /// Floats of one input picture, 3 x height x width.
    pub fn input_len(&self) -> usize {
        3 * self.height * self.width
    }

    /// Floats of one picture's output, (4 + classes) x anchors.
    pub fn output_len(&self) -> usize {
        (4 + self.classes) * self.anchors
    }
}

fn refuse(origin: &str, why: impl Into<String>) -> DeployError {
    DeployError::Model { origin: origin.to_owned(), why: why.into() }
}

fn describe(bytes: &[u8], origin: &str) -> Result<ModelInfo, String> {
    if bytes.is_empty() {
        return Err("is empty, not an ONNX model".to_owned());
    }
    let model =
        proto::Model::decode(bytes).map_err(|e| format!("is not an ONNX model, or a damaged one ({e})"))?;
    let graph = model
        .graph
        .filter(|graph| !graph.nodes.is_empty() && model.ir_version > 0)
        .ok_or("is not an ONNX model: it holds no network")?;
    let metadata: BTreeMap<_, _> = model.metadata.into_iter().map(|e| (e.key, e.value)).collect();
    let pictures = pictures(&graph)?;
    let output = output(&graph, pictures.batch)?;
    Ok(ModelInfo {
        origin: origin.to_owned(),
        inputs: pictures.inputs,
        input_names: pictures.names,
        output_name: output.name,
        height: pictures.height,
        width: pictures.width,
        batch: pictures.batch,
        classes: output.classes,
        anchors: output.anchors,
        modality: modality(&metadata, pictures.inputs)?,
        names: class_names(&metadata, output.classes)?,
        stride: stride(&metadata)?,
        nodes: graph.nodes.len(),
        metadata,
    })
}

struct Pictures {
    inputs: Inputs,
    names: Vec<String>,
    batch: Option<usize>,
    height: usize,
    width: usize,
}

fn pictures(graph: &proto::Graph) -> Result<Pictures, String> {
    // Files of IR version 3 list their weights as inputs too.
    let is_weight = |name: &str| graph.initializers.iter().any(|w| w.name == name);
    let found: Vec<&proto::Value> = graph.inputs.iter().filter(|v| !is_weight(&v.name)).collect();
    let named = |name: &str| found.iter().copied().find(|v| v.name == name);
    let (inputs, values) = match (found.as_slice(), named("rgb"), named("ir")) {
        ([_, _], Some(rgb), Some(ir)) => (Inputs::Pair, vec![rgb, ir]),
        ([images], ..) => (Inputs::Single, vec![*images]),
        _ => {
            let names: Vec<_> = found.iter().map(|v| v.name.as_str()).collect();
            return Err(format!(
                "has the inputs [{}]; a detector has rgb and ir, or images",
                names.join(", ")
            ));
        }
    };
    let shapes = values.iter().map(|v| picture_shape(v)).collect::<Result<Vec<_>, _>>()?;
    let (batch, height, width) = shapes[0];
    if shapes.iter().any(|s| *s != shapes[0]) {
        return Err("its inputs rgb and ir differ in size".to_owned());
    }
    let names = values.iter().map(|v| v.name.clone()).collect();
    Ok(Pictures { inputs, names, batch, height, width })
}

/// Batch, height and width of an input [N, 3, H, W].
fn picture_shape(value: &proto::Value) -> Result<(Option<usize>, usize, usize), String> {
    let name = &value.name;
    let (element, axes) = tensor(value).ok_or_else(|| format!("input {name} has no shape"))?;
    match element {
        proto::FLOAT => {}
        proto::UINT8 => {
            return Err(format!("input {name} takes bytes (exported with --u8); export it without"));
        }
        proto::FLOAT16 => {
            return Err(format!("input {name} is float16; inputs stay float32, also in an fp16 model"));
        }
        other => return Err(format!("input {name} has the element type {other}, not float32")),
    }
    let [batch, channels, height, width] = axes.as_slice() else {
        return Err(format!("input {name} has the shape {}, not [batch, 3, height, width]", show(&axes)));
    };
    let side = |axis: &Option<usize>| axis.filter(|s| (1..=MAX_SIDE).contains(s));
    match (channels, side(height), side(width)) {
        (Some(3), Some(height), Some(width)) => Ok((*batch, height, width)),
        _ => Err(format!(
            "input {name} has the shape {}, not [batch, 3, height, width] with a fixed height and width",
            show(&axes)
        )),
    }
}

struct Output {
    name: String,
    classes: usize,
    anchors: usize,
}

fn output(graph: &proto::Graph, batch: Option<usize>) -> Result<Output, String> {
    let named = graph.outputs.iter().find(|v| v.name == "output0");
    let value = named.or(graph.outputs.first()).ok_or("has no output")?;
    let name = value.name.clone();
    let (element, axes) = tensor(value).ok_or_else(|| format!("output {name} has no shape"))?;
    if element != proto::FLOAT {
        return Err(format!("output {name} has the element type {element}, not float32"));
    }
    match axes.as_slice() {
        [_, Some(_), Some(6)] => Err(format!(
            "output {name} has the shape {}: suppression is inside (exported with --nms); export it without",
            show(&axes)
        )),
        [rows, Some(features), Some(anchors)]
            if (5..=4 + MAX_CLASSES).contains(features) && *anchors <= MAX_ANCHORS =>
        {
            if rows.is_some() && batch.is_some() && *rows != batch {
                return Err(format!(
                    "output {name} has the shape {}, another batch than the inputs",
                    show(&axes)
                ));
            }
            Ok(Output { name, classes: features - 4, anchors: *anchors })
        }
        _ => Err(format!("output {name} has the shape {}, not [batch, 4 + classes, anchors]", show(&axes))),
    }
}

/// Element type and axes; `None` for a dynamic axis.
fn tensor(value: &proto::Value) -> Option<(i32, Vec<Option<usize>>)> {
    let tensor = value.kind.as_ref()?.tensor.as_ref()?;
    let axes = &tensor.shape.as_ref()?.axes;
    let fixed = |axis: &proto::Axis| axis.value.and_then(|v| usize::try_from(v).ok()).filter(|v| *v > 0);
    Some((tensor.element, axes.iter().map(fixed).collect()))
}

fn show(axes: &[Option<usize>]) -> String {
    let shown: Vec<_> = axes.iter().map(|a| a.map_or("?".to_owned(), |v| v.to_string())).collect();
    format!("[{}]", shown.join(", "))
}

fn class_names(metadata: &BTreeMap<String, String>, classes: usize) -> Result<Vec<String>, String> {
    let Some(literal) = metadata.get("names") else {
        return Ok((0..classes).map(|c| format!("class{c}")).collect());
    };
    let names = names::parse(literal).map_err(|why| format!("its metadata `names` {why}: {literal:.80}"))?;
    if names.len() != classes {
        return Err(format!("its metadata names {} classes, but its output holds {classes}", names.len()));
    }
    Ok(names)
}

fn modality(metadata: &BTreeMap<String, String>, inputs: Inputs) -> Result<Modality, String> {
    match (inputs, metadata.get("modality").map(String::as_str)) {
        (Inputs::Pair, _) => Ok(Modality::Both),
        (Inputs::Single, None | Some("rgb")) => Ok(Modality::Rgb),
        (Inputs::Single, Some("ir")) => Ok(Modality::Ir),
        (Inputs::Single, Some(other)) => {
            Err(format!("its metadata has the modality '{other:.40}', not rgb or ir"))
        }
    }
}

fn stride(metadata: &BTreeMap<String, String>) -> Result<usize, String> {
    let Some(text) = metadata.get("stride") else { return Ok(32) };
    // Some exporters write 32.0 or [32].
    let number = text.trim().trim_matches(['[', ']']).trim_end_matches(".0");
    number
        .parse()
        .ok()
        .filter(|s| (1..=1024).contains(s))
        .ok_or_else(|| format!("its metadata has the stride '{text:.40}', not a number of pixels"))
}
