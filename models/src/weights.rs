//! The weights file: safetensors whose header rebuilds the network.
//!
//! The header's `__metadata__` holds one key, `yf`, with a JSON [`Header`]. Tensors carry the names of the
//! graph's parameters. Reading executes nothing, and sizes are checked before memory is taken.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::graph::{Graph, Init, Param, Role, Shape};
use crate::{Config, ModelError, Network, durable};

/// Key of [`Header`] in the file's metadata.
pub const HEADER_KEY: &str = "yf";

/// One of the two cameras.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Camera {
    /// The visible one.
    Rgb,
    /// The infrared one.
    Ir,
}

impl Camera {
    /// `rgb` or `ir`, as headers and metadata name it.
    pub fn name(self) -> &'static str {
        match self {
            Camera::Rgb => "rgb",
            Camera::Ir => "ir",
        }
    }
}

/// What rebuilds the network around its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The model as it was asked for, e.g. `mid-n`.
    pub model: String,
    /// The configuration, as YAML.
    pub config: String,
    /// The scale within it, e.g. `n`.
    pub scale: String,
    /// Class names in the order of their indices.
    pub names: Vec<String>,
    /// Side of the square training pictures.
    pub imgsz: usize,
    /// Version of yf that wrote the file.
    pub version: String,
    /// Epochs trained; 0 for a fresh network.
    #[serde(default)]
    pub epoch: usize,
    /// The camera that a one-stream network was trained on; none for two streams, or where nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modality: Option<Camera>,
    /// What the trainer keeps to go on with the run; this crate does not look into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<serde_json::Value>,
}

impl Header {
    /// A header for a network that is about to be trained.
    pub fn new(network: &Network, names: Vec<String>, imgsz: usize) -> Self {
        Header {
            model: network.name().to_owned(),
            config: network.config().yaml().to_owned(),
            scale: network.scale().to_owned(),
            names,
            imgsz,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: 0,
            modality: None,
            training: None,
        }
    }

    /// The network the file was written for.
    ///
    /// # Errors
    /// When the embedded configuration is damaged.
    pub fn network(&self) -> Result<Network, ModelError> {
        let config = Config::parse(&self.config, &self.model)?;
        Network::new(config, &self.scale, self.names.len())
    }
}

/// One tensor in single precision, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Dimensions.
    pub shape: Shape,
    /// Elements.
    pub data: Vec<f32>,
}

/// A network's weights and what rebuilds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// What rebuilds the network.
    pub header: Header,
    /// Parameters and buffers by name.
    pub tensors: BTreeMap<String, Array>,
}

impl Weights {
    /// Weights that nobody trained, the same at every call: for measuring how fast a network is, which its weights
    /// hardly change. Classes are called `class0`, `class1`, ...
    ///
    /// # Errors
    /// When the network does not take pictures of `imgsz` x `imgsz`.
    pub fn untrained(network: &Network, imgsz: usize) -> Result<Self, ModelError> {
        let graph = network.graph(imgsz, imgsz)?;
        let mut state = 1u32;
        let mut uniform = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state as f32 / u32::MAX as f32 * 2.0 - 1.0
        };
        let mut elements = |param: &Param| -> Vec<f32> {
            let count = param.shape.iter().product();
            match param.init {
                // Wider than a training begins: without the batch's statistics values would vanish with depth.
                Init::Uniform { fan_in } => {
                    (0..count).map(|_| uniform() * (3.0 / fan_in as f32).sqrt()).collect()
                }
                Init::Fill(value) => vec![value; count],
                Init::Arange => (0..count).map(|i| i as f32).collect(),
            }
        };
        let array = |p: &Param| (p.name.clone(), Array { shape: p.shape.clone(), data: elements(p) });
        let tensors = graph.params.iter().map(array).collect();
        let names = (0..network.classes()).map(|i| format!("class{i}")).collect();
        Ok(Weights { header: Header::new(network, names, imgsz), tensors })
    }

    /// Reads a weights file; half-precision tensors are widened.
    ///
    /// # Errors
    /// When the file cannot be read, is no safetensors file, or was not written by yf.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let bytes = std::fs::read(path).map_err(|source| ModelError::Io { path: path.into(), source })?;
        Self::from_bytes(&bytes).map_err(|why| ModelError::Weights { path: path.into(), why })
    }

    /// Reads a weights file from memory. The error says what is wrong with it.
    ///
    /// # Errors
    /// As [`Weights::read`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let junk = |e: &dyn std::fmt::Display| {
            format!("not a safetensors file ({e}); a weights file is written by `yf train`")
        };
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| junk(&e))?;
        let header = metadata
            .metadata()
            .as_ref()
            .and_then(|m| m.get(HEADER_KEY))
            .ok_or("a safetensors file without yf's header: it was not written by yf")?;
        let header: Header =
            serde_json::from_str(header).map_err(|e| format!("yf's header is damaged: {e}"))?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| junk(&e))?;
        let tensors = file
            .iter()
            .map(|(name, view)| Ok((name.to_owned(), widen(name, &view)?)))
            .collect::<Result<_, String>>()?;
        Ok(Weights { header, tensors })
    }

    /// Writes the file durably (see [`durable::write`]).
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write(&self, path: &Path) -> Result<(), ModelError> {
        let io = |source| ModelError::Io { path: path.into(), source };
        let bytes = self.to_bytes().map_err(|e| io(std::io::Error::other(e)))?;
        durable::write(path, |out| out.write_all(&bytes)).map_err(io)
    }

    fn to_bytes(&self) -> Result<Vec<u8>, safetensors::SafeTensorError> {
        let raw: Vec<(&String, &Shape, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, a)| (name, &a.shape, a.data.iter().flat_map(|x| x.to_le_bytes()).collect()))
            .collect();
        let views = raw
            .iter()
            .map(|(name, shape, bytes)| {
                Ok((name.as_str(), TensorView::new(Dtype::F32, (*shape).clone(), bytes)?))
            })
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
        let header = serde_json::to_string(&self.header).unwrap_or_default();
        safetensors::serialize(views, Some(HashMap::from([(HEADER_KEY.to_owned(), header)])))
    }

    /// Checks that every parameter and buffer of `graph` is here with its shape, and can be computed with.
    ///
    /// # Errors
    /// The first that is missing, of another shape, not finite, or a negative variance, by name.
    pub fn check(&self, graph: &Graph) -> Result<(), String> {
        for param in &graph.params {
            let fault = match self.tensors.get(&param.name) {
                Some(array) => fault(param, array),
                None if param.role == Role::Frozen => None,
                None => Some("is missing".to_owned()),
            };
            if let Some(fault) = fault {
                return Err(format!("{} {fault}", param.name));
            }
        }
        Ok(())
    }
}

/// What a network cannot compute with.
fn fault(param: &Param, array: &Array) -> Option<String> {
    if array.shape != param.shape {
        return Some(format!("has shape {:?}, the network wants {:?}", array.shape, param.shape));
    }
    let elements: usize = param.shape.iter().product();
    if array.data.len() != elements {
        return Some(format!("has {} elements, its shape wants {elements}", array.data.len()));
    }
    if let Some(at) = array.data.iter().position(|x| !x.is_finite()) {
        let value = array.data[at];
        return Some(format!("holds {value} at element {at}: the training diverged, or the file is damaged"));
    }
    if param.name.ends_with(".running_var") && array.data.iter().any(|&x| x < 0.0) {
        return Some("holds a negative variance".to_owned());
    }
    None
}

fn widen(name: &str, view: &TensorView<'_>) -> Result<Array, String> {
    let bytes = view.data();
    let data = match view.dtype() {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::BF16 => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        other => return Err(format!("tensor {name} has the type {other:?}; weights are F32, F16 or BF16")),
    };
    Ok(Array { shape: view.shape().to_vec(), data })
}
