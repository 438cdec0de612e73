//! What can go wrong while pictures are augmented.

use crate::torch::TorchError;

/// Error of the augmentation.
#[derive(Debug, thiserror::Error)]
pub enum AugmentError {
    /// A pair without pixels, or whose pictures are not of one size.
    #[error(
        "pair {index} of the data set: RGB of {}x{} and infrared of {}x{} pixels; \
         both must have pixels and come in the RGB picture's frame", rgb.0, rgb.1, ir.0, ir.1
    )]
    Source {
        /// Index of the pair in its set.
        index: usize,
        /// Width and height of the RGB picture.
        rgb: (usize, usize),
        /// Width and height of the infrared picture.
        ir: (usize, usize),
    },
    /// The source pictures of one batch have more pixels than a 30-bit index reaches.
    #[error(
        "the pictures of one batch have {pixels} pixels, at most {limit} can be addressed; resize them to the training size or take a smaller batch"
    )]
    TooLarge {
        /// Pixels of the batch's source windows.
        pixels: usize,
        /// Most pixels that can be addressed.
        limit: usize,
    },
    /// libtorch refused.
    #[error("while augmenting a batch: {0}")]
    Torch(TorchError),
}

/// Everything that counts as an error of libtorch.
impl<E> From<E> for AugmentError
where
    TorchError: From<E>,
{
    fn from(error: E) -> Self {
        AugmentError::Torch(error.into())
    }
}
