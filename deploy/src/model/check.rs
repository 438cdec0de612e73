//! What a description must keep that was not read from an ONNX file, but from the side file of an engine.

use super::{Inputs, MAX_ANCHORS, MAX_CLASSES, MAX_ROWS, MAX_SIDE, ModelInfo, Values};

impl ModelInfo {
    /// Says what no description of a detector can say; sizes are allocated for, so they are not taken on trust.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let count = if self.inputs == Inputs::Pair { 2 } else { 1 };
        let channels = |channels: &usize| *channels == 3 || (*channels == 1 && self.values == Values::Bytes);
        let side = |side: usize| (1..=MAX_SIDE).contains(&side);
        let wrong = [
            (
                self.input_names.len() != count || self.channels.len() != count,
                "its inputs are not one or two",
            ),
            (!self.channels.iter().all(channels), "its inputs have odd channels"),
            (!side(self.height) || !side(self.width), "its pictures have no size that is served"),
            (!(1..=MAX_CLASSES).contains(&self.classes), "its classes are none, or too many"),
            (self.names.len() != self.classes, "its names are not one a class"),
            (self.anchors > MAX_ANCHORS, "its anchors are too many"),
            (self.suppressed.is_some_and(|inside| inside.rows > MAX_ROWS), "its rows are too many"),
            (self.suppressed.is_none() && self.anchors == 0, "it has no anchors"),
            (!(1..=1024).contains(&self.stride), "its stride is no number of pixels"),
            (self.batch == Some(0), "its batch is empty"),
        ];
        wrong.into_iter().find(|(is, _)| *is).map_or(Ok(()), |(_, why)| Err(why))
    }
}
