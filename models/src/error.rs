//! What can be wrong with a configuration, a size or a weights file.

use std::path::PathBuf;

use crate::graph::Shape;

/// A shape that an operation cannot take.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ShapeError {
    /// Inputs whose other axes differ cannot be joined.
    #[error("cannot concatenate {} along axis {axis}: the other axes differ", shapes(.inputs))]
    Concat {
        /// Axis without the batch.
        axis: usize,
        /// What was to be joined.
        inputs: Vec<Shape>,
    },
    /// The operands do not broadcast or multiply.
    #[error("{op} does not take {} and {}", shape(.left), shape(.right))]
    Operands {
        /// The operation.
        op: &'static str,
        /// First operand.
        left: Shape,
        /// Second operand.
        right: Shape,
    },
    /// One input of a wrong form.
    #[error("{op} does not take {}: {why}", shape(.input))]
    Input {
        /// The operation or block.
        op: String,
        /// What it was given.
        input: Shape,
        /// What it wants.
        why: String,
    },
    /// Wrong or missing arguments of a block.
    #[error("{0}")]
    Arguments(String),
}

/// Everything this crate reports.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No configuration of that name.
    #[error(
        "no model '{name}': known are {known}, each with a scale n, s, m, l or x (mid-n), or the path of a .yaml or .safetensors file"
    )]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// Configurations that ship with yf.
        known: String,
    },
    /// The YAML cannot be read as a network.
    #[error("{origin}: {why}")]
    Config {
        /// File or built-in name, with the line where it is known.
        origin: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// A layer names a block that does not exist.
    #[error("{origin}: layer {layer}: unknown block '{block}'; known blocks are {known}")]
    UnknownBlock {
        /// File or built-in name.
        origin: String,
        /// Index of the layer.
        layer: usize,
        /// The name.
        block: String,
        /// All that exist.
        known: String,
    },
    /// A layer reads itself, a later layer, or one that is not there.
    #[error(
        "{origin}: layer {layer} ({block}) reads layer {from}: a layer reads only layers before it (a cycle, or a wrong 'from')"
    )]
    Source {
        /// File or built-in name.
        origin: String,
        /// Index of the layer.
        layer: usize,
        /// Its block.
        block: String,
        /// The index it asks for, made absolute.
        from: i64,
    },
    /// A block cannot take its inputs.
    #[error("{origin}: layer {layer} ({block}) at input {height}x{width}: {source}")]
    Layer {
        /// File or built-in name.
        origin: String,
        /// Index of the layer.
        layer: usize,
        /// Its block.
        block: String,
        /// Input height.
        height: usize,
        /// Input width.
        width: usize,
        /// What does not fit.
        source: ShapeError,
    },
    /// The picture size is no multiple of the largest stride.
    #[error(
        "image size {height}x{width} is no multiple of {stride}, the network's largest stride: \
         layer {layer} ({block}): {source}; the nearest that fits is {fit_height}x{fit_width}"
    )]
    InputSize {
        /// Index of the first layer that cannot take its inputs.
        layer: usize,
        /// Its block.
        block: String,
        /// What does not fit.
        source: ShapeError,
        /// Input height.
        height: usize,
        /// Input width.
        width: usize,
        /// Largest stride.
        stride: usize,
        /// Nearest height that fits.
        fit_height: usize,
        /// Nearest width that fits.
        fit_width: usize,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Weights of which a network cannot take anything over.
    #[error("weights of {source_model}: {why}")]
    Transplant {
        /// What the weights were trained as.
        source_model: String,
        /// What does not fit, and what would.
        why: String,
    },
    /// A weights file that is not one.
    #[error("{}: {why}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// `CxHxW`, as the tables write shapes.
pub fn shape(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

fn shapes(all: &[Shape]) -> String {
    all.iter().map(|s| shape(s)).collect::<Vec<_>>().join(" and ")
}
