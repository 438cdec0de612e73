//! `yf data convert`: published data sets in the layout that yf trains on.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use yf_data::DataError;
use yf_data::convert::{Conversion, Holdout, Layout, Sampling, Summary};

use crate::cli::choices::at_least_one;
use crate::failure::{Failure, OrArguments};
use crate::{output, progress};

const EXAMPLES: &str = "\
Examples:
  yf data convert llvip LLVIP llvip                   links to the pictures, labels, llvip/data.yaml
  yf data convert kaist kaist-cvpr15 kaist --train-every 4
  yf data convert flir FLIR_aligned flir --copy       copies instead of links
  yf data convert m3fd M3FD_Detection m3fd --val 0.3
  yf train --data llvip/data.yaml                     what to do with them (docs/datasets.md)";

/// Problems that are shown.
const SHOWN: usize = 20;

/// Bring a published data set into the layout that yf trains on; the published folder stays as it is
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct ConvertArgs {
    #[command(subcommand)]
    set: Set,
}

#[derive(Debug, Clone, Subcommand)]
enum Set {
    /// LLVIP: visible, infrared, Annotations; one class, person; its test part becomes val
    Llvip(Folders),
    /// KAIST's multispectral pedestrians: set00 to set11; one class, person; sets 6 to 11 become val
    Kaist(KaistArgs),
    /// FLIR ADAS, the aligned version: JPEGImages, Annotations, align_train.txt; person, car, bicycle
    Flir(Folders),
    /// M3FD: Vis, Ir, Annotation; People, Car, Bus, Lamp, Motorcycle, Truck; a share becomes val
    M3fd(M3fdArgs),
}

#[derive(Debug, Clone, Args)]
struct Folders {
    /// The folder that the data set was unpacked to
    #[arg(value_name = "SRC")]
    source: PathBuf,
    /// A folder that is not there yet, or is empty
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Copy the pictures instead of linking to them
    #[arg(long)]
    copy: bool,
    /// Leave broken pairs out, and list them, instead of refusing
    #[arg(long)]
    skip_bad: bool,
}

#[derive(Debug, Clone, Args)]
struct KaistArgs {
    #[command(flatten)]
    folders: Folders,
    /// Take every Nth frame to train on
    #[arg(long, value_name = "N", default_value_t = Sampling::default().train_every, value_parser = at_least_one)]
    train_every: usize,
    /// Take every Nth frame to validate on
    #[arg(long, value_name = "N", default_value_t = Sampling::default().test_every, value_parser = at_least_one)]
    test_every: usize,
}

#[derive(Debug, Clone, Args)]
struct M3fdArgs {
    #[command(flatten)]
    folders: Folders,
    /// Share of the pairs that is validated on
    #[arg(long, value_name = "SHARE", default_value_t = Holdout::default().share, value_parser = share)]
    val: f32,
    /// What is drawn for it: stretches of neighbours, which look alike, or single pairs
    #[arg(long, value_name = "HOW", default_value = "stretches")]
    split: Drawn,
    /// Equal seeds give equal parts
    #[arg(long, value_name = "KEY", default_value_t = Holdout::default().seed)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Drawn {
    Stretches,
    Pairs,
}

/// Reads the published data set, then writes.
pub fn run(args: ConvertArgs) -> Result<(), Failure> {
    let (layout, folders) = match args.set {
        Set::Llvip(folders) => (Layout::Llvip, folders),
        Set::Flir(folders) => (Layout::Flir, folders),
        Set::Kaist(KaistArgs { folders, train_every, test_every }) => {
            (Layout::Kaist(Sampling { train_every, test_every }), folders)
        }
        Set::M3fd(M3fdArgs { folders, val, split, seed }) => {
            let holdout = Holdout { share: val, stretches: split == Drawn::Stretches, seed };
            (Layout::M3fd(holdout), folders)
        }
    };
    let conversion = read(&folders.source, layout).or_arguments()?;
    judge(&conversion, folders.skip_bad)?;
    let summary = conversion.summary();
    let bar = progress::bar(summary.parts.iter().map(|part| part.pairs).sum(), "pairs written");
    let yaml = conversion.write(&folders.out, folders.copy, |written| bar.set_position(written as u64));
    bar.finish_and_clear();
    let yaml = yaml.map_err(|error| match error {
        DataError::Output { .. } => Failure::Arguments(error.into()),
        _ => Failure::Work(error.into()),
    })?;
    say(&summary);
    output::line(yaml.display().to_string())
}

fn read(source: &Path, layout: Layout) -> Result<Conversion, DataError> {
    let bar = progress::bar(0, "annotations read");
    let read = Conversion::read(source, layout, &|done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    read
}

/// Lists what is wrong with single pairs; an error unless they are to be left out.
fn judge(conversion: &Conversion, skip_bad: bool) -> Result<(), Failure> {
    let problems = conversion.problems();
    for problem in problems.iter().take(SHOWN) {
        tracing::warn!("{problem}");
    }
    if problems.len() > SHOWN {
        tracing::warn!("and {} more", problems.len() - SHOWN);
    }
    if problems.is_empty() || skip_bad {
        return Ok(());
    }
    let (count, s) = (problems.len(), if problems.len() == 1 { "" } else { "s" });
    Err(anyhow::anyhow!("{count} problem{s}, nothing is written; leave these pairs out with --skip-bad")
        .into())
}

fn say(summary: &Summary) {
    for (name, part) in ["train", "val"].iter().zip(summary.parts) {
        let (pairs, boxes, background) = (part.pairs, part.boxes, part.background);
        tracing::info!("{name}: {pairs} pairs, {boxes} boxes, {background} pairs without objects");
    }
    let counts = |counts: &mut dyn Iterator<Item = String>| counts.collect::<Vec<_>>().join(", ");
    let kept = &mut summary.boxes_by_class.iter().map(|(name, count)| format!("{count} {name}"));
    tracing::info!("boxes: {}", counts(kept));
    if !summary.left_out.is_empty() {
        let left_out = &mut summary.left_out.iter().map(|(name, count)| format!("{count} {name}"));
        tracing::info!("left out: {}", counts(left_out));
    }
    if summary.clipped > 0 {
        tracing::info!("{} boxes reached out of the picture and were cut at its edge", summary.clipped);
    }
}

/// A share that leaves something on both sides.
fn share(text: &str) -> Result<f32, String> {
    let inside = |share: &f32| *share > 0.0 && *share < 1.0;
    text.parse().ok().filter(inside).ok_or_else(|| "a number between 0 and 1 is wanted".to_owned())
}
