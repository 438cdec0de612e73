//! `yf data synth`: a synthetic paired data set.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use yf_data::DataError;
use yf_data::synth::{self, SynthPlan};

use crate::failure::Failure;
use crate::{output, progress};

const EXAMPLES: &str = "\
Examples:
  yf data synth pairs                                 200 pairs of 1280x1024
  yf data synth pairs --pairs 64 --size 640x512 --seed 7
  yf train --data pairs/data.yaml                     what to do with them";

/// Write a synthetic paired data set with its data.yaml: some objects only the infrared camera sees, some only RGB
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct SynthArgs {
    /// A folder that is not there yet, or is empty
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Number of pairs; a fifth of them is for validation
    #[arg(long, value_name = "N", default_value_t = SynthPlan::default().pairs)]
    pairs: usize,
    /// Width and height of the pictures
    #[arg(long, value_name = "WxH", default_value = "1280x1024", value_parser = size)]
    size: (usize, usize),
    /// Equal seeds give equal data sets
    #[arg(long, value_name = "KEY", default_value_t = SynthPlan::default().seed)]
    seed: u64,
}

/// Plans the data set and writes it.
pub fn run(args: SynthArgs) -> Result<(), Failure> {
    let plan = SynthPlan { pairs: args.pairs, size: args.size, seed: args.seed };
    let bar = progress::bar(plan.pairs, "pairs written");
    let report = synth::synthesise(&args.out, &plan, |written| bar.set_position(written as u64));
    bar.finish_and_clear();
    let report = report.map_err(|error| match error {
        DataError::Output { .. } => Failure::Arguments(error.into()),
        _ => Failure::Work(error.into()),
    })?;
    tracing::info!(
        "{} pairs to train on, {} to validate on, {:.1} MB",
        report.pairs.0,
        report.pairs.1,
        report.bytes as f64 / 1e6
    );
    output::line(report.yaml.display().to_string())
}

/// `1280x1024`: width, then height.
fn size(text: &str) -> Result<(usize, usize)> {
    let sides = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    let Some(size) = sides else { bail!("a size is written WIDTHxHEIGHT, like 1280x1024") };
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_width_by_height() {
        assert_eq!(size("1280x1024").unwrap(), (1280, 1024));
        for wrong in ["", "640", "x", "640x", "-1x2", "640X512x3"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
