//! What a checkpoint holds that is no network of yf, said so that its owner knows what it is.

use std::collections::BTreeMap;
use std::fmt;

use yf_models::error::shape;

use crate::Checkpoint;
use crate::identify::Comparison;

/// What was found in a file that could not be identified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Tensors of weights and statistics.
    pub tensors: usize,
    /// Elements of them, running statistics and anchors left out.
    pub parameters: usize,
    /// Classes, where the file tells.
    pub classes: Option<usize>,
    /// How many modules there are of each class, torch's own left out.
    pub blocks: BTreeMap<String, usize>,
    /// Whether its head has anchors, as heads before YOLOv8 do.
    pub anchors: bool,
    /// The network of yf that comes nearest.
    pub nearest: Option<Nearest>,
}

/// The network that agrees in most tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearest {
    /// Its name, e.g. `yolov8-n`.
    pub name: String,
    /// Tensors of the same name and shape.
    pub agreeing: usize,
    /// Tensors of either.
    pub of: usize,
    /// The first tensor that one has and the other has not, or not in this shape.
    pub difference: String,
}

impl Found {
    pub(crate) fn new(checkpoint: &Checkpoint, classes: Option<usize>, nearest: Option<Comparison>) -> Self {
        let is_parameter = |name: &str| {
            !["running_mean", "running_var", "anchors", "anchor_grid"].iter().any(|end| name.ends_with(end))
        };
        let parameters = checkpoint.tensors.iter().filter(|(name, _)| is_parameter(name));
        Found {
            tensors: checkpoint.tensors.len(),
            parameters: parameters.map(|(_, array)| array.data.len()).sum(),
            classes: classes.or(checkpoint.names.as_ref().map(Vec::len)),
            blocks: checkpoint.blocks.clone(),
            anchors: checkpoint.tensors.keys().any(|name| name.ends_with(".anchors")),
            nearest: nearest.filter(|nearest| nearest.agreeing > 0).and_then(|nearest| {
                Some(Nearest {
                    name: nearest.network.name().to_owned(),
                    agreeing: nearest.agreeing,
                    of: nearest.of,
                    difference: nearest.difference?,
                })
            }),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the file was read, but it is no network that yf has. It holds {} tensors, {} parameters",
            self.tensors, self.parameters
        )?;
        if let Some(classes) = self.classes {
            write!(f, ", {classes} {}", if classes == 1 { "class" } else { "classes" })?;
        }
        if !self.blocks.is_empty() {
            let blocks: Vec<String> =
                self.blocks.iter().map(|(name, count)| format!("{count} {name}")).collect();
            write!(f, "; blocks: {}", blocks.join(", "))?;
        }
        if self.anchors {
            write!(f, "; a head with anchors")?;
        }
        if let Some(nearest) = &self.nearest {
            write!(
                f,
                "; nearest is {}, equal in {} of {} tensors, first difference: {}",
                nearest.name, nearest.agreeing, nearest.of, nearest.difference
            )?;
        }
        Ok(())
    }
}

/// One sentence about a tensor that two networks do not share.
pub(crate) fn difference(name: &str, here: Option<&[usize]>, there: Option<&[usize]>) -> String {
    match (here, there) {
        (Some(here), Some(there)) => format!("{name} is {} here and {} there", shape(here), shape(there)),
        (Some(here), None) => format!("{name} ({}) is not there", shape(here)),
        (None, there) => format!("{name} ({}) is not here", shape(there.unwrap_or_default())),
    }
}
