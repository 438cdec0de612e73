//! How long a pair takes from its files to what training and deployment read: milliseconds of one thread, the fastest
//! of several rounds, so that another program's load shows less.
//!
//! `cargo run --release -p yf-data --example decode_speed -- [WIDTHxHEIGHT] [SIDE]`: synthetic pairs of that size
//! (1280x1024), brought to SIDE (640).

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use yf_data::DataError;
use yf_data::dataset::{DataSet, Split};
use yf_data::decode::{
    Limits, read_ir, read_ir_within, read_pair_to_fit, read_pair_within, read_rgb, read_rgb_within,
};
use yf_data::letterbox::{Letterbox, write_ir, write_rgb};
use yf_data::loader::Sample;
use yf_data::synth::{SynthPlan, synthesise};

const PAIRS: usize = 12;
const ROUNDS: usize = 12;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let size = arguments.next().unwrap_or_else(|| "1280x1024".to_owned());
    let (width, height) = size.split_once('x').ok_or("a size is WIDTHxHEIGHT")?;
    let size = (width.parse()?, height.parse()?);
    let side: usize = arguments.next().map_or(Ok(640), |side| side.parse())?;

    let folder = tempfile::tempdir()?;
    let plan = SynthPlan { pairs: PAIRS, size, ..SynthPlan::default() };
    let report = synthesise(&folder.path().join("pairs"), &plan, |_| ())?;
    let pairs = DataSet::open(&report.yaml)?.pairs(Split::Train)?;
    println!("{width}x{height} to {side}, {} kB a pair; ms a pair", report.bytes / 1000 / PAIRS as u64);

    let limits = Limits::default();
    let within = (side, side);
    stage("RGB, whole", &pairs, |files| read_rgb(&files.rgb, &limits))?;
    stage("infrared, whole", &pairs, |files| read_ir(&files.ir, &limits))?;
    stage("RGB, no larger than needed", &pairs, |files| read_rgb_within(&files.rgb, within, &limits))?;
    stage("infrared, no larger than needed", &pairs, |files| read_ir_within(&files.ir, within, &limits))?;
    stage("training: fitted", &pairs, |files| read_pair_to_fit(files, side, &limits))?;
    stage("training: fitted, as a sample", &pairs, |files| {
        let (pair, source) = read_pair_to_fit(files, side, &limits)?;
        Ok(Sample::new(&pair, source))
    })?;
    stage("deployment: both at once", &pairs, |files| read_pair_within(files, within, &limits))?;
    let decoded = pairs.iter().map(|files| read_pair_within(files, within, &limits));
    let decoded = decoded.collect::<Result<Vec<_>, DataError>>()?;
    let mut planes = (vec![0.0; 3 * side * side], vec![0.0; 3 * side * side]);
    let mut framed = (Vec::new(), Vec::new());
    stage("deployment: letterbox", &decoded, |(rgb, ir, source)| {
        let letterbox = Letterbox::new(*source, within);
        letterbox.frame_into(rgb, &mut framed.0);
        letterbox.frame_into(ir, &mut framed.1);
        Ok(())
    })?;
    stage("deployment: planes of floats", &decoded, |_| {
        write_rgb(&framed.0, &mut planes.0);
        write_ir(&framed.1, &mut planes.1);
        Ok(())
    })?;
    Ok(())
}

/// Prints the mean over `items` of the fastest of several rounds.
fn stage<T, R>(
    name: &str,
    items: &[T],
    mut work: impl FnMut(&T) -> Result<R, DataError>,
) -> Result<(), DataError> {
    let mut best = vec![f64::INFINITY; items.len()];
    for _ in 0..ROUNDS {
        for (item, best) in items.iter().zip(&mut best) {
            let started = Instant::now();
            black_box(work(item)?);
            *best = best.min(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    println!("{name:<34}{:7.2}", best.iter().sum::<f64>() / best.len() as f64);
    Ok(())
}
