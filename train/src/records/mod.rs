//! What a run tells while it goes and leaves behind: progress, `results.csv`, plots, sheets of pictures, tables.

mod error;
pub mod pictures;
pub mod plots;
pub mod progress;
pub mod results;

pub use error::RecordError;
