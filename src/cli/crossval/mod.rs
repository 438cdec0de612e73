//! `yf crossval`: which network, trained how, is better, and how sure that is.

use clap::{Args, Subcommand};

use crate::failure::Failure;

mod report;
mod run;

/// Compare networks and recipes on folds of a data set
#[derive(Debug, Clone, Args)]
pub struct CrossvalArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    Run(run::RunArgs),
    Report(report::ReportArgs),
}

/// Runs the command that was asked for.
pub fn run(args: CrossvalArgs) -> Result<(), Failure> {
    match args.what {
        What::Run(args) => run::run(&args),
        What::Report(args) => report::run(&args),
    }
}
