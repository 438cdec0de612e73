//! What can stop a run.

use std::any::Any;
use std::path::PathBuf;

use yf_data::DataError;
use yf_models::ModelError;

use crate::loss::TargetsError;
use crate::records::RecordError;
use crate::torch::TorchError;

/// Everything the trainer reports.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data set or one of its files.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network or a weights file.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Weights to start from.
    #[error(transparent)]
    Start(#[from] yf_import::ImportError),
    /// libtorch.
    #[error(transparent)]
    Torch(#[from] TorchError),
    /// A record of the run.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A label that no loss can be computed against.
    #[error(transparent)]
    Targets(#[from] TargetsError),
    /// A file of the run.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A checkpoint that cannot be gone on with.
    #[error("{}: {why}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The loss is not finite, again and again.
    #[error(
        "epoch {epoch}, batch {batch}: the {part} loss is {value} in {times} batches in a row, at a learning rate of {lr:.2e}{scale}. \
         {kept}. Lower --lr0 or lengthen --warmup-epochs{hint}, and look at the labels with `yf data check`"
    )]
    NotFinite {
        /// Epoch, from 1.
        epoch: usize,
        /// Batch within it, from 1.
        batch: usize,
        /// The first part of the loss that is not finite.
        part: &'static str,
        /// Its value.
        value: f64,
        /// How often in a row.
        times: usize,
        /// Learning rate of the weights.
        lr: f64,
        /// The loss scale, where there is one.
        scale: String,
        /// What is left of the run.
        kept: String,
        /// What else to try.
        hint: &'static str,
    },
    /// What a rank's environment says makes no sense.
    #[error("the environment of this rank: {0}")]
    Environment(String),
    /// A batch that does not fit into the memory of this rank.
    #[error("a batch of {batch} does not fit ({why}): give a smaller --batch")]
    BatchTooLarge {
        /// Pairs of all ranks.
        batch: usize,
        /// What libtorch says.
        why: String,
    },
    /// Another rank of the run failed.
    #[error("{0}")]
    Rank(String),
    /// Anything else, said in full.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// What a panic said, which is libtorch's message where tch panics, without its stack trace.
    pub fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("an internal error");
        let useful = text.split_once("Torch(\"").map_or(text, |(_, message)| message);
        let line = useful.lines().next().unwrap_or(useful);
        Error::Other(line.split("\\n").next().unwrap_or(line).to_owned())
    }

    /// An error of the file system at `path`.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, source }
    }
}

/// What to do about an error of libtorch whose words do not tell.
pub fn advice(said: &str) -> Option<&'static str> {
    let kernel_failed = ["CUDNN_STATUS_EXECUTION_FAILED", "misaligned address"];
    kernel_failed.iter().any(|sign| said.contains(sign)).then_some(
        "a kernel of cuDNN failed, as some do in fp16 where a convolution has a number of channels that is no multiple of \
         8: give the network other widths, or train it without --amp",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_fail_are_explained() {
        for said in [
            "libtorch: Internal torch error: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED_CUDART",
            "libtorch: Internal torch error: CUDA error: misaligned address",
        ] {
            assert!(advice(said).is_some_and(|advice| advice.contains("multiple of 8")), "{said}");
        }
        assert_eq!(advice("CUDA out of memory. Tried to allocate 2 GiB."), None);
    }
}
