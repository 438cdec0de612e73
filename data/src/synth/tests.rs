use std::fs;

use super::*;

const SMALL: SynthPlan = SynthPlan { pairs: 11, size: (160, 128), seed: 5 };

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

fn on_threads(threads: usize, plan: &SynthPlan) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| synthesise(folder.path(), plan, |_| ())).unwrap();
    let relative =
        |(path, bytes): (PathBuf, _)| (path.strip_prefix(folder.path()).unwrap().to_path_buf(), bytes);
    files(folder.path()).into_iter().map(relative).collect()
}

#[test]
fn the_data_set_depends_on_the_plan_and_not_on_threads() {
    let one = on_threads(1, &SMALL);
    assert!(one == on_threads(3, &SMALL));
    assert_eq!(one.len(), 3 * 11 + 1);
    let rgb =
        |files: &[(PathBuf, Vec<u8>)]| files.iter().find(|f| f.0.starts_with("images")).unwrap().1.clone();
    assert!(rgb(&one) != rgb(&on_threads(2, &SynthPlan { seed: 6, ..SMALL })));
}

#[test]
fn pairs_labels_and_yaml_belong_together() {
    let folder = tempfile::tempdir().unwrap();
    let told = AtomicUsize::new(0);
    let report = synthesise(folder.path(), &SMALL, |done| {
        told.fetch_max(done, Ordering::Relaxed);
    })
    .unwrap();
    assert_eq!((report.pairs, told.into_inner()), ((9, 2), 11));
    let yaml = fs::read_to_string(&report.yaml).unwrap();
    assert!(yaml.contains("train: images/train\nval: images/val\nnames:\n  0: person\n"), "{yaml}");
    for (split, count) in [("train", 9), ("val", 2)] {
        for kind in KINDS {
            assert_eq!(files(&folder.path().join(kind).join(split)).len(), count, "{kind}/{split}");
        }
        for (path, bytes) in files(&folder.path().join("labels").join(split)) {
            for line in String::from_utf8(bytes).unwrap().lines() {
                let values: Vec<f32> = line.split(' ').map(|v| v.parse().unwrap()).collect();
                let [class, cx, cy, w, h] = values[..] else { panic!("{}: {line}", path.display()) };
                assert!(class < 3.0 && w > 0.05 && h > 0.05, "{}: {line}", path.display());
                assert!(cx - w / 2.0 > -1e-5 && cx + w / 2.0 < 1.00001, "{}: {line}", path.display());
                assert!(cy - h / 2.0 > -1e-5 && cy + h / 2.0 < 1.00001, "{}: {line}", path.display());
            }
        }
    }
}

#[test]
fn nothing_is_ever_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.txt");
    fs::write(&file, "precious").unwrap();
    for out in [folder.path(), &file] {
        let error = synthesise(out, &SMALL, |_| ()).unwrap_err();
        assert!(matches!(&error, DataError::Output { .. }), "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let empty = folder.path().join("new/folder");
    for plan in [SynthPlan { pairs: 1, ..SMALL }, SynthPlan { size: (160, 0), ..SMALL }] {
        let error = synthesise(&empty, &plan, |_| ()).unwrap_err();
        assert!(matches!(&error, DataError::Output { .. }), "{error}");
        assert!(!empty.exists());
    }
}

#[test]
fn fusion_helps_and_most_objects_are_seen_by_both() {
    let objects: Vec<SynthObject> = (0..150).flat_map(|index| render(&SMALL, index).1).collect();
    let share = |wanted: (bool, bool)| {
        let seen = objects.iter().filter(|o| (o.in_rgb, o.in_ir) == wanted).count();
        seen as f32 / objects.len() as f32
    };
    assert!((2.0..4.5).contains(&(objects.len() as f32 / 150.0)), "{} objects", objects.len());
    assert!(share((true, true)) > 0.5 && share((false, false)) == 0.0);
    assert!(share((true, false)) > 0.1 && share((false, true)) > 0.1);
    assert!((0..3).all(|class| objects.iter().filter(|o| o.class == class).count() > objects.len() / 5));
}

#[test]
fn a_pair_weighs_what_a_recorded_one_does() {
    let plan = SynthPlan { pairs: 24, size: (1280, 1024), seed: 1 };
    let weigh = |index| {
        let (pair, _) = render(&plan, index);
        let path = Path::new("in memory");
        let [rgb, ir] = [camera::compress_rgb(&pair.rgb, path), camera::compress_ir(&pair.ir, path)];
        rgb.unwrap().len() + ir.unwrap().len()
    };
    let mean = (0..plan.pairs).into_par_iter().map(weigh).sum::<usize>() / plan.pairs;
    assert!((430_000..510_000).contains(&mean), "{mean} bytes");
}
