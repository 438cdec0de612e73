//! A graph and its weights become ONNX, fp32 or fp16.
//!
//! ```text
//! Weights -> Graph (yf-models) -> decoding appended -> batch norm folded -> nodes and initializers -> bytes
//! ```
//!
//! Inputs are `rgb` and `ir` (or `images`), float32 `[N, 3, H, W]` in 0..1. The output `output0` is float32
//! `[N, 4 + classes, anchors]`: cx, cy, w, h in input pixels, then the class scores after the sigmoid.

mod error;
mod fold;
mod initializers;
mod metadata;
mod precision;
mod proto;
mod write;

use std::path::{Path, PathBuf};

use prost::Message;
use yf_models::{Weights, decode, durable};

pub use error::ExportError;
use fold::Weighted;

/// ONNX operator set of the files: the oldest with everything needed, so that most runtimes read it.
pub const OPSET: i64 = 17;
/// Version of the file format, the one that goes with [`OPSET`].
pub const IR_VERSION: i64 = 8;
/// More pictures a batch are a mistake.
pub const MAX_BATCH: usize = 4096;

/// How a network is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Layers in half precision; inputs, the decoding of boxes and the output stay single.
    pub fp16: bool,
    /// Any batch size at run time, instead of [`batch`](Options::batch).
    pub dynamic: bool,
    /// Height and width of the pictures, multiples of the largest stride; `None` for the training's.
    pub imgsz: Option<(usize, usize)>,
    /// Pictures a batch, at least 1; with `dynamic` only a hint in the metadata.
    pub batch: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { fp16: false, dynamic: false, imgsz: None, batch: 1 }
    }
}

impl Options {
    /// Where an export goes unless told otherwise: `best.onnx` or `best.fp16.onnx` beside `best.safetensors`.
    pub fn default_path(&self, weights: &Path) -> PathBuf {
        weights.with_extension(if self.fp16 { "fp16.onnx" } else { "onnx" })
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
    let header = &weights.header;
    let (height, width) = options.imgsz.unwrap_or((header.imgsz, header.imgsz));
    let graph = decode::append(header.network()?.graph(height, width)?)?;
    let weighted = Weighted::new(graph, weights)?.fold_batch_norm()?;
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
