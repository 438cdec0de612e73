//! Runs of several ranks: real processes on the CPU, through Gloo.

mod runs;

use std::time::{Duration, Instant};

use runs::{Place, free_port, last, rank, read, resumed, rows, start_rank, stderr, succeed, succeed_as};
use yf_plan::{Cache, Recipe, TrainPlan};

/// One step of four batches of sixteen. With some seeds two anchors suit a box so equally that rounding decides which is
/// assigned to it, and weights differ by 1e-4; with most, this one among them, by 4e-6.
fn one_step() -> Recipe {
    Recipe { epochs: 1, batch: 16, warmup_epochs: 0.0, close_mosaic: 0, seed: 3, ..Recipe::default() }
}

/// The largest difference of any trained weight or its average, and where it is.
fn difference(a: &TrainPlan, b: &TrainPlan) -> (f32, String) {
    let (a, b) = (read(&last(a)), read(&last(b)));
    let names: Vec<&String> = a.tensors.keys().collect();
    assert_eq!(names, b.tensors.keys().collect::<Vec<_>>());
    let of = |name: &&String| {
        let pairs = a.tensors[*name].data.iter().zip(&b.tensors[*name].data);
        (pairs.map(|(x, y)| (x - y).abs()).fold(0.0, f32::max), (*name).clone())
    };
    let is_weight = |name: &&&String| !name.starts_with("train.") || name.starts_with("train.model.");
    names.iter().filter(is_weight).map(of).max_by(|x, y| x.0.total_cmp(&y.0)).unwrap()
}

#[test]
fn ranks_take_the_step_of_one_process_where_they_share_statistics() {
    let place = Place::new(80);
    let alone = place.plan("alone", one_step());
    succeed(&alone);
    for size in [2, 3] {
        let shared = place.plan(&format!("shared-{size}"), Recipe { sync_bn: true, ..one_step() });
        let said = succeed_as(&shared, size);
        assert!(said.contains("64 pairs will take") && said.contains("for all ranks"), "{said}");
        let (largest, name) = difference(&alone, &shared);
        assert!(largest < 1e-5, "{size} ranks: {name} differs by {largest}");
        let [one, many] = [&alone, &shared].map(|plan| rows(plan).remove(0));
        for (a, b) in one.train.iter().chain(&one.val).zip(many.train.iter().chain(&many.val)) {
            assert!((a - b).abs() < 1e-3 * a.abs(), "losses {one:?} and {many:?}");
        }
    }
    let apart = place.plan("apart", one_step());
    succeed_as(&apart, 2);
    let (largest, _) = difference(&alone, &apart);
    assert!(largest > 1e-4, "statistics of half a batch are others: {largest}");
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks() {
    let place = Place::new(24);
    // Three batches an epoch and a step every eight.
    let recipe = Recipe { epochs: 3, batch: 8, sync_bn: true, ..one_step() };
    let whole = place.plan("whole", recipe.clone());
    succeed_as(&whole, 2);
    let parted = place.plan("parted", recipe);
    kill_after_first_epoch(&parted, 3);
    let kept = read(&last(&parted));
    assert_eq!(kept.header.epoch, 1);
    assert!(kept.tensors.keys().any(|name| name.starts_with("train.gradient.")), "gradients wait for a step");
    succeed_as(&resumed(&parted), 2);
    assert_eq!(rows(&parted).iter().map(|row| row.epoch).collect::<Vec<_>>(), [1, 2, 3]);
    let (largest, name) = difference(&whole, &parted);
    assert!(largest < 1e-5, "{name} differs by {largest}");
}

/// Starts the ranks and kills all of them once an epoch is written down.
fn kill_after_first_epoch(plan: &TrainPlan, size: usize) {
    let port = free_port();
    let mut ranks: Vec<_> = (0..size).map(|rank| start_rank(plan, (rank, size), port)).collect();
    let since = Instant::now();
    while !last(plan).exists() {
        assert!(since.elapsed() < Duration::from_secs(120), "no epoch is done");
        std::thread::sleep(Duration::from_millis(1));
    }
    for rank in &mut ranks {
        rank.kill().unwrap();
        rank.wait().unwrap();
    }
}

#[test]
fn a_rank_that_is_killed_ends_the_others_and_is_named() {
    let place = Place::new(40);
    let plan = place.plan("run", Recipe { epochs: 500, batch: 8, ..Recipe::default() });
    let port = free_port();
    let mut ranks: Vec<_> = (0..3).map(|rank| start_rank(&plan, (rank, 3), port)).collect();
    let since = Instant::now();
    while !last(&plan).exists() {
        assert!(since.elapsed() < Duration::from_secs(120), "no epoch is done");
        std::thread::sleep(Duration::from_millis(10));
    }
    ranks[1].kill().unwrap();
    ranks[1].wait().unwrap();
    let killed = Instant::now();
    for number in [2, 0] {
        let done = ranks.remove(number).wait_with_output().unwrap();
        let said = stderr(&done);
        assert!(killed.elapsed() < Duration::from_secs(30), "rank {number} took {:?}", killed.elapsed());
        assert_eq!(done.status.code(), Some(1), "{said}");
        assert!(said.contains("rank 1 has not been heard of"), "rank {number}: {said}");
    }
}

#[test]
fn ranks_of_one_machine_may_keep_their_pairs_elsewhere() {
    let place = Place::new(10);
    let plan = place.plan("run", Recipe { epochs: 1, batch: 3, ..Recipe::default() });
    let port = free_port();
    let caches = [Cache::None, Cache::Ram, Cache::Auto];
    let ranks =
        [0, 1, 2].map(|rank| start_rank(&TrainPlan { cache: caches[rank], ..plan.clone() }, (rank, 3), port));
    for rank in ranks {
        let done = rank.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", stderr(&done));
    }
}

#[test]
fn ranks_that_were_told_different_plans_do_not_start() {
    let place = Place::new(10);
    let plan = place.plan("run", Recipe { epochs: 1, batch: 4, ..Recipe::default() });
    let other = TrainPlan { recipe: Recipe { lr0: 0.5, ..plan.recipe.clone() }, ..plan.clone() };
    let port = free_port();
    let ranks = [start_rank(&plan, (0, 2), port), start_rank(&other, (1, 2), port)];
    let said = ranks.map(|rank| stderr(&rank.wait_with_output().unwrap()));
    assert!(said[1].contains("another plan than rank 0"), "{}", said[1]);
    assert!(said[0].contains("rank 1") && said[0].contains("another plan"), "{}", said[0]);
}

/// What the launcher does where a rank's memory has run out.
#[test]
fn ranks_that_begin_again_take_half_the_batch() {
    let place = Place::new(40);
    let run = |halvings: usize, name: &str| {
        let plan = place.plan(name, Recipe { epochs: 1, batch: 9, ..Recipe::default() });
        let port = free_port();
        let start = |number| {
            let halvings = halvings.to_string();
            rank(&plan, (number, 2), port).env(yf_plan::ranks::HALVINGS, halvings).spawn().unwrap()
        };
        let ended = [0, 1].map(start).map(|child| child.wait_with_output().unwrap());
        (plan, ended)
    };
    let (plan, ended) = run(2, "fits");
    assert!(ended.iter().all(|rank| rank.status.success()));
    assert!(stderr(&ended[0]).contains("starts again with a batch of 2"), "{}", stderr(&ended[0]));
    let kept = std::fs::read_to_string(plan.run.join("args.toml")).unwrap();
    assert!(kept.contains("batch = 2\n"), "{kept}");
    let (_, ended) = run(3, "never");
    assert_eq!(ended[0].status.code(), Some(1));
    assert!(stderr(&ended[0]).contains("not even a batch of 2 fits"), "{}", stderr(&ended[0]));
}

#[test]
fn more_ranks_than_pairs_are_refused() {
    let place = Place::new(10);
    let plan = place.plan("run", Recipe { epochs: 1, batch: 1, ..Recipe::default() });
    let port = free_port();
    let ranks = [0, 1].map(|rank| start_rank(&plan, (rank, 2), port));
    for rank in ranks {
        let said = stderr(&rank.wait_with_output().unwrap());
        assert!(said.contains("a batch of 1"), "{said}");
    }
}
