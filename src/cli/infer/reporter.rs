//! What `yf infer` writes of each pair: a line, and where asked for pictures and labels.

use std::path::Path;

use yf_deploy::DeployError;
use yf_deploy::output::{self as written, SaveFolder};
use yf_deploy::pipeline::PairResult;

use super::InferArgs;
use crate::failure::Failure;
use crate::{output, runs};

/// Writes results down as they come, and counts what could not be read.
pub(super) struct Reporter {
    names: Vec<String>,
    json: bool,
    pictures: bool,
    labels: bool,
    folder: Option<SaveFolder>,
    broken: usize,
}

impl Reporter {
    pub(super) fn new(args: &InferArgs, pictures: bool, names: Vec<String>) -> Result<Self, Failure> {
        let path = match &args.save {
            Some(folder) => Some(folder.clone()),
            None if pictures || args.save_txt => Some(runs::create(Path::new(runs::PREDICT), runs::NAME)?),
            None => None,
        };
        let roots: Vec<_> = [Some(&args.rgb), args.ir.as_ref()].into_iter().flatten().cloned().collect();
        let folder = path.as_deref().map(|path| SaveFolder::create(path, roots)).transpose()?;
        if let Some(path) = path.filter(|_| args.save.is_none()) {
            tracing::info!("saving in {}", path.display());
        }
        Ok(Reporter { names, json: args.json, pictures, labels: args.save_txt, folder, broken: 0 })
    }

    pub(super) fn broken(&mut self, error: &DeployError) {
        tracing::error!("{error}");
        self.broken += 1;
    }

    pub(super) fn take(&mut self, result: Result<PairResult, DeployError>) -> Result<(), Failure> {
        let result = match result {
            Ok(result) => result,
            Err(error) => {
                self.broken(&error);
                return Ok(());
            }
        };
        if let Some(folder) = &mut self.folder {
            let name = folder.name(&result);
            if self.pictures {
                name.picture(&result, &self.names)?;
            }
            if self.labels {
                name.labels(&result)?;
            }
        }
        if self.json {
            output::line(written::json(&result, &self.names))
        } else {
            output::line(self.sentence(&result))
        }
    }

    /// `rgb.jpg + ir.jpg: 2 person, 1 car (34.1 ms)`
    fn sentence(&self, result: &PairResult) -> String {
        let count = |class| result.detections.iter().filter(|d| d.class == class).count();
        let found: Vec<String> = (self.names.iter().enumerate())
            .map(|(class, name)| (count(class), name))
            .filter(|(number, _)| *number > 0)
            .map(|(number, name)| format!("{number} {name}"))
            .collect();
        let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
        let ms = &result.ms;
        let total = ms.decode + ms.letterbox + ms.network + ms.suppression;
        let files = [&result.rgb, &result.ir].into_iter().flatten().map(|path| path.display().to_string());
        format!("{}: {found} ({total:.1} ms)", files.collect::<Vec<_>>().join(" + "))
    }

    pub(super) fn close(self) -> Result<(), Failure> {
        if self.broken > 0 { Err(Failure::BadResult) } else { Ok(()) }
    }
}
