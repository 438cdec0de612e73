//! What can be wrong with a checkpoint.

use std::path::PathBuf;

use crate::found::Found;

/// What is wrong, and with which file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", path.display())]
pub struct ImportError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file system's error.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A file of another kind, or one that holds no network.
    #[error("{0}")]
    Form(String),
    /// The zip archive is damaged, or made to deceive.
    #[error("the zip archive cannot be read: {0}")]
    Archive(String),
    /// The pickle is damaged, or uses what no checkpoint needs.
    #[error("the pickle cannot be read, at byte {offset}: {why}")]
    Pickle {
        /// Where the instruction stands.
        offset: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The file asks for a function to be called.
    #[error(
        "the file wants {callee} to be called (byte {offset} of its pickle), and yf calls nothing that a file names. \
         If you do not know why it is there, load this file with no other program either; of a network you trust, \
         save the state_dict alone"
    )]
    Call {
        /// The function, e.g. `posix.system`.
        callee: String,
        /// Where the instruction stands.
        offset: usize,
    },
    /// A part is larger than the limits allow.
    #[error("more than {limit} {what}: too large to be a checkpoint of a detector")]
    TooLarge {
        /// What there is too much of.
        what: String,
        /// How much is allowed.
        limit: u64,
    },
    /// A tensor that cannot be taken.
    #[error("tensor {name}: {why}")]
    Tensor {
        /// Its name in the network.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Its tensors are not those of the network that it is said to be.
    #[error("its tensors are not those of {model}: {why}")]
    Misfit {
        /// The network.
        model: String,
        /// The first difference.
        why: String,
    },
    /// Its tensors are those of a network of yf, and its own configuration uses them otherwise.
    #[error(
        "its tensors are those of {model}, but its own configuration wires them otherwise: layer {layer} is \
         {here} here, {there} there. Say which network it is, by the configuration it was trained with (--model)"
    )]
    Wiring {
        /// The network of yf.
        model: String,
        /// The first layer that differs.
        layer: usize,
        /// The layer in the checkpoint's configuration.
        here: String,
        /// The layer in yf's.
        there: String,
    },
    /// The file was read, and is no network that yf has.
    #[error("{0}")]
    Unknown(Box<Found>),
}

impl Fault {
    pub(crate) fn at(self, path: &std::path::Path) -> ImportError {
        ImportError { path: path.to_owned(), fault: self }
    }
}
