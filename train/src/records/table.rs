//! Tables of validation results, for people: what each class reaches, and what each camera does alone.

use yf_data::metrics::{ClassMetrics, Metrics};

/// Longest name that is written whole.
const NAME_WIDTH: usize = 24;

/// A row a modality (`both`, `RGB alone`, `IR alone`): what fusion brings. Ends with a line break.
pub fn modalities(results: &[(&str, Metrics)]) -> String {
    let header = ["cameras", "precision", "recall", "mAP50", "mAP50-95"].map(String::from).to_vec();
    let rows = results.iter().map(|(name, metrics)| {
        let values = [metrics.precision, metrics.recall, metrics.map50, metrics.map50_95];
        std::iter::once(shortened(name)).chain(values.map(fraction)).collect()
    });
    align(std::iter::once(header).chain(rows).collect())
}

/// A row for all classes together and one a class that has instances; `names` are indexed by class. Classes without
/// instances are counted below. Ends with a line break.
pub fn classes(metrics: &Metrics, names: &[String]) -> String {
    let header = ["class", "pictures", "instances", "precision", "recall", "mAP50", "mAP50-95"];
    let all = ClassMetrics {
        class: 0,
        pictures: metrics.pictures,
        instances: metrics.instances,
        map50: metrics.map50,
        map50_95: metrics.map50_95,
        precision: metrics.precision,
        recall: metrics.recall,
    };
    let mut rows = vec![header.map(String::from).to_vec(), class_row("all", &all)];
    let (there, absent): (Vec<_>, Vec<_>) = metrics.per_class.iter().partition(|class| class.instances > 0);
    // With a single class its row would only repeat the one of all.
    if metrics.per_class.len() > 1 {
        rows.extend(there.iter().map(|class| class_row(&name_of(class.class, names), class)));
    }
    let mut table = align(rows);
    if !absent.is_empty() {
        let absent: Vec<String> = absent.iter().map(|class| name_of(class.class, names)).collect();
        table += &format!("no instances of: {}\n", absent.join(", "));
    }
    table
}

fn class_row(name: &str, metrics: &ClassMetrics) -> Vec<String> {
    let counts = [metrics.pictures, metrics.instances].map(|count| count.to_string());
    let values = [metrics.precision, metrics.recall, metrics.map50, metrics.map50_95].map(fraction);
    std::iter::once(shortened(name)).chain(counts).chain(values).collect()
}

pub(super) fn name_of(class: usize, names: &[String]) -> String {
    names.get(class).cloned().unwrap_or_else(|| format!("class {class}"))
}

fn fraction(value: f64) -> String {
    if value.is_finite() { format!("{value:.3}") } else { "-".to_string() }
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME_WIDTH {
        return name.to_string();
    }
    name.chars().take(NAME_WIDTH - 1).chain(['…']).collect()
}

/// The first column to the left, all others to the right.
fn align(rows: Vec<Vec<String>>) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(class: usize, instances: usize, map50: f64) -> ClassMetrics {
        ClassMetrics { class, instances, map50, pictures: 7, ..ClassMetrics::default() }
    }

    #[test]
    fn modalities_stand_in_columns() {
        let both =
            Metrics { precision: 0.7124, recall: 0.5, map50: 0.61, map50_95: 0.33, ..Metrics::default() };
        let blind = Metrics { precision: f64::NAN, ..Metrics::default() };
        let expected = "\
cameras    precision  recall  mAP50  mAP50-95
both           0.712   0.500  0.610     0.330
RGB alone          -   0.000  0.000     0.000
";
        assert_eq!(modalities(&[("both", both), ("RGB alone", blind)]), expected);
    }

    #[test]
    fn classes_without_instances_are_named_below() {
        let per_class = vec![class(0, 120, 0.5), class(1, 0, 0.0), class(2, 3, 0.25)];
        let metrics = Metrics { pictures: 40, instances: 123, map50: 0.375, per_class, ..Metrics::default() };
        let names = ["person".to_string(), "a name that is far too long for a column".to_string()];
        let expected = "\
class    pictures  instances  precision  recall  mAP50  mAP50-95
all            40        123      0.000   0.000  0.375     0.000
person          7        120      0.000   0.000  0.500     0.000
class 2         7          3      0.000   0.000  0.250     0.000
no instances of: a name that is far too long for a column
";
        assert_eq!(classes(&metrics, &names), expected);
    }

    #[test]
    fn long_names_and_empty_tables_hold() {
        assert_eq!(shortened("a name that is far too long"), "a name that is far too …");
        assert_eq!(modalities(&[]).lines().count(), 1);
        assert_eq!(classes(&Metrics::default(), &[]).lines().count(), 2);
    }
}
