//! `yf data`: make a synthetic data set, convert a published one, check one's own.

use clap::{Args, Subcommand};

use crate::failure::Failure;

pub mod check;
mod convert;
mod synth;

/// Make a synthetic paired data set, convert a published one, or check one's own
#[derive(Debug, Clone, Args)]
pub struct DataArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    Synth(synth::SynthArgs),
    Check(check::CheckArgs),
    Convert(convert::ConvertArgs),
}

/// Runs the subcommand that was asked for.
pub fn run(args: DataArgs) -> Result<(), Failure> {
    match args.what {
        What::Synth(args) => synth::run(args),
        What::Check(args) => check::run(args),
        What::Convert(args) => convert::run(args),
    }
}
