//! `yf train --ddp`: the launcher with real ranks on the CPU.

mod common;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::Dir;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A run of many epochs on three ranks, with its first epoch done.
fn running(dir: &Dir) -> Child {
    let arguments =
        "train --data pairs/data.yaml --imgsz 64 --device cpu --ddp 3 --batch 6 --epochs 500 --workers 1";
    let child = Command::new(env!("CARGO_BIN_EXE_yf"))
        .args(arguments.split(' '))
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("yf starts");
    let since = Instant::now();
    while !dir.join("runs/train/exp/weights/last.safetensors").exists() {
        assert!(since.elapsed() < PATIENCE, "no epoch is done");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

/// Ranks of a launcher: process ids, by rank.
fn ranks_of(launcher: &Child) -> Vec<u32> {
    let mut ranks: Vec<(String, u32)> = fs::read_dir("/proc")
        .expect("a process file system")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| parent(*pid) == Some(launcher.id()))
        .filter_map(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
            let rank =
                environment.split(|&b| b == 0).find_map(|entry| entry.strip_prefix(b"RANK="))?.to_vec();
            Some((String::from_utf8(rank).ok()?, pid))
        })
        .collect();
    ranks.sort();
    ranks.into_iter().map(|(_, pid)| pid).collect()
}

/// The second field after the name, which stands in parentheses.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn is_gone(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
}

fn wait_until_gone(pids: &[u32]) {
    let since = Instant::now();
    while !pids.iter().all(|&pid| is_gone(pid)) {
        assert!(since.elapsed() < Duration::from_secs(30), "ranks are left");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().expect("kill").success());
}

#[test]
fn a_killed_rank_ends_the_run_and_it_goes_on_with_another_number() {
    if common::trainer().is_none() {
        return;
    }
    let dir = Dir::new();
    dir.synth(15);
    let launcher = running(&dir);
    let ranks = ranks_of(&launcher);
    assert_eq!(ranks.len(), 3);
    let killed = Instant::now();
    signal("-KILL", ranks[1]);
    let done = launcher.wait_with_output().expect("an end");
    assert!(killed.elapsed() < Duration::from_secs(30));
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: rank 1 of 3 was killed by signal 9"), "{said}");
    wait_until_gone(&ranks);

    // Its plan says 500 epochs, of which one more is enough to see it go on.
    let args = dir.join("runs/train/exp/args.toml");
    let plan = fs::read_to_string(&args).expect("a plan");
    let done = fs::read_to_string(dir.join("runs/train/exp/results.csv")).expect("rows").lines().count();
    fs::write(&args, plan.replace("epochs = 500", &format!("epochs = {done}"))).expect("room for a file");
    let resumed = dir.yf(&["train", "--resume", "runs/train/exp", "--ddp", "2", "--device", "cpu"]);
    resumed.succeeds();
    let rows = fs::read_to_string(dir.join("runs/train/exp/results.csv")).expect("rows");
    assert!(rows.lines().count() > done, "{rows}");
}

#[test]
fn no_rank_outlives_its_launcher() {
    if common::trainer().is_none() {
        return;
    }
    let dir = Dir::new();
    dir.synth(15);
    let mut launcher = running(&dir);
    let ranks = ranks_of(&launcher);
    assert_eq!(ranks.len(), 3);
    launcher.kill().expect("it runs");
    launcher.wait().expect("an end");
    wait_until_gone(&ranks);
}

#[test]
fn flags_that_make_no_ranks_are_refused() {
    let dir = Dir::new();
    dir.synth(10);
    let refused = |flags: &str, variables: &[(&str, &str)], words: &str| {
        let arguments = format!("train --data pairs/data.yaml --device cpu {flags}");
        dir.yf_with(&arguments.split(' ').collect::<Vec<_>>(), variables).refuses(2, &[words]);
    };
    refused("--ddp", &[], "needs a number");
    refused("--ddp 4 --batch 2", &[], "one pair each");
    refused("--ddp 2", &[("RANK", "0")], "is a rank already");
}
