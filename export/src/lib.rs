//! A graph and its weights become ONNX, fp32 or fp16; [`triton`] puts that where a server finds it.
//!
//! ```text
//! Weights -> Graph (yf-models) -> decoding appended -> batch norm folded -> nodes and initializers -> bytes
//! ```
//!
//! Inputs are `rgb` and `ir` (or `images`), float32 `[N, 3, H, W]` in 0..1. The output `output0` is float32
//! `[N, 4 + classes, anchors]`: cx, cy, w, h in input pixels, then the class scores after the sigmoid.
//!
//! With [`Options::bytes`] inputs are uint8 `[N, H, W, 3]`, infrared `[N, H, W, 1]`, 0..255. With [`Options::nms`] the
//! output is `[N, 300, 6]`: x1, y1, x2, y2, score, class; rows without a detection are zero.

mod error;
mod fold;
mod grey;
mod initializers;
mod metadata;
mod precision;
mod proto;
mod traffic;
pub mod triton;
mod write;

use std::path::{Path, PathBuf};

use prost::Message;
use yf_models::graph::{Graph, ValueId};
use yf_models::{Header, Weights, decode, durable};

pub use error::ExportError;
use fold::Weighted;

/// ONNX operator set of the files: the oldest with everything needed, so that most runtimes read it.
pub const OPSET: i64 = 17;
/// Version of the file format, the one that goes with [`OPSET`].
pub const IR_VERSION: i64 = 8;
/// More pictures a batch are a mistake.
pub const MAX_BATCH: usize = 4096;

/// How a network is to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Layers in half precision; inputs, the decoding of boxes and the output stay single.
    pub fp16: bool,
    /// Any batch size at run time, instead of [`batch`](Options::batch).
    pub dynamic: bool,
    /// Height and width of the pictures, multiples of the largest stride; `None` for the training's.
    pub imgsz: Option<(usize, usize)>,
    /// Pictures a batch, at least 1; with `dynamic` only a hint in the metadata.
    pub batch: usize,
    /// Inputs are pictures as cameras give them, uint8 with the channels last and infrared as one plane; the graph
    /// normalises them.
    pub bytes: bool,
    /// Suppression inside the graph.
    pub nms: Option<Nms>,
}

/// Suppression inside the graph; both numbers are fixed there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nms {
    /// Scores must be above this, 0..1.
    pub conf: f32,
    /// A box that overlaps a better one of its class by more than this intersection over union goes, 0..1.
    pub iou: f32,
}

impl Default for Nms {
    fn default() -> Self {
        Nms { conf: 0.25, iou: 0.7 }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options { fp16: false, dynamic: false, imgsz: None, batch: 1, bytes: false, nms: None }
    }
}

impl Options {
    /// Where an export goes unless told otherwise: beside `best.safetensors` as `best.onnx`, `best.fp16.onnx`,
    /// `best.fp16.u8.nms.onnx`: every kind has its own name.
    pub fn default_path(&self, weights: &Path) -> PathBuf {
        let kinds = [("fp16.", self.fp16), ("u8.", self.bytes), ("nms.", self.nms.is_some())];
        let kinds: String = kinds.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect();
        weights.with_extension(format!("{kinds}onnx"))
    }
}

/// The network of a weights file as the bytes of an ONNX file. The same weights and options give the same bytes.
///
/// # Errors
/// When the picture size does not fit the network, the weights lack a tensor or hold a NaN, or the batch is 0.
pub fn onnx(weights: &Weights, options: &Options) -> Result<Vec<u8>, ExportError> {
    if options.batch == 0 || options.batch > MAX_BATCH {
        return Err(ExportError::Batch(options.batch));
    }
    if let Some(nms) = options.nms.filter(|nms| ![nms.conf, nms.iou].iter().all(|v| (0.0..=1.0).contains(v)))
    {
        return Err(ExportError::Suppression(nms.conf, nms.iou));
    }
    let header = &weights.header;
    let (height, width) = options.imgsz.unwrap_or((header.imgsz, header.imgsz));
    let graph = decode::append(header.network()?.graph(height, width)?)?;
    let mut weighted = Weighted::new(graph, weights)?.fold_batch_norm()?;
    if options.bytes
        && let Some(infrared) = infrared(&weighted.graph, header)
    {
        weighted = weighted.one_plane(infrared)?;
    }
    let model = proto::ModelProto {
        ir_version: IR_VERSION,
        producer_name: "yf".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(write::graph(&weighted, options, &header.model)?),
        opset_import: vec![proto::OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: metadata::entries(header, &weighted.graph, options),
    };
    Ok(model.encode_to_vec())
}

/// The input that an infrared camera gives: `ir`, or the only one of a network for that camera.
fn infrared(graph: &Graph, header: &Header) -> Option<ValueId> {
    let one_camera = header.modality.is_some_and(|camera| camera.name() == "ir");
    let is_infrared = |name: &str| name == "ir" || (graph.inputs.len() == 1 && one_camera);
    graph.inputs.iter().find(|(name, _)| is_infrared(name)).map(|(_, value)| *value)
}

/// Writes the network of a weights file to `path`: the file is the old one or the new one, whole. Returns its
/// size in bytes.
///
/// # Errors
/// As [`onnx`], and when the file system refuses.
pub fn export_file(weights: &Weights, options: &Options, path: &Path) -> Result<usize, ExportError> {
    let bytes = onnx(weights, options)?;
    durable::write(path, |out| out.write_all(&bytes))
        .map_err(|source| ExportError::Io { path: path.into(), source })?;
    Ok(bytes.len())
}
