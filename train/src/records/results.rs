//! `results.csv`: a row an epoch, under the column names that tools for Ultralytics' runs read, then our own.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::error::RecordError;

const COLUMNS: [&str; 19] = [
    "epoch",
    "time",
    "train/box_loss",
    "train/cls_loss",
    "train/dfl_loss",
    "metrics/precision(B)",
    "metrics/recall(B)",
    "metrics/mAP50(B)",
    "metrics/mAP50-95(B)",
    "val/box_loss",
    "val/cls_loss",
    "val/dfl_loss",
    "lr/pg0",
    "lr/pg1",
    "lr/pg2",
    "amp/scale",
    "amp/skipped",
    "speed/pairs_per_s",
    "memory/peak_gb",
];

/// What an epoch came to. A value that was not measured is NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// From 1.
    pub epoch: usize,
    /// Seconds since the run's start.
    pub time: f64,
    /// Mean box, class and DFL loss of the training steps.
    pub train: [f64; 3],
    /// 0..1, at the confidence of the best mean F1, IoU .5.
    pub precision: f64,
    /// 0..1, at the confidence of the best mean F1, IoU .5.
    pub recall: f64,
    /// Average precision at IoU .5: 0..1.
    pub map50: f64,
    /// Average precision over IoU .5 to .95: 0..1.
    pub map50_95: f64,
    /// Mean box, class and DFL loss of the validation part.
    pub val: [f64; 3],
    /// Learning rates of the three parameter groups at the epoch's end.
    pub lr: [f64; 3],
    /// The loss scale at the epoch's end; 1 where the loss is not scaled.
    pub scale: f64,
    /// Steps skipped since the run's start because gradients were not finite.
    pub skipped: u64,
    /// Pairs trained on in a second.
    pub pairs_per_s: f64,
    /// Peak memory of the device so far, in 10^9 bytes.
    pub memory_gb: f64,
}

impl Row {
    fn to_line(self) -> String {
        let mut words = vec![self.epoch.to_string(), short(self.time)];
        words.extend(self.train.map(short));
        words.extend([self.precision, self.recall, self.map50, self.map50_95].map(short));
        words.extend(self.val.map(short));
        words.extend(self.lr.map(short));
        // In full: the scale is a power of two, and 2^24 has more than six digits.
        words.extend([self.scale.to_string(), self.skipped.to_string()]);
        words.extend([self.pairs_per_s, self.memory_gb].map(short));
        words.join(",") + "\n"
    }

    /// A row of the words in the order of [`COLUMNS`].
    fn from_words(words: [&str; 19]) -> Result<Self, String> {
        let mut values = [0.0f64; 19];
        for ((value, word), column) in values.iter_mut().zip(words).zip(COLUMNS) {
            *value = word.parse().map_err(|_| format!("column {column}: '{word}' is no number"))?;
        }
        let epoch = words[0].parse().ok().filter(|&epoch: &usize| epoch > 0);
        let three = |first: usize| [values[first], values[first + 1], values[first + 2]];
        Ok(Row {
            epoch: epoch.ok_or_else(|| format!("'{}' is no epoch (a whole number from 1)", words[0]))?,
            time: values[1],
            train: three(2),
            precision: values[5],
            recall: values[6],
            map50: values[7],
            map50_95: values[8],
            val: three(9),
            lr: three(12),
            scale: values[15],
            skipped: words[16]
                .parse()
                .map_err(|_| format!("'{}' is no count of skipped steps", words[16]))?,
            pairs_per_s: values[17],
            memory_gb: values[18],
        })
    }
}

/// Adds a row at the end, on the disk when this returns; the header goes first into a file that is new or empty.
///
/// # Errors
/// The file cannot be written; it is left as it was then, without half a row.
pub fn append(path: &Path, row: &Row) -> Result<(), RecordError> {
    let fail = |source| RecordError::io(path, source);
    let mut file = OpenOptions::new().append(true).create(true).open(path).map_err(fail)?;
    let before = file.metadata().map_err(fail)?.len();
    let header = if before == 0 { COLUMNS.join(",") + "\n" } else { String::new() };
    let written = file.write_all((header + &row.to_line()).as_bytes()).and_then(|()| file.sync_data());
    written.map_err(|source| {
        cut(&file, before);
        fail(source)
    })
}

/// A half-written row is worse than none; where even cutting fails, [`keep_until`] cleans up.
fn cut(file: &File, length: u64) {
    if let Err(error) = file.set_len(length) {
        tracing::warn!("cannot take half a row back: {error}");
    }
}

/// All rows. Columns are found by their names, so further ones do no harm.
///
/// # Errors
/// The file cannot be read, a column of ours is missing, or a line is no row.
pub fn read(path: &Path) -> Result<Vec<Row>, RecordError> {
    let text = fs::read_to_string(path).map_err(|source| RecordError::io(path, source))?;
    parse(path, &text)
}

/// Drops the rows after `epoch`, as resuming from that epoch's checkpoint needs it. The file is either the old one
/// or the new one, whole. Without a file nothing happens.
///
/// A last line without its line break is what a crash left of a row, and is dropped too.
///
/// # Errors
/// The file cannot be read or written, or is no `results.csv`.
pub fn keep_until(path: &Path, epoch: usize) -> Result<(), RecordError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(RecordError::io(path, error)),
    };
    let whole_lines = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let rows = if whole_lines.is_empty() { Vec::new() } else { parse(path, whole_lines)? };
    let kept: String = rows.iter().filter(|row| row.epoch <= epoch).map(|row| row.to_line()).collect();
    let text = COLUMNS.join(",") + "\n" + &kept;
    yf_models::durable::write(path, |out| out.write_all(text.as_bytes()))
        .map_err(|source| RecordError::io(path, source))
}

fn parse(path: &Path, text: &str) -> Result<Vec<Row>, RecordError> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let Some((_, header)) = lines.next() else {
        return Ok(Vec::new());
    };
    let names: Vec<&str> = header.split(',').map(str::trim).collect();
    let mut places = [0; 19];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        *place = (names.iter().position(|name| *name == column))
            .ok_or_else(|| RecordError::csv(path, 1, format!("there is no column {column}")))?;
    }
    let row = |(index, line): (usize, &str)| {
        let words: Vec<&str> = line.split(',').map(str::trim).collect();
        if words.len() != names.len() {
            let why = format!("{} values under {} columns", words.len(), names.len());
            return Err(RecordError::csv(path, index + 1, why));
        }
        Row::from_words(places.map(|place| words[place]))
            .map_err(|why| RecordError::csv(path, index + 1, why))
    };
    lines.map(row).collect()
}

/// Six significant digits, as short as they can be written.
fn short(value: f64) -> String {
    format!("{value:.5e}").parse::<f64>().unwrap_or(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(epoch: usize) -> Row {
        Row {
            epoch,
            time: 12.5 * epoch as f64,
            train: [1.5, 2.25, 1.125],
            precision: 0.5,
            recall: 0.25,
            map50: 0.375,
            map50_95: 0.1875,
            val: [1.75, f64::INFINITY, 1.0],
            lr: [0.01, 0.01, 1e-7],
            scale: 16_777_216.0,
            skipped: 3,
            pairs_per_s: 123.5,
            memory_gb: 4.25,
        }
    }

    fn in_folder() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("results.csv");
        (folder, path)
    }

    #[test]
    fn rows_come_back_as_written() {
        let (_folder, path) = in_folder();
        for epoch in 1..=3 {
            append(&path, &row(epoch)).expect("appended");
        }
        assert_eq!(read(&path).expect("rows"), [row(1), row(2), row(3)]);
        let text = fs::read_to_string(&path).expect("text");
        assert!(
            text.starts_with("epoch,time,train/box_loss,train/cls_loss,train/dfl_loss,metrics/precision(B),")
        );
        assert_eq!(text.matches("epoch").count(), 1);
    }

    #[test]
    fn values_are_rounded_to_six_digits_and_nan_survives() {
        assert_eq!(short(0.123_456_789), "0.123457");
        assert_eq!(short(12_345.678_9), "12345.7");
        assert_eq!(short(0.0), "0");
        let (_folder, path) = in_folder();
        append(&path, &Row { map50: f64::NAN, ..row(1) }).expect("appended");
        assert!(read(&path).expect("rows")[0].map50.is_nan());
    }

    #[test]
    fn resuming_drops_later_rows_and_half_rows() {
        let (_folder, path) = in_folder();
        keep_until(&path, 2).expect("no file is no fault");
        assert!(!path.exists());
        for epoch in 1..=4 {
            append(&path, &row(epoch)).expect("appended");
        }
        let mut text = fs::read_to_string(&path).expect("text");
        text.push_str("5,62.5,1.5,2.2");
        fs::write(&path, text).expect("written");
        assert!(read(&path).is_err());
        keep_until(&path, 2).expect("cut");
        assert_eq!(read(&path).expect("rows"), [row(1), row(2)]);
        append(&path, &row(3)).expect("appended");
        assert_eq!(read(&path).expect("rows").len(), 3);
    }

    #[test]
    fn foreign_columns_and_padding_do_no_harm() {
        let (_folder, path) = in_folder();
        let header = COLUMNS.iter().rev().map(|name| format!("  {name}")).collect::<Vec<_>>().join(",");
        let line = row(2).to_line();
        let words: Vec<&str> = line.trim().split(',').rev().collect();
        fs::write(&path, format!("note,{header}\r\nfine, {}\r\n", words.join(" , "))).expect("written");
        assert_eq!(read(&path).expect("rows"), [row(2)]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let (_folder, path) = in_folder();
        append(&path, &row(1)).expect("appended");
        let good = fs::read_to_string(&path).expect("text");
        for (text, expected) in [
            ("epoch,time\n1,2\n".to_string(), "results.csv:1: there is no column train/box_loss"),
            (good.clone() + "2,3\n", "results.csv:3: 2 values under 19 columns"),
            (good.replace("\n1,", "\n0,"), "results.csv:2: '0' is no epoch"),
            (good.replace("0.375", "much"), "results.csv:2: column metrics/mAP50(B): 'much' is no number"),
        ] {
            fs::write(&path, text).expect("written");
            let error = read(&path).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(append(Path::new("no/such/folder/results.csv"), &row(1)).is_err());
    }
}
