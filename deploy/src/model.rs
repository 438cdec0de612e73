//! What an ONNX file says about itself: inputs, sizes, classes, metadata.
//!
//! Read from the file's own fields, so that every backend is told the same, and junk is refused before a runtime
//! sees it.

mod check;
mod names;
mod proto;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use prost::Message;
use serde::{Deserialize, Serialize};

use crate::DeployError;
use crate::modality::Modality;

/// Far above what suppression leaves.
const MAX_ROWS: usize = 65_536;
/// protobuf's own limit on a message.
const MAX_BYTES: u64 = 2 << 30;
/// No camera gives more; a larger side is a corrupt file, and would be allocated for.
const MAX_SIDE: usize = 16_384;
/// Far above any detector; a corrupt file must not make yf allocate for it.
const MAX_CLASSES: usize = 65_536;
/// Far above any detector (640 x 640 at stride 4 gives 34,000).
const MAX_ANCHORS: usize = 1 << 24;

/// Values of a suppressed detection: x1 y1 x2 y2 score class.
pub(crate) const ROW: usize = 6;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Inputs {
    /// Two streams, `rgb` and `ir`.
    Pair,
    /// One stream (`images`): a network for one modality.
    Single,
}

/// What a network's inputs are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Values {
    /// float32 planes, [batch, 3, height, width], 0..1.
    Floats,
    /// uint8 pictures, [batch, height, width, channels], 0..255: the network normalises them itself.
    Bytes,
}

impl Values {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floats => "float32 values",
            Self::Bytes => "bytes",
        }
    }
}

/// Suppression that takes place inside a network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suppressed {
    /// Rows of a picture's output, x1 y1 x2 y2 score class; those without a detection are zero.
    pub rows: usize,
    /// Scores are above this, where the file says it.
    pub conf: Option<f32>,
    /// Boxes of a class overlap by no more than this, where the file says it.
    pub iou: Option<f32>,
}

/// What a detector's ONNX file says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The file, or the name given to a model in memory; begins every error about it.
    pub origin: String,
    /// One stream or two.
    pub inputs: Inputs,
    /// Names of the inputs: `rgb`, `ir` in this order, or the single one.
    pub input_names: Vec<String>,
    /// What the inputs are made of.
    pub values: Values,
    /// Channels of each input: 3 of floats, of bytes 3 or (grey) 1.
    pub channels: Vec<usize>,
    /// Name of the output that holds the detections.
    pub output_name: String,
    /// Height of the input pictures, pixels.
    pub height: usize,
    /// Width of the input pictures, pixels.
    pub width: usize,
    /// Pictures a run, or `None` where any number goes.
    pub batch: Option<usize>,
    /// Classes, from the output's rows (4 + classes), or with suppression inside from the names.
    pub classes: usize,
    /// Candidate boxes of a picture; 0 with suppression inside.
    pub anchors: usize,
    /// Suppression inside the network, where there is one.
    pub suppressed: Option<Suppressed>,
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

    /// Values of one picture of that input (0 or 1), channels x height x width.
    pub fn input_len(&self, input: usize) -> usize {
        self.channels.get(input).map_or(0, |channels| channels * self.height * self.width)
    }

    /// Shape of an input for a batch of this size.
    pub fn input_shape(&self, input: usize, batch: usize) -> [usize; 4] {
        let channels = self.channels.get(input).copied().unwrap_or(0);
        match self.values {
            Values::Floats => [batch, channels, self.height, self.width],
            Values::Bytes => [batch, self.height, self.width, channels],
        }
    }

    /// Shape of the output for a batch of this size.
    pub fn output_shape(&self, batch: usize) -> [usize; 3] {
        match self.suppressed {
            Some(Suppressed { rows, .. }) => [batch, rows, ROW],
            None => [batch, 4 + self.classes, self.anchors],
        }
    }

    /// Floats of one picture's output: (4 + classes) x anchors, or rows x 6 with suppression inside.
    pub fn output_len(&self) -> usize {
        self.output_shape(1).iter().product()
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
    let output = output(&graph, pictures.batch, &metadata)?;
    Ok(ModelInfo {
        origin: origin.to_owned(),
        inputs: pictures.inputs,
        input_names: pictures.names,
        values: pictures.values,
        channels: pictures.channels,
        output_name: output.name,
        height: pictures.height,
        width: pictures.width,
        batch: pictures.batch,
        classes: output.classes,
        anchors: output.anchors,
        suppressed: output.suppressed,
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
    values: Values,
    channels: Vec<usize>,
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
    let first = &shapes[0];
    if shapes.iter().any(|s| (s.values, s.batch, s.side) != (first.values, first.batch, first.side)) {
        return Err("its inputs rgb and ir differ in size or kind".to_owned());
    }
    if inputs == Inputs::Pair && first.channels != 3 {
        return Err("its input rgb has one channel".to_owned());
    }
    let names = values.iter().map(|v| v.name.clone()).collect();
    let (height, width) = first.side;
    let channels = shapes.iter().map(|s| s.channels).collect();
    Ok(Pictures { inputs, names, values: first.values, channels, batch: first.batch, height, width })
}

struct PictureShape {
    values: Values,
    batch: Option<usize>,
    channels: usize,
    side: (usize, usize),
}

/// Shape of an input [N, 3, H, W] of floats or [N, H, W, C] of bytes.
fn picture_shape(value: &proto::Value) -> Result<PictureShape, String> {
    let name = &value.name;
    let (element, axes) = tensor(value).ok_or_else(|| format!("input {name} has no shape"))?;
    let (values, layout) = match element {
        proto::FLOAT => (Values::Floats, "[batch, 3, height, width]"),
        proto::UINT8 => (Values::Bytes, "[batch, height, width, 3] or [batch, height, width, 1]"),
        proto::FLOAT16 => {
            return Err(format!("input {name} is float16; inputs stay float32, also in an fp16 model"));
        }
        other => return Err(format!("input {name} has the element type {other}, not float32 or uint8")),
    };
    let side = |axis: Option<usize>| axis.filter(|s| (1..=MAX_SIDE).contains(s));
    let (batch, channels, height, width) = match (values, axes.as_slice()) {
        (Values::Floats, &[batch, channels, height, width]) => (batch, channels, height, width),
        (Values::Bytes, &[batch, height, width, channels]) => (batch, channels, height, width),
        _ => return Err(format!("input {name} has the shape {}, not {layout}", show(&axes))),
    };
    match (channels, side(height), side(width)) {
        (Some(channels), Some(height), Some(width))
            if channels == 3 || (channels == 1 && values == Values::Bytes) =>
        {
            Ok(PictureShape { values, batch, channels, side: (height, width) })
        }
        _ => Err(format!(
            "input {name} has the shape {}, not {layout} with a fixed height and width",
            show(&axes)
        )),
    }
}

struct Output {
    name: String,
    classes: usize,
    anchors: usize,
    suppressed: Option<Suppressed>,
}

fn output(
    graph: &proto::Graph,
    batch: Option<usize>,
    metadata: &BTreeMap<String, String>,
) -> Result<Output, String> {
    let named = graph.outputs.iter().find(|v| v.name == "output0");
    let value = named.or(graph.outputs.first()).ok_or("has no output")?;
    let name = value.name.clone();
    let (element, axes) = tensor(value).ok_or_else(|| format!("output {name} has no shape"))?;
    if element != proto::FLOAT {
        return Err(format!("output {name} has the element type {element}, not float32"));
    }
    let fits = |rows: &Option<usize>| rows.is_none() || batch.is_none() || *rows == batch;
    match axes.as_slice() {
        [rows, Some(_), Some(_)] if !fits(rows) => {
            Err(format!("output {name} has the shape {}, another batch than the inputs", show(&axes)))
        }
        [_, Some(rows), Some(ROW)] if *rows <= MAX_ROWS => {
            let classes = class_count(metadata)?;
            let number = |key: &str| metadata.get(key).and_then(|text| text.parse().ok());
            let suppressed =
                Suppressed { rows: *rows, conf: number("yf.nms.conf"), iou: number("yf.nms.iou") };
            Ok(Output { name, classes, anchors: 0, suppressed: Some(suppressed) })
        }
        [_, Some(features), Some(anchors)]
            if (5..=4 + MAX_CLASSES).contains(features) && *anchors <= MAX_ANCHORS =>
        {
            Ok(Output { name, classes: features - 4, anchors: *anchors, suppressed: None })
        }
        _ => Err(format!(
            "output {name} has the shape {}, not [batch, 4 + classes, anchors] or [batch, rows, {ROW}]",
            show(&axes)
        )),
    }
}

/// Classes of a model whose output does not tell.
fn class_count(metadata: &BTreeMap<String, String>) -> Result<usize, String> {
    let literal = metadata.get("names").ok_or(
        "has suppression inside, and no metadata `names` that say how many classes there are: export it again",
    )?;
    let names = names::parse(literal).map_err(|why| format!("its metadata `names` {why}: {literal:.80}"))?;
    if names.is_empty() || names.len() > MAX_CLASSES {
        return Err(format!("its metadata names {} classes", names.len()));
    }
    Ok(names.len())
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
