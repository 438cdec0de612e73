//! The trainer on libtorch, and the program that `yf train` starts.
//!
//! The rooms by their jobs: [`setup`] opens what a plan names; [`feed`] makes batches of pairs ([`augment`]);
//! [`learner`] turns batches into gradients ([`loss`], as CUDA graphs: [`recording`]) and steps ([`schedule`], [`optimizer`], [`ema`]);
//! [`memory`] finds batches that fit; [`validator`] measures; [`checkpoint`] and [`records`] write down;
//! [`closing`] says at the end what each camera is worth; [`trainer`] tells the whole story, in a folder (`folder.rs`),
//! until it is interrupted (`interrupt.rs`).
//! A run of several GPUs is one of several such programs: [`distributed`].
//! [`torch`] is the only door to libtorch.

pub mod augment;
pub mod bench;
pub mod checkpoint;
pub mod closing;
pub mod distributed;
pub mod ema;
mod error;
pub mod feed;
pub mod flight;
mod folder;
mod interrupt;
pub mod learner;
pub mod loss;
pub mod memory;
pub mod optimizer;
mod output;
pub mod recording;
pub mod records;
pub mod schedule;
pub mod setup;
pub mod targets;
pub mod torch;
pub mod trainer;
pub mod validate;
pub mod validator;

pub use error::{Error, advice};
