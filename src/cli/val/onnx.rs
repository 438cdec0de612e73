//! Validation of an exported model through the pipeline that also deploys it.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, bail};
use yf_data::dataset::{DataSet, PairFiles, Split};
use yf_data::decode::Limits;
use yf_data::detection::Suppression;
use yf_data::labels;
use yf_data::metrics::{Evaluator, Metrics, Truth};
use yf_deploy::DeployError;
use yf_deploy::backend::Backend;
use yf_deploy::model::Suppressed;
use yf_deploy::pairing::Files;
use yf_deploy::pipeline::{Batch, PairResult, Pipeline, Settings};
use yf_plan::Modality;

use crate::cli::deployed;
use crate::progress;

/// Metrics of a network over one part of a data set.
pub fn validate(
    backend: Box<dyn Backend>,
    set: &DataSet,
    split: Split,
    modality: Modality,
) -> Result<Metrics> {
    let info = backend.info();
    if info.classes != set.classes() {
        bail!("{} has {} classes, {} has {}", info.origin, info.classes, set.yaml().display(), set.classes());
    }
    super::compare_names(&info.names, &info.origin, set);
    let settings = Settings {
        suppression: Suppression::VALIDATION,
        modality: deployed::modality(modality),
        strict: true,
        batch: Batch::Auto,
        keep_pictures: false,
        limits: Limits::default(),
    };
    if let Some(Suppressed { conf: Some(conf), .. }) =
        info.suppressed.filter(|s| s.conf > Some(settings.suppression.conf))
    {
        tracing::warn!(
            "{} suppresses inside above a score of {conf}: weaker detections and second classes count for nothing here; \
             export it without --nms to compare with others",
            info.origin
        );
    }
    let pairs = set.pairs(split)?;
    let labels: HashMap<&Path, &Path> = pairs.iter().map(|p| (p.rgb.as_path(), p.labels.as_path())).collect();
    let files: Vec<Files> = pairs.iter().map(files).collect();
    let mut evaluator = Evaluator::new(set.classes());
    let bar = progress::bar(files.len(), "pairs validated");
    Pipeline::new(backend, settings).run(&files, |result: Result<PairResult, DeployError>| {
        let result = result?;
        let truths = match result.rgb.as_deref().and_then(|rgb| labels.get(rgb)) {
            Some(path) => truths(path, set.classes(), result.size)?,
            None => Vec::new(),
        };
        evaluator.add(&result.detections, &truths);
        bar.inc(1);
        anyhow::Ok(())
    })?;
    bar.finish_and_clear();
    Ok(evaluator.finish())
}

fn files(pair: &PairFiles) -> Files {
    Files::Pair { rgb: pair.rgb.clone(), ir: pair.ir.clone() }
}

/// The labelled boxes of a picture of `size` (width, height), in its pixels.
fn truths(path: &Path, classes: usize, size: (usize, usize)) -> Result<Vec<Truth>> {
    let boxes = labels::read(path, classes)?;
    Ok(boxes.iter().map(|label| Truth { class: label.class, bbox: label.corners(size) }).collect())
}
