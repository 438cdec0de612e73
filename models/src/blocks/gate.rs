//! A learned gate between the cameras: at every position and channel one weight says how much of the fused map is RGB
//! and how much infrared, so that a camera that sees nothing there, or nothing at all, loses its say.
//!
//! The weight is a sigmoid of what both maps hold at the position and, for the whole picture, of their means: night is
//! a property of the scene. Both terms start at zero, so training begins as plain fusion.

use super::{Args, Layer};
use crate::builder::{Builder, Emitted};
use crate::error::ShapeError;
use crate::graph::{Conv2d, Init, Op, ValueId};

/// What becomes of the two weighed maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Joined channels, `[2 w x_v ; 2 (1 - w) x_i]`: at the start what `Concat` gives.
    Join,
    /// One map, `w x_v + (1 - w) x_i`: at the start the mean.
    Blend,
    /// Infrared and what RGB adds or takes, `x_i + (2 w - 1) x_v`: at the start nearly infrared alone.
    Inject,
}

impl Form {
    fn of(args: &Args<'_>) -> Result<Self, ShapeError> {
        Ok(match args.choice(1, "form", &["join", "blend", "inject"])? {
            "blend" => Form::Blend,
            "inject" => Form::Inject,
            _ => Form::Join,
        })
    }

    /// Where the bias starts. An injection that were shut exactly would teach the RGB branch nothing.
    fn bias(self) -> f32 {
        if self == Form::Inject { 0.1 } else { 0.0 }
    }
}

/// The gate before its sigmoid, `[C, H, W]`. Parameters `{path}.here.weight`, `.here.bias`, and `{path}.scene.weight`
/// where the means have a say.
fn logits(g: &mut Builder, path: &str, maps: [ValueId; 2], scene: bool, bias: f32) -> Emitted {
    let out = g.channels(maps[0]);
    let conv = Conv2d { out, kernel: 1, stride: 1, padding: 0, dilation: 1, groups: 1 };
    let joined = g.concat(&maps, 0, &format!("{path}.joined"))?;
    let (here, params) = g.conv2d(&format!("{path}.here"), joined, conv, true)?;
    g.reinit(params[0], Init::Fill(0.0));
    g.reinit(params[1], Init::Fill(bias));
    if !scene {
        return Ok(here);
    }
    let mean = g.mean(joined, &[1, 2], &format!("{path}.mean"));
    let (scene, params) = g.conv2d(&format!("{path}.scene"), mean, conv, false)?;
    g.reinit(params[0], Init::Fill(0.0));
    g.combine(Op::Add, here, scene, &format!("{path}.logits"))
}

/// `Gate, [channels, form, scene]` over the RGB and the infrared map, both of `channels` channels; the form is `join`
/// (which doubles the channels), `blend` or `inject` (which keep them); `scene` (True) lets the picture's means into the
/// gate.
pub fn layer(l: &mut Layer<'_>) -> Result<Vec<ValueId>, ShapeError> {
    l.args.at_most(3)?;
    let channels = l.scaling.channels(l.args.size(0, "channels")?);
    let form = Form::of(&l.args)?;
    let scene = l.args.flag_or(2, "scene", true)?;
    let ([rgb, ir], path) = (l.pair(channels)?, &l.path);
    let g = &mut *l.graph;
    let name = |part: &str| format!("{path}.{part}");

    let logits = logits(g, path, [rgb, ir], scene, form.bias())?;
    let weight = g.map_elements(Op::Sigmoid, logits, &name("weight"));
    let fused = match form {
        Form::Join => {
            let opposite = g.map_elements(Op::Scale(-1.0), logits, &name("opposite"));
            let rest = g.map_elements(Op::Sigmoid, opposite, &name("rest"));
            let rgb = g.combine(Op::Mul, rgb, weight, &name("rgb"))?;
            let ir = g.combine(Op::Mul, ir, rest, &name("ir"))?;
            let fused = g.concat(&[rgb, ir], 0, &name("fused"))?;
            g.map_elements(Op::Scale(2.0), fused, &name("doubled"))
        }
        Form::Blend => {
            let difference = g.combine(Op::Sub, rgb, ir, &name("difference"))?;
            let moved = g.combine(Op::Mul, difference, weight, &name("moved"))?;
            g.combine(Op::Add, ir, moved, &name("fused"))?
        }
        Form::Inject => {
            let seen = g.combine(Op::Mul, rgb, weight, &name("seen"))?;
            let seen = g.map_elements(Op::Scale(2.0), seen, &name("doubled"));
            let added = g.combine(Op::Sub, seen, rgb, &name("added"))?;
            g.combine(Op::Add, ir, added, &name("fused"))?
        }
    };
    Ok(vec![fused])
}

#[cfg(test)]
mod tests {
    use crate::{Config, Network};

    fn refusal(infrared: &str, gate: &str) -> String {
        let yaml = format!(
            "backbone:\n  - [-1, 1, IdentityInput, []]\n  - [-1, 1, ModalitySelector, [1]]\n  \
             - [-2, 1, ModalitySelector, [2]]\n  - [1, 1, Conv, [16, 3, 2]]\n  - [2, 1, Conv, {infrared}]\n  \
             - [[3, 4], 1, Gate, {gate}]\n  - [[-1], 1, Detect, [nc]]\n"
        );
        let network = Network::new(Config::parse(&yaml, "own.yaml").unwrap(), "", 3).unwrap();
        network.graph(64, 64).err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_a_gate_cannot_do_is_told() {
        assert_eq!(refusal("[16, 3, 2]", "[16, blend]"), "");
        let form = refusal("[16, 3, 2]", "[16, sum]");
        assert!(form.contains("form") && form.contains("join, blend, inject, got 'sum'"), "{form}");
        let sizes = refusal("[16, 3, 4]", "[16, blend]");
        assert!(sizes.contains("16x32x32") && sizes.contains("16x16x16"), "{sizes}");
        let channels = refusal("[16, 3, 2]", "[32, join, False]");
        assert!(channels.contains("layer 5 (Gate)") && channels.contains("must be 32"), "{channels}");
    }
}
