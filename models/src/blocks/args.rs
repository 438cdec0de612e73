//! A layer's arguments, read by position.

use crate::error::ShapeError;

/// One argument as YAML gives it.
#[derive(Debug, Clone, PartialEq)]
pub enum Arg {
    /// `None`: the block's own default.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text, such as `nearest` or `nc`.
    Text(String),
}

/// The arguments of a layer.
#[derive(Debug, Clone, Copy)]
pub struct Args<'a>(pub &'a [Arg]);

impl Args<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A positive whole number that must be there.
    ///
    /// # Errors
    /// When it is missing or something else.
    pub fn size(&self, at: usize, what: &str) -> Result<usize, ShapeError> {
        match self.0.get(at) {
            Some(&Arg::Int(n)) if n > 0 => Ok(n as usize),
            other => Err(wrong(at, what, "a whole number above 0", other)),
        }
    }

    /// A whole number, 0 allowed, or the default.
    ///
    /// # Errors
    /// When it is something else.
    pub fn size_or(&self, at: usize, what: &str, default: usize) -> Result<usize, ShapeError> {
        match self.0.get(at) {
            None | Some(Arg::None) => Ok(default),
            Some(&Arg::Int(n)) if n >= 0 => Ok(n as usize),
            other => Err(wrong(at, what, "a whole number", other)),
        }
    }

    /// Any whole number, or the default.
    ///
    /// # Errors
    /// When it is something else.
    pub fn integer_or(&self, at: usize, what: &str, default: i64) -> Result<i64, ShapeError> {
        match self.0.get(at) {
            None | Some(Arg::None) => Ok(default),
            Some(&Arg::Int(n)) => Ok(n),
            other => Err(wrong(at, what, "a whole number", other)),
        }
    }

    /// A truth value or the default.
    ///
    /// # Errors
    /// When it is something else.
    pub fn flag_or(&self, at: usize, what: &str, default: bool) -> Result<bool, ShapeError> {
        match self.0.get(at) {
            None | Some(Arg::None) => Ok(default),
            Some(&Arg::Bool(b)) => Ok(b),
            other => Err(wrong(at, what, "True or False", other)),
        }
    }

    /// A fraction above 0 or the default.
    ///
    /// # Errors
    /// When it is something else.
    pub fn fraction_or(&self, at: usize, what: &str, default: f64) -> Result<f64, ShapeError> {
        match self.0.get(at) {
            None | Some(Arg::None) => Ok(default),
            Some(&Arg::Float(x)) if x > 0.0 && x.is_finite() => Ok(x),
            Some(&Arg::Int(n)) if n > 0 => Ok(n as f64),
            other => Err(wrong(at, what, "a number above 0", other)),
        }
    }

    /// One of `choices`, by name; the first if it is missing.
    ///
    /// # Errors
    /// When it is something else.
    pub fn choice<'c>(&self, at: usize, what: &str, choices: &[&'c str]) -> Result<&'c str, ShapeError> {
        let known = match self.0.get(at) {
            None | Some(Arg::None) => choices.first(),
            Some(Arg::Text(name)) => choices.iter().find(|choice| *choice == name),
            _ => None,
        };
        let one_of = || wrong(at, what, &format!("one of {}", choices.join(", ")), self.0.get(at));
        known.copied().ok_or_else(one_of)
    }

    /// No more than `most` arguments.
    ///
    /// # Errors
    /// When there are more.
    pub fn at_most(&self, most: usize) -> Result<(), ShapeError> {
        if self.len() <= most {
            return Ok(());
        }
        Err(ShapeError::Arguments(format!("{} arguments given, it takes at most {most}", self.len())))
    }
}

fn wrong(at: usize, what: &str, want: &str, got: Option<&Arg>) -> ShapeError {
    let got = match got {
        None => "nothing".to_owned(),
        Some(Arg::None) => "None".to_owned(),
        Some(Arg::Bool(b)) => b.to_string(),
        Some(Arg::Int(n)) => n.to_string(),
        Some(Arg::Float(x)) => x.to_string(),
        Some(Arg::Text(t)) => format!("'{t}'"),
    };
    ShapeError::Arguments(format!("argument {} ({what}) must be {want}, got {got}", at + 1))
}
