//! The command line: one file a command. Each holds its arguments, turns them into a plan, and hands the plan to
//! the crate that does the work.

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing::level_filters::LevelFilter;

use crate::failure::Failure;

mod bench;
mod choices;
mod crossval;
mod data;
mod ddp;
mod deployed;
mod engine;
mod export;
mod import;
mod infer;
mod info;
mod recipe;
mod setup;
mod train;
mod triton;
mod val;

const EXAMPLES: &str = "\
Examples:
  yf data synth pairs                       make a synthetic paired data set
  yf data check pairs/data.yaml             every problem of a data set at once
  yf train --data pairs/data.yaml           train the default network, duo-n
  yf import best.pt                         a checkpoint of YOLOFuse or Ultralytics as weights
  yf export --onnx --fp16                   the newest run's best weights as ONNX
  yf infer rgb.jpg ir.jpg                   boxes with the newest model, drawn on both pictures

Exit status: 0 done, 1 the work failed, 2 the arguments were wrong.
Results go to standard output; progress and messages go to standard error.";

/// Train, export and run detectors that see with two eyes: an RGB camera and an infrared one.
#[derive(Debug, Parser)]
#[command(name = "yf", version, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    loudness: Loudness,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, Args)]
struct Loudness {
    /// Say more on standard error; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Messages")]
    verbose: u8,
    /// Say only warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Messages")]
    quiet: bool,
}

impl Loudness {
    fn level(self) -> LevelFilter {
        match (self.quiet, self.verbose) {
            (true, _) => LevelFilter::WARN,
            // One of a distributed run's ranks speaks for all.
            (false, 0) if yf_plan::ranks::is_follower() => LevelFilter::ERROR,
            (false, 0) => LevelFilter::INFO,
            (false, 1) => LevelFilter::DEBUG,
            (false, _) => LevelFilter::TRACE,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Data(data::DataArgs),
    Info(info::InfoArgs),
    Train(Box<train::TrainArgs>),
    Val(val::ValArgs),
    Crossval(crossval::CrossvalArgs),
    Import(import::ImportArgs),
    Export(export::ExportArgs),
    Infer(infer::InferArgs),
    Bench(bench::BenchArgs),
}

/// What was asked for, read but not yet a plan.
pub struct Request {
    cli: Cli,
    given: Given,
}

/// Reads the command line; leaves the process where it cannot be read or asks for help.
pub fn parse() -> Request {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    Request { cli, given: Given::of(&matches) }
}

impl Request {
    /// How much standard error says.
    pub fn level(&self) -> LevelFilter {
        self.cli.loudness.level()
    }

    /// Plans and works.
    pub fn run(self) -> Result<(), Failure> {
        match self.cli.command {
            Command::Data(args) => data::run(args),
            Command::Info(args) => info::run(args),
            Command::Train(args) => train::run(*args, &self.given),
            Command::Val(args) => val::run(args, &self.given),
            Command::Crossval(args) => crossval::run(args),
            Command::Import(args) => import::run(args),
            Command::Export(args) => export::run(args),
            Command::Infer(args) => infer::run(args),
            Command::Bench(args) => bench::run(args),
        }
    }
}

/// The flags of the command that stand on the command line, as opposed to defaults.
pub struct Given(Vec<String>);

impl Given {
    fn of(matches: &ArgMatches) -> Self {
        let mut innermost = matches;
        while let Some((_, command)) = innermost.subcommand() {
            innermost = command;
        }
        let typed = |id: &&str| innermost.value_source(id) == Some(clap::parser::ValueSource::CommandLine);
        let ids = innermost.ids().map(clap::Id::as_str).filter(|id| !id.starts_with(char::is_uppercase));
        Given(ids.filter(typed).map(|id| id.replace('_', "-")).collect())
    }

    /// Whether this flag was given, in long form without dashes.
    fn has(&self, flag: &str) -> bool {
        self.0.iter().any(|given| given == flag)
    }

    /// Flags that were given and are not among `allowed`, in long form without dashes.
    fn other_than(&self, allowed: &[&str]) -> Vec<&str> {
        self.0.iter().map(String::as_str).filter(|flag| !allowed.contains(flag)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn only_what_was_typed_counts_as_given() {
        let matches = Cli::command()
            .try_get_matches_from(["yf", "train", "-v", "--resume", "x", "--cos-lr", "--lr0", "1"]);
        let given = Given::of(&matches.unwrap());
        let mut others = given.other_than(&["resume", "verbose"]);
        others.sort_unstable();
        assert_eq!(others, ["cos-lr", "lr0"]);
    }
}
