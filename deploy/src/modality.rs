//! The cameras, and which of them a network sees.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which cameras the network sees. The other one is a picture of 114, as a dead camera is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modality {
    /// Both.
    #[default]
    Both,
    /// RGB alone.
    Rgb,
    /// Infrared alone.
    Ir,
}

impl fmt::Display for Modality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Both => "both",
            Self::Rgb => "rgb",
            Self::Ir => "ir",
        })
    }
}
