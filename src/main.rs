//! `yf`: the command line. Arguments become a validated plan, and only then does a crate do the work.

use std::process::ExitCode;

use yf_data::memory::keep_freed_memory;

mod cli;
mod failure;
mod libtorch;
mod output;
mod progress;
mod ranks;
mod runs;
mod trials;

fn main() -> ExitCode {
    keep_freed_memory();
    let command = cli::parse();
    yf_plan::log::start(command.level());
    match command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
