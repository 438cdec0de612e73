//! The end of a run: what each camera alone is worth to the network, as a table, as a sentence, and as `cameras.json`.

use serde::Serialize;
use yf_data::metrics::{Metrics, table};
use yf_models::Camera;
use yf_plan::Modality;

/// What a network reaches with some of its cameras.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The cameras that were shown; the other one was blank.
    pub modality: Modality,
    /// On the validation pairs.
    pub metrics: Metrics,
}

/// What a network is tested with: one for two cameras with both, then with each alone; one for one camera with that.
pub fn tests(trained_on: Option<Camera>) -> &'static [Modality] {
    match trained_on {
        None => &[Modality::Both, Modality::Rgb, Modality::Ir],
        Some(Camera::Rgb) => &[Modality::Rgb],
        Some(Camera::Ir) => &[Modality::Ir],
    }
}

/// The table, and below it what there is to say. `dropout`: whether a camera was blanked at times in training.
pub fn table(seen: &[Seen], dropout: bool) -> String {
    let name = |modality| match (modality, seen.len()) {
        (Modality::Both, _) => "both",
        (Modality::Rgb, 1) => "RGB",
        (Modality::Rgb, _) => "RGB alone",
        (Modality::Ir, 1) => "IR",
        (Modality::Ir, _) => "IR alone",
    };
    let rows: Vec<_> = seen.iter().map(|s| (name(s.modality), s.metrics.clone())).collect();
    let table = table::modalities(&rows);
    let fragile = if dropout { None } else { fragile(seen) };
    [Some(table), verdict(seen), fragile].into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// A network below this mAP50 finds nothing.
const NOTHING: f64 = 0.001;

/// What to look at where a network has learned nothing.
pub fn blind(seen: &[Seen]) -> Option<&'static str> {
    let best = seen.iter().map(|s| s.metrics.map50).fold(0.0, f64::max);
    (best < NOTHING).then_some(
        "the network finds nothing yet: it takes a few hundred steps at least (--epochs), fewer from trained weights \
         (--weights); train_batch.jpg of the run shows whether the boxes lie on their objects",
    )
}

/// Less of the score than this is left of a network that cannot do without a camera.
const LEFT: f64 = 0.5;

/// Where a dead camera would take most of what the network finds, what to train with.
fn fragile(seen: &[Seen]) -> Option<String> {
    let of = |modality| seen.iter().find(|s| s.modality == modality).map(|s| s.metrics.map50_95);
    let (both, rgb, ir) = (of(Modality::Both)?, of(Modality::Rgb)?, of(Modality::Ir)?);
    let (dead, left) = if rgb < ir { ("infrared", rgb) } else { ("RGB", ir) };
    (left < LEFT * both).then(|| {
        format!(
            "With the {dead} camera dead, mAP50-95 falls from {both:.3} to {left:.3}: `--modality-dropout 0.2` trains for \
             that"
        )
    })
}

/// Where both cameras together find no more than one of them, that is said; and in any case what the comparison does not
/// tell: this network was not trained for that one camera.
fn verdict(seen: &[Seen]) -> Option<String> {
    let of = |modality| seen.iter().find(|s| s.modality == modality).map(|s| &s.metrics);
    let (both, rgb, ir) = (of(Modality::Both)?, of(Modality::Rgb)?, of(Modality::Ir)?);
    let (name, flag, alone) =
        if rgb.map50_95 > ir.map50_95 { ("RGB", "rgb", rgb) } else { ("infrared", "ir", ir) };
    if both.map50_95 > alone.map50_95 || alone.map50_95 == 0.0 {
        return None;
    }
    Some(format!(
        "Both cameras do not beat {name} alone here: mAP50-95 {:.3} with both, {:.3} with the other camera blanked. A \
         network trained for one camera may be better still: compare with `yf train --model yolov8-n --modality {flag}`",
        both.map50_95, alone.map50_95
    ))
}

/// What `cameras.json` holds: `epoch` whose weights were tested, `seconds` of training, and under `cameras` (`both`,
/// `rgb`, `ir`) what `yf val --json` prints of each.
pub fn json(seen: &[Seen], names: &[String], epoch: usize, seconds: f64) -> String {
    #[derive(Serialize)]
    struct Report {
        epoch: usize,
        seconds: f64,
        cameras: serde_json::Map<String, serde_json::Value>,
    }
    let report = |s: &Seen| (s.modality.to_string(), read_back(&table::json(&s.metrics, names)));
    let report = Report { epoch, seconds, cameras: seen.iter().map(report).collect() };
    // Numbers and text alone: writing them cannot fail.
    serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
}

fn read_back(json: &str) -> serde_json::Value {
    serde_json::from_str(json).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(values: [f64; 3]) -> Vec<Seen> {
        let metrics = |map50_95| Metrics { map50_95, ..Metrics::default() };
        let seen = tests(None).iter().zip(values);
        seen.map(|(&modality, value)| Seen { modality, metrics: metrics(value) }).collect()
    }

    #[test]
    fn a_fusion_that_brings_nothing_hears_so() {
        assert_eq!(verdict(&seen([0.4, 0.2, 0.3])), None);
        let said = verdict(&seen([0.4, 0.2, 0.4125])).unwrap();
        assert!(
            said.starts_with("Both cameras do not beat infrared alone here: mAP50-95 0.400 with both, 0.412")
        );
        assert!(said.ends_with("--modality ir`"), "{said}");
        assert!(verdict(&seen([0.1, 0.2, 0.0])).unwrap().contains("RGB alone"));
        assert_eq!(verdict(&seen([0.0; 3])), None, "a network that has learned nothing has no better camera");
    }

    #[test]
    fn a_network_that_needs_both_cameras_hears_what_helps() {
        let said = fragile(&seen([0.4, 0.3, 0.125])).unwrap();
        assert!(said.starts_with("With the RGB camera dead, mAP50-95 falls from 0.400 to 0.125"), "{said}");
        assert!(fragile(&seen([0.4, 0.1, 0.3])).unwrap().contains("infrared camera dead"));
        assert_eq!(fragile(&seen([0.4, 0.2, 0.3])), None);
        assert_eq!(fragile(&seen([0.0; 3])), None);
        let both = seen([0.4, 0.3, 0.1]);
        assert_eq!(table(&both, false).lines().count(), table(&both, true).lines().count() + 1);
    }

    #[test]
    fn a_network_for_one_camera_has_one_row_and_no_verdict() {
        let one = [Seen { modality: Modality::Ir, metrics: Metrics::default() }];
        let table = table(&one, false);
        assert_eq!(table.lines().count(), 2, "{table}");
        assert!(table.lines().nth(1).unwrap().starts_with("IR "));
        assert_eq!(tests(Some(Camera::Ir)), [Modality::Ir]);
    }

    #[test]
    fn a_network_that_finds_nothing_hears_what_to_look_at() {
        let seen =
            |map50| [Seen { modality: Modality::Ir, metrics: Metrics { map50, ..Metrics::default() } }];
        assert!(blind(&seen(0.0)).is_some_and(|said| said.contains("train_batch.jpg")));
        assert_eq!(blind(&seen(0.01)), None);
    }

    #[test]
    fn the_file_names_cameras_and_classes() {
        let text = json(&seen([0.5, 0.25, 0.125]), &["person".to_owned()], 7, 1.5);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["epoch"], &value["seconds"]), (&7.into(), &1.5.into()));
        assert_eq!(value["cameras"]["rgb"]["map50_95"], 0.25);
        assert_eq!(value["cameras"].as_object().unwrap().keys().collect::<Vec<_>>(), ["both", "rgb", "ir"]);
    }
}
