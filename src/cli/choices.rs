//! Values with names: modality, cache, precision, optimizer, and the numbers with a range.

use std::fmt;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::de::DeserializeOwned;

/// Camera names of `--modality`.
pub const MODALITY: &[&str] = &["both", "rgb", "ir"];
/// Places of `--cache`.
pub const CACHE: &[&str] = &["auto", "none", "ram", "disk", "device"];
/// Precisions of `--amp`.
pub const AMP: &[&str] = &["fp16", "bf16"];
/// Names of `--optimizer`.
pub const OPTIMIZER: &[&str] = &["sgd", "adamw"];
/// Parts of a data set.
pub const SPLIT: &[&str] = &["train", "val", "test"];

/// Reads one of `names`, which are what serde calls the variants of `T`.
pub fn choice<T: DeserializeOwned + Clone + Send + Sync + 'static>(
    names: &'static [&'static str],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(names).try_map(|name| serde_json::from_value(serde_json::Value::String(name)))
}

/// More threads than a machine could have are not made.
const MOST_THREADS: usize = 1024;
/// More pairs than any device could want do not go through a network at once.
const MOST_PAIRS: usize = 4096;

/// Reads a number of threads, from 1 on.
pub fn threads(text: &str) -> Result<usize, String> {
    at_least_one(text).and_then(|number| match number {
        1..=MOST_THREADS => Ok(number),
        _ => Err(format!("at most {MOST_THREADS} threads are made")),
    })
}

/// Reads a number of threads, or 0 for one a core.
pub fn workers(text: &str) -> Result<usize, String> {
    if text == "0" { Ok(0) } else { threads(text).map_err(|why| format!("{why}, or 0 for one a core")) }
}

/// Reads how many pairs go through a network at once where it does not learn.
pub fn pairs_at_once(text: &str) -> Result<usize, String> {
    at_least_one(text).and_then(|number| match number {
        1..=MOST_PAIRS => Ok(number),
        _ => Err(format!("at most {MOST_PAIRS} pairs go through a network at once")),
    })
}

/// Reads a whole number from 1 on.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a whole number of at least 1 is wanted".to_owned()),
        Ok(number) => Ok(number),
    }
}

/// The value of `--batch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// So many.
    Fixed(usize),
    /// As many as fit.
    Auto,
}

impl Batch {
    /// The number that was given; the default until one is found.
    pub fn number(self) -> usize {
        match self {
            Batch::Fixed(number) => number,
            Batch::Auto => yf_plan::Recipe::default().batch,
        }
    }
}

impl FromStr for Batch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Batch::Auto),
            _ => text.parse().map(Batch::Fixed).map_err(|_| "a whole number or auto is wanted".to_owned()),
        }
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Batch::Fixed(number) => number.fmt(f),
            Batch::Auto => f.write_str("auto"),
        }
    }
}

/// The value of `--modality-dropout`: how often each camera is blanked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// The RGB camera.
    pub rgb: f64,
    /// The infrared camera.
    pub ir: f64,
}

impl Dropout {
    /// What a recipe says.
    pub fn of(recipe: &yf_plan::Recipe) -> Self {
        Dropout { rgb: recipe.rgb_dropout, ir: recipe.ir_dropout }
    }
}

impl FromStr for Dropout {
    type Err = String;

    /// Ranges are checked with those of the recipe.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |word: &str| word.trim().parse::<f64>();
        let read = match text.split_once(',') {
            Some((rgb, ir)) => number(rgb).and_then(|rgb| Ok(Dropout { rgb, ir: number(ir)? })),
            None => number(text).map(|both| Dropout { rgb: both / 2.0, ir: both / 2.0 }),
        };
        read.map_err(|_| "a chance is wanted, or two: 0.2, or 0.3,0.1 for RGB and infrared".to_owned())
    }
}

impl fmt::Display for Dropout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rgb == self.ir { (self.rgb + self.ir).fmt(f) } else { write!(f, "{},{}", self.rgb, self.ir) }
    }
}

/// Reads a fraction from 0 to 1.
pub fn unit(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        _ => Err("a number from 0 to 1 is wanted".to_owned()),
    }
}

/// Reads the name of a device.
pub fn device(text: &str) -> Result<yf_plan::Device, yf_plan::DeviceError> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use yf_plan::{AmpKind, Cache, Modality, Optimizer};

    use super::*;

    fn all<T: DeserializeOwned>(names: &[&str]) -> usize {
        names.iter().filter(|n| serde_json::from_value::<T>((**n).into()).is_ok()).count()
    }

    #[test]
    fn every_name_is_a_variant() {
        assert_eq!(all::<Modality>(MODALITY), MODALITY.len());
        assert_eq!(all::<Cache>(CACHE), CACHE.len());
        assert_eq!(all::<AmpKind>(AMP), AMP.len());
        assert_eq!(all::<Optimizer>(OPTIMIZER), OPTIMIZER.len());
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert!(unit("nan").is_err() && unit("1.5").is_err() && unit("-0.1").is_err());
        assert_eq!(unit("0.25"), Ok(0.25));
        assert!(at_least_one("0").is_err() && at_least_one("-1").is_err());
    }
}
