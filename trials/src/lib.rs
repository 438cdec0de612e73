//! Cross-validation: which networks, trained how, are compared on which pairs ([`Experiment`]); what each run found
//! ([`Trial`], [`results`]); and what may be concluded ([`Comparison`], with the [`statistics`] behind it), as a page
//! ([`report`]) with a [`figure`].
//!
//! A *variant* is a network and the way it is trained. A *trial* is one run of a variant: on one fold, with one seed.
//! Who starts the runs is `yf crossval`.

mod comparison;
mod error;
mod experiment;
pub mod figure;
pub mod report;
pub mod results;
pub mod statistics;

pub use comparison::{Alone, Compared, Comparison, Metric};
pub use error::TrialError;
pub use experiment::{Experiment, Variant};
pub use results::{Camera, Score, Trial};
