//! `cpu`, `cuda`, `cuda:1`, `0`, `0,1`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where to compute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Device {
    /// The processor.
    Cpu,
    /// GPUs by index, at least one, none twice.
    Cuda(Vec<usize>),
}

/// A device that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no device: use cpu, cuda, cuda:1, 0, or 0,1")]
pub struct DeviceError(String);

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let wrong = || DeviceError(text.to_owned());
        match text.trim() {
            "cpu" => Ok(Device::Cpu),
            "cuda" | "gpu" => Ok(Device::Cuda(vec![0])),
            other => {
                let list = other.strip_prefix("cuda:").unwrap_or(other);
                let mut indices = list
                    .split(',')
                    .map(|i| i.trim().parse().map_err(|_| wrong()))
                    .collect::<Result<Vec<usize>, _>>()?;
                let given = indices.len();
                indices.sort_unstable();
                indices.dedup();
                if indices.len() == given { Ok(Device::Cuda(indices)) } else { Err(wrong()) }
            }
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(indices) => {
                let list: Vec<String> = indices.iter().map(usize::to_string).collect();
                write!(f, "cuda:{}", list.join(","))
            }
        }
    }
}

impl From<Device> for String {
    fn from(device: Device) -> String {
        device.to_string()
    }
}

impl TryFrom<String> for Device {
    type Error = DeviceError;

    fn try_from(text: String) -> Result<Self, DeviceError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_documented_form() {
        for (text, device) in [
            ("cpu", Device::Cpu),
            ("cuda", Device::Cuda(vec![0])),
            ("cuda:1", Device::Cuda(vec![1])),
            ("0", Device::Cuda(vec![0])),
            ("1,0", Device::Cuda(vec![0, 1])),
        ] {
            let read: Device = text.parse().unwrap();
            assert_eq!(read, device);
            assert_eq!(read.to_string().parse::<Device>().unwrap(), device);
        }
        for wrong in ["", "tpu", "0,0", "cuda:", "-1", "cuda:x"] {
            assert!(wrong.parse::<Device>().is_err(), "{wrong}");
        }
    }
}
