//! Everything that is wrong with a data set, all at once.
//!
//! Every picture is decoded and every label read, on all cores. **Errors** are what training cannot go on with:
//! files that are missing, damaged or contradict each other. **Warnings** are what is most likely not meant.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::Serialize;

use crate::dataset::{DataSet, PairFiles, Split};
use crate::decode::{Limits, decode_ir, decode_rgb, read_file};
use crate::error::DataError;
use crate::labels::{self, BoxLabel};

/// Hears how many pairs of how many are done. Called from many threads.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file that it is about.
    pub file: PathBuf,
    /// Line in that file, from 1, where there is one.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file.display(), self.message),
            None => write!(f, "{}: {}", self.file.display(), self.message),
        }
    }
}

impl From<&DataError> for Problem {
    fn from(error: &DataError) -> Self {
        let file = error.file().unwrap_or(Path::new("")).to_path_buf();
        Problem { file, line: error.line(), message: error.message() }
    }
}

impl Problem {
    fn new(file: &Path, message: impl Into<String>) -> Self {
        Problem { file: file.to_path_buf(), line: None, message: message.into() }
    }
}

/// What a data set holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The parts that data.yaml names.
    pub splits: BTreeMap<&'static str, SplitSummary>,
    /// Boxes of every class, over all parts, in the order of the names.
    pub boxes_by_class: Vec<(String, usize)>,
}

/// What one part of a data set holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SplitSummary {
    /// Pairs.
    pub pairs: usize,
    /// Pairs without objects, among them those without a label file.
    pub background: usize,
    /// Boxes.
    pub boxes: usize,
}

/// What [`check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What training cannot go on with, sorted by file and line.
    pub errors: Vec<Problem>,
    /// What is most likely not meant, sorted by file and line.
    pub warnings: Vec<Problem>,
    /// What there is.
    pub summary: Summary,
}

/// Checks all parts of a data set. Problems of single files never end the check.
pub fn check(set: &DataSet, limits: &Limits, progress: Progress) -> Report {
    let mut report = Report::default();
    let parts = list_parts(set, &mut report);
    let files = checked_once(&parts, set.classes(), limits, progress);
    for finding in files.values() {
        report.errors.extend(finding.errors.iter().cloned());
        report.warnings.extend(finding.warnings.iter().cloned());
    }
    summarise(set, &parts, &files, &mut report);
    warn_of_leaks(set, &parts, &files, &mut report);
    warn_of_lone_labels(&parts, &mut report);
    for problems in [&mut report.errors, &mut report.warnings] {
        problems.sort();
        problems.dedup();
    }
    report
}

/// Checks some pairs: those that can be trained on, in their order, and what is wrong with the others.
pub fn check_pairs(
    pairs: &[PairFiles],
    classes: usize,
    limits: &Limits,
    progress: Progress,
) -> (Vec<PairFiles>, Vec<Problem>) {
    let findings = inspect_all(pairs, classes, limits, progress);
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (pair, finding) in pairs.iter().zip(findings) {
        if finding.errors.is_empty() {
            good.push(pair.clone());
        }
        bad.extend(finding.errors);
    }
    (good, bad)
}

type Parts = Vec<(Split, Vec<PairFiles>)>;

/// The pairs of every part, and what is wrong with the lists themselves.
fn list_parts(set: &DataSet, report: &mut Report) -> Parts {
    let mut parts = Parts::new();
    for split in Split::ALL {
        if !set.has(split) {
            if split != Split::Test {
                let why = format!("no '{}': training needs both 'train' and 'val'", split.name());
                report.warnings.push(Problem::new(set.yaml(), why));
            }
            continue;
        }
        match set.pairs(split) {
            Ok(pairs) => parts.push((split, pairs)),
            Err(error) => report.errors.push(Problem::from(&error)),
        }
        for lone in set.lone_infrared(split).unwrap_or_default() {
            report.errors.push(Problem::new(&lone, "no RGB picture belongs to this infrared picture"));
        }
    }
    for (index, name) in set.names().iter().enumerate() {
        if set.names()[..index].contains(name) {
            report.warnings.push(Problem::new(set.yaml(), format!("two classes are called '{name}'")));
        }
    }
    parts
}

/// Names of classes, which some labelling programs write beside the labels.
const CLASSES: &str = "classes";

/// Label files in the folders of known ones whose picture is not there.
fn warn_of_lone_labels(parts: &Parts, report: &mut Report) {
    let pairs = parts.iter().flat_map(|(_, pairs)| pairs);
    let folders: BTreeMap<_, _> = pairs.filter_map(|p| Some((p.labels.parent()?, p.rgb.parent()?))).collect();
    for (labels, pictures) in folders {
        let known: HashSet<_> = files(pictures).filter_map(|f| Some(f.file_stem()?.to_owned())).collect();
        let lone = |file: &PathBuf| {
            let stem = file.file_stem().unwrap_or_default();
            file.extension().is_some_and(|e| e == "txt") && stem != CLASSES && !known.contains(stem)
        };
        let warn = |file: PathBuf| Problem::new(&file, "no RGB picture belongs to this label file");
        report.warnings.extend(files(labels).filter(lone).map(warn));
    }
}

/// What is in a folder; nothing where it cannot be read.
fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// What is known of one pair.
#[derive(Debug, Default)]
struct Finding {
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
    /// Of the bytes of the RGB file.
    fingerprint: Option<u64>,
    boxes: Vec<BoxLabel>,
}

/// The findings by RGB picture; a pair that is in two parts is looked at once.
fn checked_once<'a>(
    parts: &'a Parts,
    classes: usize,
    limits: &Limits,
    progress: Progress,
) -> BTreeMap<&'a Path, Finding> {
    let by_rgb: BTreeMap<&Path, &PairFiles> =
        parts.iter().flat_map(|(_, pairs)| pairs).map(|pair| (pair.rgb.as_path(), pair)).collect();
    let pairs: Vec<PairFiles> = by_rgb.values().map(|pair| (*pair).clone()).collect();
    by_rgb.into_keys().zip(inspect_all(&pairs, classes, limits, progress)).collect()
}

fn inspect_all(pairs: &[PairFiles], classes: usize, limits: &Limits, progress: Progress) -> Vec<Finding> {
    let done = AtomicUsize::new(0);
    let inspect_one = |pair: &PairFiles| {
        let finding = inspect(pair, classes, limits);
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, pairs.len());
        finding
    };
    pairs.par_iter().map(inspect_one).collect()
}

fn inspect(pair: &PairFiles, classes: usize, limits: &Limits) -> Finding {
    let mut finding = Finding::default();
    inspect_pictures(pair, limits, &mut finding);
    inspect_labels(&pair.labels, classes, &mut finding);
    finding
}

fn inspect_pictures(pair: &PairFiles, limits: &Limits, finding: &mut Finding) {
    let rgb = read_file(&pair.rgb, limits).and_then(|bytes| {
        finding.fingerprint = Some(fingerprint(&bytes));
        Ok(decode_rgb(&bytes, &pair.rgb, limits)?.size())
    });
    if let Err(error) = &rgb {
        finding.errors.push(Problem::from(error));
    }
    if !pair.ir.exists() {
        let why = format!("no infrared picture: expected {} (any picture suffix)", pair.ir.display());
        finding.errors.push(Problem::new(&pair.rgb, why));
        return;
    }
    let ir = read_file(&pair.ir, limits).and_then(|bytes| {
        if finding.fingerprint == Some(fingerprint(&bytes)) {
            let why = format!("the same file as its RGB picture {}", pair.rgb.display());
            finding.warnings.push(Problem::new(&pair.ir, why));
        }
        Ok(decode_ir(&bytes, &pair.ir, limits)?.size())
    });
    match (rgb, ir) {
        (Ok(rgb), Ok(ir)) => compare_aspects(pair, rgb, ir, finding),
        (_, Err(error)) => finding.errors.push(Problem::from(&error)),
        (Err(_), Ok(_)) => {}
    }
}

fn compare_aspects(pair: &PairFiles, rgb: (usize, usize), ir: (usize, usize), finding: &mut Finding) {
    let aspect = |(width, height): (usize, usize)| width as f64 / height as f64;
    let ratio = aspect(rgb) / aspect(ir);
    if ratio.max(1.0 / ratio) > 1.01 {
        let why = format!(
            "the aspects differ: infrared is {}x{}, RGB is {}x{}; the two are taken as aligned, \
             so infrared is stretched",
            ir.0, ir.1, rgb.0, rgb.1
        );
        finding.warnings.push(Problem::new(&pair.ir, why));
    }
}

fn inspect_labels(path: &Path, classes: usize, finding: &mut Finding) {
    let file = match labels::inspect(path, classes) {
        Ok(file) => file,
        Err(error) => return finding.errors.push(Problem::from(&error)),
    };
    finding.errors.extend(file.errors.iter().map(Problem::from));
    for line in file.repeated {
        let message = "repeats an earlier box; it is dropped".to_owned();
        finding.warnings.push(Problem { file: path.to_path_buf(), line: Some(line), message });
    }
    finding.boxes = file.boxes;
}

fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

fn summarise(set: &DataSet, parts: &Parts, files: &BTreeMap<&Path, Finding>, report: &mut Report) {
    let mut counts = vec![0; set.classes()];
    for (split, pairs) in parts {
        let mut summary = SplitSummary { pairs: pairs.len(), ..SplitSummary::default() };
        for boxes in pairs.iter().filter_map(|pair| Some(&files.get(pair.rgb.as_path())?.boxes)) {
            summary.boxes += boxes.len();
            summary.background += usize::from(boxes.is_empty());
            boxes.iter().for_each(|label| counts[label.class] += 1);
        }
        if summary.boxes == 0 {
            let why = format!("'{}' has no labelled object in its {} pairs", split.name(), pairs.len());
            report.warnings.push(Problem::new(set.yaml(), why));
        }
        report.summary.splits.insert(split.name(), summary);
    }
    for (name, count) in set.names().iter().zip(&counts) {
        if *count == 0 {
            report.warnings.push(Problem::new(set.yaml(), format!("class '{name}' is never used")));
        }
    }
    report.summary.boxes_by_class = set.names().iter().cloned().zip(counts).collect();
}

/// What is trained on must not be what is measured on.
fn warn_of_leaks(set: &DataSet, parts: &Parts, files: &BTreeMap<&Path, Finding>, report: &mut Report) {
    let fingerprint_of =
        |pair: &PairFiles| files.get(pair.rgb.as_path()).and_then(|finding| finding.fingerprint);
    let Some((_, train)) = parts.iter().find(|(split, _)| *split == Split::Train) else { return };
    let trained: HashMap<u64, &Path> =
        train.iter().filter_map(|pair| Some((fingerprint_of(pair)?, pair.rgb.as_path()))).collect();
    for (split, pairs) in parts.iter().filter(|(split, _)| *split != Split::Train) {
        let leaks: Vec<(&Path, &Path)> = pairs
            .iter()
            .filter_map(|pair| Some((pair.rgb.as_path(), *trained.get(&fingerprint_of(pair)?)?)))
            .collect();
        if leaks.len() == pairs.len() && !leaks.is_empty() {
            let why = format!("all {} pairs of '{}' are also in 'train'", pairs.len(), split.name());
            report.warnings.push(Problem::new(set.yaml(), why));
            continue;
        }
        for (picture, twin) in leaks {
            let why =
                format!("in '{}', and the same picture is in 'train': {}", split.name(), twin.display());
            report.warnings.push(Problem::new(picture, why));
        }
    }
}

#[cfg(test)]
mod tests;
