//! What trials say together: each variant's scores, its differences to a baseline, and what is left with one camera dead.

use std::collections::{BTreeMap, BTreeSet};

use crate::TrialError;
use crate::results::{Camera, Score, Trial};
use crate::statistics::{Interval, Summary, interval, summary};

/// A score that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Average precision at IoU .5.
    Map50,
    /// Average precision over IoU .5 to .95.
    Map50To95,
}

impl Metric {
    /// Both.
    pub const ALL: [Metric; 2] = [Metric::Map50, Metric::Map50To95];

    /// As tables have it.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Map50 => "mAP50",
            Metric::Map50To95 => "mAP50-95",
        }
    }

    fn of(self, score: &Score) -> f64 {
        match self {
            Metric::Map50 => score.map50,
            Metric::Map50To95 => score.map50_95,
        }
    }
}

/// All trials, compared with a baseline. Arrays are in the order of [`Metric::ALL`].
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Variants, the best mAP50 first.
    pub variants: Vec<Compared>,
    /// The variant that the others are compared with.
    pub baseline: String,
    /// Folds and seeds that any trial has.
    pub folds: BTreeSet<usize>,
    /// Seeds that any trial has.
    pub seeds: BTreeSet<u64>,
    /// Mean numbers of pairs learned from and tested on.
    pub pairs: [f64; 2],
}

/// A variant among others.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// Its flags of `yf train`.
    pub arguments: String,
    /// The cameras it was trained for.
    pub camera: Camera,
    /// With these cameras.
    pub scores: [Summary; 2],
    /// What it has more than the baseline, paired by fold and seed; `None` of the baseline, and where they share no run.
    pub difference: Option<[Interval; 2]>,
    /// With one camera of two alive: RGB, then infrared.
    pub alone: Vec<Alone>,
    /// Each class' mean scores with its cameras.
    pub classes: Vec<(String, [f64; 2])>,
}

/// A network for two cameras of which one is dead, against one that was trained for the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Alone {
    /// The camera that is alive.
    pub camera: Camera,
    /// Scores with it.
    pub scores: [Summary; 2],
    /// The best variant that was trained for that camera, and which part of its scores is left.
    pub of: Option<(String, [f64; 2])>,
}

impl Comparison {
    /// Compares trials. Without a name the baseline is the variant of one camera with the best mAP50, or the best.
    /// Trials that come twice, from several files, count once.
    ///
    /// # Errors
    /// No trials, no baseline of that name, or a variant that was trained in two ways.
    pub fn new(trials: &[Trial], baseline: Option<&str>) -> Result<Self, TrialError> {
        let refused = |why: String| Err(TrialError::Comparison { why });
        let mut unique: BTreeMap<(&str, usize, u64), &Trial> = BTreeMap::new();
        for trial in trials.iter().filter(|trial| !trial.cameras.is_empty()) {
            let known = unique.entry(trial.key()).or_insert(trial);
            if known.arguments != trial.arguments {
                return refused(format!(
                    "'{}' was trained in two ways: name one of them otherwise",
                    trial.variant
                ));
            }
        }
        let trials: Vec<&Trial> = unique.into_values().collect();
        let names: BTreeSet<&str> = trials.iter().map(|trial| trial.variant.as_str()).collect();
        let mut variants: Vec<Compared> = names.iter().filter_map(|name| compared(name, &trials)).collect();
        variants.sort_by(|a, b| b.scores[0].mean.total_cmp(&a.scores[0].mean));
        let one_camera = variants.iter().find(|variant| variant.camera != Camera::Both);
        let baseline = match (baseline, one_camera.or(variants.first())) {
            (_, None) => return refused("there are no results yet".to_owned()),
            (None, Some(best)) => best.name.clone(),
            (Some(name), Some(_)) if names.contains(name) => name.to_owned(),
            (Some(name), Some(_)) => {
                let there = names.into_iter().collect::<Vec<_>>().join(", ");
                return refused(format!("no variant '{name}' has results; there are {there}"));
            }
        };
        let mean = |of: usize| trials.iter().map(|t| t.pairs[of] as f64).sum::<f64>() / trials.len() as f64;
        let mut comparison = Comparison {
            variants,
            baseline,
            folds: trials.iter().map(|trial| trial.fold).collect(),
            seeds: trials.iter().map(|trial| trial.seed).collect(),
            pairs: [mean(0), mean(1)],
        };
        comparison.subtract_baseline(&trials);
        comparison.relate_to_one_camera();
        Ok(comparison)
    }

    fn subtract_baseline(&mut self, trials: &[&Trial]) {
        let ratio = self.pairs[1] / self.pairs[0].max(1.0);
        let baseline = self.baseline.clone();
        for variant in self.variants.iter_mut().filter(|variant| variant.name != baseline) {
            let [Some(a), Some(b)] = Metric::ALL
                .map(|metric| interval(&differences(trials, &variant.name, &baseline, metric), ratio))
            else {
                continue;
            };
            variant.difference = Some([a, b]);
        }
    }

    fn relate_to_one_camera(&mut self) {
        let best: BTreeMap<Camera, (String, [f64; 2])> = [Camera::Rgb, Camera::Ir]
            .into_iter()
            .filter_map(|camera| {
                let best = self.variants.iter().find(|variant| variant.camera == camera)?;
                Some((camera, (best.name.clone(), best.scores.map(|score| score.mean))))
            })
            .collect();
        for alone in self.variants.iter_mut().flat_map(|variant| &mut variant.alone) {
            alone.of = best.get(&alone.camera).map(|(name, whole)| {
                (name.clone(), [0, 1].map(|i| alone.scores[i].mean / whole[i].max(f64::MIN_POSITIVE)))
            });
        }
    }
}

fn compared(name: &str, trials: &[&Trial]) -> Option<Compared> {
    let own: Vec<&Trial> = trials.iter().filter(|trial| trial.variant == name).copied().collect();
    let camera = own.first()?.own_camera()?;
    let alone = [Camera::Rgb, Camera::Ir].into_iter().filter(|_| camera == Camera::Both);
    let alone = alone.filter_map(|camera| Some(Alone { camera, scores: scores(&own, camera)?, of: None }));
    Some(Compared {
        name: name.to_owned(),
        arguments: own.first()?.arguments.clone(),
        camera,
        scores: scores(&own, camera)?,
        difference: None,
        alone: alone.collect(),
        classes: classes(&own, camera),
    })
}

fn scores(own: &[&Trial], camera: Camera) -> Option<[Summary; 2]> {
    let of = |metric: Metric| {
        let value = |trial: &&Trial| Some((trial.fold, metric.of(trial.cameras.get(&camera)?)));
        summary(&own.iter().filter_map(value).collect::<Vec<_>>())
    };
    Some([of(Metric::Map50)?, of(Metric::Map50To95)?])
}

/// Mean scores of every class over the trials whose test had instances of it.
fn classes(own: &[&Trial], camera: Camera) -> Vec<(String, [f64; 2])> {
    let mut values: Vec<(&str, Vec<[f64; 2]>)> = Vec::new();
    for class in own.iter().filter_map(|trial| trial.cameras.get(&camera)).flat_map(|score| &score.per_class)
    {
        let scores = [class.map50, class.map50_95];
        match values.iter_mut().find(|(name, _)| *name == class.name) {
            _ if class.instances == 0 => (),
            Some((_, all)) => all.push(scores),
            None => values.push((&class.name, vec![scores])),
        }
    }
    let mean = |all: &[[f64; 2]], of: usize| all.iter().map(|s| s[of]).sum::<f64>() / all.len() as f64;
    values.into_iter().map(|(name, all)| (name.to_owned(), [mean(&all, 0), mean(&all, 1)])).collect()
}

/// Fold and difference of every run that both variants have, each with its own cameras.
fn differences(trials: &[&Trial], variant: &str, baseline: &str, metric: Metric) -> Vec<(usize, f64)> {
    let own = |trial: &Trial| Some(metric.of(trial.cameras.get(&trial.own_camera()?)?));
    let of = |name: &str| {
        let runs = trials.iter().filter(move |trial| trial.variant == name);
        runs.filter_map(|trial| Some(((trial.fold, trial.seed), own(trial)?))).collect::<BTreeMap<_, _>>()
    };
    let before = of(baseline);
    let paired = of(variant).into_iter();
    paired.filter_map(|(run, value)| Some((run.0, value - before.get(&run)?))).collect()
}
