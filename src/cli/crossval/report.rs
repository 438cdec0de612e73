//! `yf crossval report`: what the runs say together, as a page and a figure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use yf_models::durable;
use yf_trials::{Comparison, Trial, figure, report, results};

use crate::failure::{Failure, OrArguments};
use crate::output;

const EXAMPLES: &str = "\
Examples:
  yf crossval report runs/crossval/fusion/results.jsonl --against ir-only
  yf crossval report results.jsonl --against ir-coco --only duo-coco,rgb-coco
  yf crossval report half1.jsonl half2.jsonl -o docs/fusion      what two machines found

The page says which difference is beyond chance: paired by fold and seed, with the 95 % interval of Student's t over
the folds, and the same corrected for training sets that overlap.";

/// Tables and a figure of results: scores, differences to a baseline with intervals, one camera dead
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct ReportArgs {
    /// Results of `yf crossval run`
    #[arg(value_name = "RESULTS", required = true)]
    results: Vec<PathBuf>,
    /// The variant that others are compared with [default: the best for one camera]
    #[arg(long, value_name = "NAME")]
    against: Option<String>,
    /// Only these variants, and the one that they are compared with
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,
    /// Folder for report.md and report.png [default: that of the first results]
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Writes the page and the figure, and prints the page.
pub fn run(args: &ReportArgs) -> Result<(), Failure> {
    let mut trials: Vec<Trial> = Vec::new();
    for path in &args.results {
        trials.extend(results::read(path).or_arguments()?);
    }
    let trials = chosen(trials, args).or_arguments()?;
    let comparison = Comparison::new(&trials, args.against.as_deref()).or_arguments()?;
    let beside = args.results[0].parent().unwrap_or(Path::new(""));
    let folder = args.out.as_deref().unwrap_or(beside);
    output::line(write(&comparison, folder)?.trim_end())
}

/// The trials of the variants that were asked for, or all.
fn chosen(trials: Vec<Trial>, args: &ReportArgs) -> Result<Vec<Trial>> {
    let names: BTreeSet<&str> = trials.iter().map(|trial| trial.variant.as_str()).collect();
    if let Some(missing) = args.only.iter().find(|name| !names.contains(name.as_str())) {
        let names: Vec<&str> = names.into_iter().collect();
        bail!("--only {missing}: there is no such variant; there are {}", names.join(", "));
    }
    let wanted = |name: &String| args.only.contains(name) || args.against.as_ref() == Some(name);
    Ok(trials.into_iter().filter(|trial| args.only.is_empty() || wanted(&trial.variant)).collect())
}

/// Writes `report.md` and `report.png` into a folder and returns the page.
pub fn write(comparison: &Comparison, folder: &Path) -> Result<String, Failure> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        durable::write(&path, |out| out.write_all(bytes))
            .with_context(|| format!("cannot write {}", path.display()))
    };
    let figure = figure::png(comparison)?;
    let page = report::markdown(comparison, figure.as_ref().map(|_| "report.png"));
    if let Some(png) = figure {
        file("report.png", &png)?;
    }
    file("report.md", page.as_bytes())?;
    Ok(page)
}
