use std::sync::atomic::AtomicUsize;

use super::*;
use crate::loader::{Cache, Loader};

/// A folder with one pair, and what a loader of it says.
struct Scene {
    folder: tempfile::TempDir,
    files: PairFiles,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str| folder.path().join(name);
        let files = PairFiles { rgb: file("rgb.png"), ir: file("ir.png"), labels: file("labels.txt") };
        let scene = Scene { folder, files };
        scene.draw(10);
        scene
    }

    /// Writes both pictures anew, with colours of their own.
    fn draw(&self, seed: u8) {
        let colour = |x: u32, y: u32| [seed, x as u8, y as u8];
        image::RgbImage::from_fn(40, 20, |x, y| image::Rgb(colour(x, y)))
            .save(&self.files.rgb)
            .expect("saved");
        image::GrayImage::from_fn(40, 20, |x, y| image::Luma([seed ^ (x * y) as u8]))
            .save(&self.files.ir)
            .expect("saved");
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn get(&self) -> Sample {
        let loader =
            |cache| Loader::new(vec![self.files.clone()], 32, cache, crate::decode::Limits::default());
        let cached = loader(Cache::Disk(self.cache())).expect("a folder").get(0).expect("a good pair");
        let fresh = loader(Cache::None).expect("no folder").get(0).expect("a good pair");
        assert_eq!(cached, fresh, "the cache tells what the files tell");
        std::sync::Arc::into_inner(cached).expect("nobody else has it")
    }

    /// Whether the cache answers without its source being decoded.
    fn hits(&self) -> bool {
        let calls = AtomicUsize::new(0);
        let cache = DiskCache::open(&self.cache(), 32, 1).expect("a folder");
        let decode = || {
            calls.fetch_add(1, Ordering::Relaxed);
            Err(DataError::Worker("decoded".to_owned()))
        };
        cache.get(0, &self.files, decode).is_ok()
    }

    /// The only file of the cache.
    fn file(&self) -> PathBuf {
        let mut files =
            fs::read_dir(self.cache()).expect("a folder").map(|entry| entry.expect("a file").path());
        let file = files.next().expect("one file");
        assert_eq!(files.next(), None);
        file
    }
}

#[test]
fn a_pair_is_decoded_once() {
    let scene = Scene::new();
    assert!(!scene.hits());
    let first = scene.get();
    assert!(scene.hits());
    assert_eq!(first, scene.get());
    let other = DiskCache::open(&scene.cache(), 64, 1).expect("a folder");
    let decoded = other.get(0, &scene.files, || Err(DataError::Worker("decoded".to_owned())));
    assert!(decoded.is_err(), "another size is another pair");
}

#[test]
fn a_changed_source_is_decoded_anew() {
    let scene = Scene::new();
    let first = scene.get();
    scene.draw(77);
    assert!(!scene.hits(), "the time of modification tells");
    assert_ne!(first, scene.get());
    assert!(scene.hits());
    // Infrared alone, and nothing but its time.
    let file = File::options().append(true).open(&scene.files.ir).expect("open");
    file.set_modified(SystemTime::now() + Duration::from_secs(5)).expect("a new time");
    assert!(!scene.hits());
}

#[test]
fn damaged_files_are_not_believed() {
    let scene = Scene::new();
    scene.get();
    let file = scene.file();
    let good = fs::read(&file).expect("read");
    let words = good.len() - 32 * 16 * 4;
    assert_eq!(words % ALIGNMENT, 0);
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let damages = [
        Vec::new(),
        good[..7].to_vec(),
        good[..words].to_vec(),
        good[..good.len() - 4].to_vec(),
        [good.as_slice(), &[0; 4]].concat(),
        flipped(0),
        flipped(words),
        flipped(good.len() - 1),
        [MAGIC.as_slice(), &[0xff; 4]].concat(),
    ];
    for (at, damage) in damages.iter().enumerate() {
        fs::write(&file, damage).expect("written");
        assert!(!scene.hits(), "damage {at}");
        scene.get();
        assert!(scene.hits(), "mended after damage {at}");
    }
}

#[test]
fn a_folder_that_takes_nothing_is_done_without() {
    let scene = Scene::new();
    fs::write(scene.cache(), "no folder").expect("written");
    let loader = Loader::new(
        vec![scene.files.clone()],
        32,
        Cache::Disk(scene.cache()),
        crate::decode::Limits::default(),
    );
    assert!(loader.is_err());
    fs::remove_file(scene.cache()).expect("removed");
    let cache = DiskCache::open(&scene.cache(), 32, 1).expect("a folder");
    fs::remove_dir(scene.cache()).expect("removed");
    let pair = crate::picture::Pair {
        rgb: crate::picture::Picture::filled(32, 16, [1, 2, 3]),
        ir: crate::picture::Picture::filled(32, 16, [4]),
    };
    let sample = cache
        .get(0, &scene.files, || Ok(Sample::new(&pair, (40, 20)).expect("of one size")))
        .expect("decoded");
    assert_eq!(sample.words()[0].to_ne_bytes(), [1, 2, 3, 4]);
}

#[test]
fn half_files_of_the_dead_are_removed() {
    let scene = Scene::new();
    fs::create_dir(scene.cache()).expect("made");
    let half = |name: &str, age: u64| {
        let path = scene.cache().join(name);
        let file = File::create(&path).expect("made");
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).expect("set");
        path
    };
    let (old, young) = (half("a.1-0.part", 7200), half("b.1-0.part", 60));
    scene.get();
    assert!(!old.exists() && young.exists());
}

/// What the child of the next test does: reads and writes the cache as fast as it can.
#[test]
fn two_processes_share_a_folder() {
    const FOLDER: &str = "YF_TEST_CACHE_FOLDER";
    let run = |folder: &Path| {
        let file = |name: &str| folder.join(name);
        let files = PairFiles { rgb: file("rgb.png"), ir: file("ir.png"), labels: file("labels.txt") };
        let whole = |fit| {
            let loader =
                |cache| Loader::new(vec![files.clone()], fit, cache, crate::decode::Limits::default());
            let expected = loader(Cache::None).expect("none").get(0).expect("good");
            for _ in 0..60 {
                let sample = loader(Cache::Disk(file("cache"))).expect("a folder").get(0).expect("good");
                assert_eq!(sample, expected);
                // Makes every process write again and again.
                for entry in fs::read_dir(file("cache")).expect("a folder").flatten() {
                    let _ = fs::remove_file(entry.path());
                }
            }
        };
        whole(64);
    };
    if let Some(folder) = std::env::var_os(FOLDER) {
        return run(Path::new(&folder));
    }
    let scene = Scene::new();
    let child = || {
        std::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "disk_cache::tests::two_processes_share_a_folder"])
            .env(FOLDER, scene.folder.path())
            .output()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(child);
        let one = child().expect("started");
        let other = other.join().expect("no panic").expect("started");
        for output in [one, other] {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    });
}
