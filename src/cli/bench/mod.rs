//! `yf bench`: where the time goes, on a deployment host and in training.

use clap::{Args, Subcommand};

use crate::failure::Failure;

mod infer;
mod train;

/// Measure speed, stage by stage
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    Infer(infer::InferArgs),
    Train(Box<train::TrainArgs>),
}

/// Runs the benchmark that was asked for.
pub fn run(args: BenchArgs) -> Result<(), Failure> {
    match args.what {
        What::Infer(args) => infer::run(args),
        What::Train(args) => train::run(*args),
    }
}
