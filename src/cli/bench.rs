//! `yf bench`: where the time goes, in training and on a deployment host.

use clap::{Args, Subcommand};
use yf_data::dataset::DataSet;
use yf_plan::{BenchPlan, Job};

use super::choices::at_least_one;
use super::data::check;
use super::recipe::RecipeArgs;
use super::setup::SetupArgs;
use super::train;
use crate::failure::{Failure, OrArguments};
use crate::libtorch;

const TRAIN_EXAMPLES: &str = "\
Examples:
  yf bench train --data pairs/data.yaml --model mid-n --amp --batch 64
  yf bench train --data pairs/data.yaml --imgsz 320 --device cpu --steps 5 --json";

/// Measure speed, stage by stage
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Pairs a second of training, end to end, by stage, and against the limit of tensors that stay on the device
    #[command(after_help = TRAIN_EXAMPLES)]
    Train(Box<TrainArgs>),
}

#[derive(Debug, Clone, Args)]
struct TrainArgs {
    #[command(flatten)]
    setup: SetupArgs,
    /// Steps that are timed, after the warm-up
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = at_least_one)]
    steps: usize,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// Runs the benchmark that was asked for.
pub fn run(args: BenchArgs) -> Result<(), Failure> {
    match args.what {
        What::Train(args) => train(*args),
    }
}

fn train(args: TrainArgs) -> Result<(), Failure> {
    let plan = train::plan(args.setup, args.recipe).or_arguments()?;
    check::before_training(&DataSet::open(&plan.data)?, plan.skip_bad)?;
    let trainer = libtorch::trainer()?;
    let libtorch = libtorch::find(plan.device.as_ref())?;
    let job = Job::Bench(Box::new(BenchPlan { train: plan, steps: args.steps, json: args.json }));
    Err(libtorch::start(&trainer, &libtorch, &job).into())
}
