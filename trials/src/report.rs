//! A comparison as a page of Markdown.

use std::fmt::Write;

use crate::comparison::{Alone, Compared, Comparison, Metric};
use crate::results::Camera;
use crate::statistics::{Interval, Summary};

/// The page: scores with their spread and the differences to the baseline with their intervals, what is left with one
/// camera dead, classes, flags, and how it was computed. `figure` is the path of a picture to show, from the page.
pub fn markdown(comparison: &Comparison, figure: Option<&str>) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut page, comparison, figure);
    page
}

fn write(page: &mut String, comparison: &Comparison, figure: Option<&str>) -> std::fmt::Result {
    let Comparison { baseline, folds, seeds, pairs, .. } = comparison;
    writeln!(
        page,
        "{} variants; folds: {}, seeds: {}; {:.0} pairs learned from and {:.0} tested on.\n",
        comparison.variants.len(),
        folds.len(),
        seeds.len(),
        pairs[0],
        pairs[1]
    )?;
    scores(page, comparison)?;
    if let Some(figure) = figure {
        writeln!(page, "\n![differences to {baseline}]({figure})")?;
    }
    alone(page, comparison)?;
    classes(page, comparison)?;
    flags(page, comparison)?;
    writeln!(page, "\n{}", method(comparison))
}

fn scores(page: &mut String, comparison: &Comparison) -> std::fmt::Result {
    let heads = Metric::ALL.map(|metric| format!("{} − {}", metric.name(), comparison.baseline));
    writeln!(page, "| variant | cameras | runs | mAP50 | mAP50-95 | {} | {} |", heads[0], heads[1])?;
    writeln!(page, "|---|---|---|---|---|---|---|")?;
    for variant in &comparison.variants {
        let [first, second] = [0, 1].map(|i| match &variant.difference {
            Some(intervals) => difference(&intervals[i]),
            None => String::new(),
        });
        writeln!(
            page,
            "| {} | {} | {} | {} | {} | {first} | {second} |",
            variant.name,
            camera(variant.camera),
            variant.scores[0].runs,
            spread(&variant.scores[0]),
            spread(&variant.scores[1]),
        )?;
    }
    Ok(())
}

fn alone(page: &mut String, comparison: &Comparison) -> std::fmt::Result {
    let fusions: Vec<&Compared> = comparison.variants.iter().filter(|v| !v.alone.is_empty()).collect();
    if fusions.is_empty() {
        return Ok(());
    }
    writeln!(
        page,
        "\nWith one camera dead (its picture is grey), and the part that is left of the best variant"
    )?;
    writeln!(page, "that was trained for the other camera alone:\n")?;
    writeln!(
        page,
        "| variant | camera alive | mAP50 | mAP50-95 | of | mAP50 | mAP50-95 |\n|---|---|---|---|---|---|---|"
    )?;
    for (variant, alone) in fusions.iter().flat_map(|v| v.alone.iter().map(move |alone| (v, alone))) {
        let Alone { scores, of, .. } = alone;
        let (of, parts) = match of {
            Some((name, parts)) => (name.as_str(), parts.map(|part| format!("{part:.2}"))),
            None => ("", [String::new(), String::new()]),
        };
        writeln!(
            page,
            "| {} | {} | {} | {} | {of} | {} | {} |",
            variant.name,
            camera(alone.camera),
            spread(&scores[0]),
            spread(&scores[1]),
            parts[0],
            parts[1]
        )?;
    }
    Ok(())
}

fn classes(page: &mut String, comparison: &Comparison) -> std::fmt::Result {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in comparison.variants.iter().flat_map(|variant| &variant.classes) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    if names.len() < 2 {
        return Ok(());
    }
    writeln!(page, "\nBy class, mAP50 / mAP50-95:\n\n| variant | {} |", names.join(" | "))?;
    writeln!(page, "|---|{}", "---|".repeat(names.len()))?;
    for variant in &comparison.variants {
        let cell = |name: &&str| match variant.classes.iter().find(|(class, _)| class == name) {
            Some((_, [map50, map50_95])) => format!("{} / {}", short(*map50), short(*map50_95)),
            None => "-".to_owned(),
        };
        writeln!(page, "| {} | {} |", variant.name, names.iter().map(cell).collect::<Vec<_>>().join(" | "))?;
    }
    Ok(())
}

fn flags(page: &mut String, comparison: &Comparison) -> std::fmt::Result {
    writeln!(page, "\n| variant | `yf train` |\n|---|---|")?;
    for Compared { name, arguments, .. } in &comparison.variants {
        writeln!(page, "| {name} | `{arguments}` |")?;
    }
    Ok(())
}

fn method(comparison: &Comparison) -> String {
    format!(
        "Each run was tested with its last epoch's averaged weights on the fold that was kept from it. Scores: mean of \
         the folds' means ± their standard deviation (and that of seeds within a fold). Differences to {} are paired by \
         fold and seed; in brackets the 95 % interval of Student's t over the folds' mean differences, since runs on \
         one fold are not independent, bold where it excludes zero; after the semicolon its half-width corrected for \
         training sets that overlap (Nadeau and Bengio 2003), marked * where that excludes zero too. Many variants \
         compared with one baseline make a chance find likelier than 5 %.",
        comparison.baseline
    )
}

fn camera(camera: Camera) -> &'static str {
    match camera {
        Camera::Both => "both",
        Camera::Rgb => "RGB",
        Camera::Ir => "IR",
    }
}

fn spread(summary: &Summary) -> String {
    let Summary { mean, over_folds, over_seeds, .. } = *summary;
    format!("{} ± {} ({})", short(mean), short(over_folds), short(over_seeds))
}

fn difference(interval: &Interval) -> String {
    if !interval.half.is_finite() {
        return format!("{} (one fold)", signed(interval.mean));
    }
    let [excludes, surely] = interval.excludes_zero();
    let bold = if excludes { "**" } else { "" };
    let [low, high] = [-1.0, 1.0].map(|side| signed(interval.mean + side * interval.half));
    let star = if surely { "*" } else { "" };
    format!("{bold}{}{bold} [{low}, {high}; ±{}{star}]", signed(interval.mean), short(interval.corrected))
}

/// Three digits without the zero before the point.
fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    match text.strip_prefix("0.").or(text.strip_prefix("-0.")) {
        Some(digits) if value < 0.0 && digits != "000" => format!("-.{digits}"),
        Some(digits) => format!(".{digits}"),
        None => text,
    }
}

fn signed(value: f64) -> String {
    let text = short(value.abs());
    if value < 0.0 && text != ".000" { format!("−{text}") } else { format!("+{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::trial;

    #[test]
    fn a_page_says_what_the_trials_say() {
        let mut trials = Vec::new();
        for fold in 0..3 {
            for seed in 0..2 {
                let base = 0.5 + 0.01 * fold as f64;
                // A gain of .04, .05, .06 on the folds, the same for both seeds.
                let gain = 0.04 + 0.01 * fold as f64;
                trials.push(trial("ir-only", fold, seed, &[(Camera::Ir, base)]));
                let fusion = [(Camera::Both, base + gain), (Camera::Rgb, 0.25), (Camera::Ir, 0.4592)];
                trials.push(trial("gated", fold, seed, &fusion));
                trials.push(trial("rgb-only", fold, seed, &[(Camera::Rgb, 0.25)]));
            }
        }
        let comparison = Comparison::new(&trials, None).unwrap();
        assert_eq!(comparison.baseline, "ir-only", "the best for one camera");
        let page = markdown(&comparison, Some("report.png"));
        let rows: Vec<&str> = page.lines().collect();
        assert!(rows[0].starts_with("3 variants; folds: 3, seeds: 2; 165 pairs"), "{page}");
        // scipy: t.ppf(.975, 2) * .01 / sqrt(3) = .02484; the correction is sqrt(1 + 3 * 41 / 165) = 1.3212.
        let gated = "| gated | both | 6 | .560 ± .020 (.000) | .280 ± .010 (.000) | \
                     **+.050** [+.025, +.075; ±.033*] | **+.025** [+.013, +.037; ±.016*] |";
        assert_eq!(rows[4], gated);
        assert_eq!(rows[5], "| ir-only | IR | 6 | .510 ± .010 (.000) | .255 ± .005 (.000) |  |  |");
        assert!(rows[6].contains("−.260"), "{page}");
        assert!(
            page.contains("| gated | IR | .459 ± .000 (.000) | .230 ± .000 (.000) | ir-only | 0.90 | 0.90 |")
        );
        assert!(
            page.contains(
                "| gated | RGB | .250 ± .000 (.000) | .125 ± .000 (.000) | rgb-only | 1.00 | 1.00 |"
            )
        );
        assert!(page.contains("![differences to ir-only](report.png)"));
        let png = crate::figure::png(&comparison).unwrap().unwrap();
        assert!(png.starts_with(b"\x89PNG"));
        let named = Comparison::new(&trials, Some("gated")).unwrap();
        assert!(markdown(&named, None).contains("mAP50 − gated"));
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let refused =
            |trials: &[crate::Trial], baseline| Comparison::new(trials, baseline).unwrap_err().to_string();
        let one = trial("mid", 0, 0, &[(Camera::Both, 0.5)]);
        assert!(refused(&[], None).contains("no results"));
        assert!(refused(std::slice::from_ref(&one), Some("ir-only")).contains("there are mid"));
        let other = crate::Trial { arguments: "--model mid-s".to_owned(), ..one.clone() };
        assert!(refused(&[one.clone(), other], None).contains("in two ways"));
        // The same trial from two files counts once, and one fold has no interval.
        let base = trial("ir-only", 0, 0, &[(Camera::Ir, 0.25)]);
        let page = markdown(&Comparison::new(&[one.clone(), one, base], None).unwrap(), None);
        assert!(page.contains("| mid | both | 1 |") && page.contains("+.250 (one fold)"), "{page}");
    }
}
