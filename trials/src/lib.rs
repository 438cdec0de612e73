//! Cross-validation: which networks, trained how, are compared on which pairs ([`Experiment`]); what each run found
//! ([`Trial`], [`results`]).
//!
//! A *variant* is a network and the way it is trained. A *trial* is one run of a variant: on one fold, with one seed.
//! Who starts the runs is `yf crossval`.

mod error;
mod experiment;
pub mod results;

pub use error::TrialError;
pub use experiment::{Experiment, Variant};
pub use results::{Camera, Score, Trial};
