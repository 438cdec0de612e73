//! `yf data check`: every problem of a data set at once; and the same check before a training.

use std::path::PathBuf;

use clap::Args;
use yf_data::check::{self, Report};
use yf_data::dataset::{DataSet, Split};
use yf_data::decode::Limits;

use crate::cli::setup;
use crate::failure::{Failure, OrArguments};
use crate::{output, progress};

const EXAMPLES: &str = "\
Examples:
  yf data check pairs/data.yaml                       errors end with status 1, warnings with 0
  yf data check pairs/data.yaml --json";

/// Problems that are shown of those that stop a training.
const SHOWN: usize = 20;

/// List every problem of a data set: pictures, pairs, labels
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// The data set's YAML [default: $YF_DATA, else ./data.yaml]
    #[arg(value_name = "YAML")]
    data: Option<PathBuf>,
    /// Print one JSON object: errors, warnings, summary
    #[arg(long)]
    json: bool,
}

/// Checks and prints what was found.
pub fn run(args: CheckArgs) -> Result<(), Failure> {
    let yaml = setup::data_yaml(args.data.as_deref()).or_arguments()?;
    let set = DataSet::open(args.data.unwrap_or(yaml)).or_arguments()?;
    let report = check_all(&set);
    if args.json {
        output::json(&report)?;
    } else {
        print(&report)?;
    }
    if report.errors.is_empty() { Ok(()) } else { Err(Failure::BadResult) }
}

fn check_all(set: &DataSet) -> Report {
    let bar = progress::bar(0, "pairs checked");
    let report = check::check(set, &Limits::default(), &|done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    report
}

fn print(report: &Report) -> Result<(), Failure> {
    for problem in &report.errors {
        output::line(format!("error: {problem}"))?;
    }
    for problem in &report.warnings {
        output::line(format!("warning: {problem}"))?;
    }
    for (split, part) in &report.summary.splits {
        output::line(format!(
            "{split:<6}{:>8} pairs{:>9} boxes{:>8} pairs without objects",
            part.pairs, part.boxes, part.background
        ))?;
    }
    for (name, boxes) in &report.summary.boxes_by_class {
        output::line(format!("{boxes:>9} {name}"))?;
    }
    output::line(format!(
        "{}, {}",
        count(report.errors.len(), "error"),
        count(report.warnings.len(), "warning")
    ))
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Refuses a data set with broken pairs among those that a training reads.
pub fn before_training(set: &DataSet) -> Result<(), Failure> {
    let mut problems = Vec::new();
    for split in [Split::Train, Split::Val] {
        let pairs = set.pairs(split).or_arguments()?;
        let bar = progress::bar(pairs.len(), "pairs checked");
        let progress = |done, _| bar.set_position(done as u64);
        problems.extend(check::check_pairs(&pairs, set.classes(), &Limits::default(), &progress).1);
        bar.finish_and_clear();
    }
    if problems.is_empty() {
        return Ok(());
    }
    for problem in problems.iter().take(SHOWN) {
        tracing::warn!("{problem}");
    }
    if problems.len() > SHOWN {
        tracing::warn!("and {} more", problems.len() - SHOWN);
    }
    Err(anyhow::anyhow!(
        "{}: {}; mend them (`yf data check` lists all), or leave the pairs out with --skip-bad",
        set.yaml().display(),
        count(problems.len(), "problem")
    )
    .into())
}
