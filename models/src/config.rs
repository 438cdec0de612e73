//! Configurations: a network as a list of layers, in the YAML form that users of Ultralytics know.
//!
//! ```yaml
//! nc: 80
//! scales:            # name: [depth, width, max_channels]
//!   n: [0.5, 0.25, 1024]
//! backbone:          # [from, repeats, block, arguments]
//!   - [-1, 1, Conv, [64, 3, 2]]
//! head:
//!   - [[-1], 1, Detect, [nc]]
//! ```
//! `from` counts back from the layer (`-1` the one before) or is a layer's index. A network whose first layer is
//! `IdentityInput` takes the two pictures `rgb` and `ir`; with `ch: 6` it takes them joined; any other takes the
//! one picture `images`.

use serde::Deserialize;
use serde_yaml_ng::{Mapping, Value};

use crate::ModelError;
use crate::blocks::Arg;

/// Configurations that ship with yf: name and YAML.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("data", include_str!("../configs/data.yaml")),
    ("early", include_str!("../configs/early.yaml")),
    ("mid", include_str!("../configs/mid.yaml")),
    ("easy", include_str!("../configs/easy.yaml")),
    ("decision", include_str!("../configs/decision.yaml")),
    ("deyolo", include_str!("../configs/deyolo.yaml")),
    ("defa", include_str!("../configs/defa.yaml")),
    ("gated", include_str!("../configs/gated.yaml")),
    ("cross", include_str!("../configs/cross.yaml")),
    ("duo", include_str!("../configs/duo.yaml")),
    ("yolov8", include_str!("../configs/yolov8.yaml")),
    ("yolo11", include_str!("../configs/yolo11.yaml")),
];

/// Multiples of one scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// Its name, e.g. `n`.
    pub name: String,
    /// Multiplies the repeats of layers that repeat.
    pub depth: f64,
    /// Multiplies channels.
    pub width: f64,
    /// Cuts channels off before the width applies.
    pub max_channels: usize,
}

/// A layer as the configuration lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerConfig {
    /// Layers it reads: negative counts back, otherwise an index.
    pub from: Vec<i64>,
    /// Repeats before the depth multiple.
    pub repeats: usize,
    /// Name of its block.
    pub block: String,
    /// Arguments of the block.
    pub args: Vec<Arg>,
}

/// A parsed configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    yaml: String,
    origin: String,
    /// Number of classes if nobody says otherwise.
    pub classes: Option<usize>,
    /// Channels of the joined input, 3 or 6.
    pub channels: usize,
    /// Scales in the order of the file; never empty.
    pub scales: Vec<Scale>,
    /// Backbone and head, in order.
    pub layers: Vec<LayerConfig>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    nc: Option<usize>,
    ch: Option<usize>,
    scales: Option<Mapping>,
    depth_multiple: Option<f64>,
    width_multiple: Option<f64>,
    backbone: Vec<Value>,
    #[serde(default)]
    head: Vec<Value>,
    // Harmless keys of published files.
    #[serde(default, rename = "scale")]
    _scale: Option<Value>,
    #[serde(default, rename = "end2end")]
    _end2end: Option<Value>,
    #[serde(default, rename = "reg_max")]
    reg_max: Option<usize>,
}

impl Config {
    /// The configuration of that name among those that ship with yf.
    pub fn built_in(name: &str) -> Option<Self> {
        let (_, yaml) = BUILT_IN.iter().find(|(n, _)| *n == name)?;
        Config::parse(yaml, name).ok()
    }

    /// Reads a configuration; `origin` is what messages call it.
    ///
    /// # Errors
    /// When it is no YAML or not of the form above, with the line where it is known.
    pub fn parse(yaml: &str, origin: &str) -> Result<Self, ModelError> {
        let wrong = |why: String| ModelError::Config { origin: origin.to_owned(), why };
        let file: File = serde_yaml_ng::from_str(yaml)
            .map_err(|e| wrong(format!("not a network's configuration: {e}")))?;
        if file.reg_max.is_some_and(|bins| bins != crate::blocks::REG_MAX) {
            return Err(wrong(format!("reg_max must be {}", crate::blocks::REG_MAX)));
        }
        let channels = file.ch.unwrap_or(3);
        if channels != 3 && channels != 6 {
            return Err(wrong(format!(
                "ch is {channels}, but must be 3 (one picture) or 6 (RGB and infrared)"
            )));
        }
        let mut layers = Vec::new();
        for (index, value) in file.backbone.iter().chain(&file.head).enumerate() {
            let layer = layer(value).map_err(|why| {
                wrong(format!("layer {index} must read [from, repeats, block, [arguments]]: {why}"))
            })?;
            layers.push(layer);
        }
        Ok(Config {
            yaml: yaml.to_owned(),
            origin: origin.to_owned(),
            classes: file.nc,
            channels,
            scales: scales(&file).map_err(wrong)?,
            layers,
        })
    }

    /// The text it was read from.
    pub fn yaml(&self) -> &str {
        &self.yaml
    }

    /// What messages call it.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// A scale by name.
    pub fn scale(&self, name: &str) -> Option<&Scale> {
        self.scales.iter().find(|s| s.name == name)
    }
}

fn scales(file: &File) -> Result<Vec<Scale>, String> {
    let Some(listed) = &file.scales else {
        let (depth, width) = (file.depth_multiple.unwrap_or(1.0), file.width_multiple.unwrap_or(1.0));
        return check_scale(Scale { name: String::new(), depth, width, max_channels: usize::MAX })
            .map(|s| vec![s]);
    };
    let read = |(name, value): (&Value, &Value)| {
        let name = name.as_str().ok_or("a scale's name must be text")?;
        match value.as_sequence().map(Vec::as_slice) {
            Some([depth, width, max]) => check_scale(Scale {
                name: name.to_owned(),
                depth: depth.as_f64().unwrap_or(f64::NAN),
                width: width.as_f64().unwrap_or(f64::NAN),
                max_channels: max.as_u64().unwrap_or(0) as usize,
            }),
            _ => Err(format!("scale {name} must read [depth, width, max_channels]")),
        }
    };
    let scales: Vec<Scale> = listed.iter().map(read).collect::<Result<_, String>>()?;
    if scales.is_empty() { Err("scales is empty".to_owned()) } else { Ok(scales) }
}

/// Multiples beyond these bounds are typing errors, and would ask for absurd amounts of memory.
fn check_scale(scale: Scale) -> Result<Scale, String> {
    let multiple = |x: f64| x > 0.0 && x <= 16.0;
    if multiple(scale.depth) && multiple(scale.width) && scale.max_channels > 0 {
        return Ok(scale);
    }
    Err(format!("scale {}: depth and width must be above 0 and at most 16, max_channels above 0", scale.name))
}

fn layer(value: &Value) -> Result<LayerConfig, String> {
    let Some([from, repeats, block, args]) = value.as_sequence().map(Vec::as_slice) else {
        return Err("it has not four entries".to_owned());
    };
    let index = |v: &Value| v.as_i64().ok_or("from must be a whole number or a list of them".to_owned());
    let from = match from.as_sequence() {
        Some(list) => list.iter().map(index).collect::<Result<Vec<_>, _>>()?,
        None => vec![index(from)?],
    };
    let repeats =
        repeats.as_u64().filter(|n| (1..=100).contains(n)).ok_or("repeats must be 1 to 100")? as usize;
    let block = block.as_str().ok_or("the block must be a name")?.to_owned();
    let args = args.as_sequence().ok_or("the arguments must be a list")?;
    Ok(LayerConfig { from, repeats, block, args: args.iter().map(arg).collect::<Result<_, _>>()? })
}

/// Published files write Python's `None`, `True` and `False`.
fn arg(value: &Value) -> Result<Arg, String> {
    Ok(match value {
        Value::Null => Arg::None,
        Value::Bool(b) => Arg::Bool(*b),
        Value::Number(n) => match n.as_i64() {
            Some(i) => Arg::Int(i),
            None => Arg::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(s) if s == "None" => Arg::None,
        Value::String(s) => Arg::Text(s.clone()),
        _ => return Err("an argument must be a number, a truth value, a text or None".to_owned()),
    })
}
