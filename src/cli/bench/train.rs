//! `yf bench train`: pairs a second, stage by stage, measured in `yf-train`.

use clap::Args;
use yf_plan::{BenchPlan, Job};

use crate::cli::choices::at_least_one;
use crate::cli::ddp::{self, DdpArgs};
use crate::cli::recipe::RecipeArgs;
use crate::cli::setup::SetupArgs;
use crate::cli::train;
use crate::failure::{Failure, OrArguments};
use crate::libtorch;

const EXAMPLES: &str = "\
Examples:
  yf bench train --data pairs/data.yaml --model mid-n --amp --batch 64
  yf bench train --data pairs/data.yaml --imgsz 320 --device cpu --steps 5 --json";

/// Measure training: pairs a second end to end, by stage, and of the network alone on one batch
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct TrainArgs {
    #[command(flatten)]
    setup: SetupArgs,
    /// Steps that are timed, after the warm-up
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = at_least_one)]
    steps: usize,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ddp: DdpArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// Plans the measurement and becomes `yf-train`, or the launcher of several.
pub fn run(args: TrainArgs) -> Result<(), Failure> {
    let plan = train::plan(args.setup, args.recipe).or_arguments()?;
    let launch = args.ddp.launch(&plan).or_arguments()?;
    train::check_pairs(&plan)?;
    let trainer = libtorch::trainer()?;
    let libtorch = libtorch::find(plan.device.as_ref())?;
    let job = Job::Bench(Box::new(BenchPlan { train: plan, steps: args.steps, json: args.json }));
    Ok(ddp::start(&trainer, &libtorch, &job, launch)?)
}
