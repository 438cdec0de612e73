//! Ranks of a distributed run on this machine: starts them, watches them, ends all when one has failed.
//!
//! They are this process's children and in its process group, so that Ctrl-C reaches all of them, and Linux kills them
//! should this process die in any other way.

use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};
use tracing::level_filters::LevelFilter;
use yf_plan::{log, ranks};

/// Where ranks of one machine meet.
const HOST: &str = "127.0.0.1";

/// A rank that runs.
struct Rank {
    number: usize,
    child: Child,
    stderr: Option<Listener>,
}

/// Passes on what a rank says and remembers its last line.
struct Listener {
    last: Arc<Mutex<String>>,
    thread: JoinHandle<()>,
}

/// How a run of ranks ended.
enum Outcome {
    Done,
    /// The memory of one ran out; none is left.
    TooLarge,
}

/// Runs `command` as `count` ranks, to the end of all of them. Where a rank's memory ran out in its first epoch all begin
/// again with half the batch.
///
/// # Errors
/// Which rank failed first, and how; then none is left.
pub fn run(command: &dyn Fn() -> Result<Command>, count: usize) -> Result<()> {
    let halved = |halvings: usize| {
        move || {
            let mut command = command()?;
            command.env(ranks::HALVINGS, halvings.to_string());
            Ok(command)
        }
    };
    let mut halvings = 0;
    while let Outcome::TooLarge = run_once(&halved(halvings), count)? {
        halvings += 1;
    }
    Ok(())
}

fn run_once(command: &dyn Fn() -> Result<Command>, count: usize) -> Result<Outcome> {
    // Listening from the first moment on, so that no other program can take the port.
    let store = TcpListener::bind((HOST, 0)).context("cannot open a port for the ranks to meet at")?;
    let muted = Arc::new(AtomicBool::new(false));
    let mut running = Vec::new();
    for number in 0..count {
        match start(command()?, (number, count), &store, &muted) {
            Ok(rank) => running.push(rank),
            Err(error) => {
                end_all(running, &muted);
                return Err(error.context(format!("cannot start rank {number} of {count}")));
            }
        }
    }
    drop(store);
    while !running.is_empty() {
        let ended = first_to_end(&running)?;
        let mut rank = running.swap_remove(ended);
        let status = rank.child.wait().context("cannot wait for a rank")?;
        if status.success() {
            continue;
        }
        let too_large = |status: &ExitStatus| status.code() == Some(ranks::BATCH_TOO_LARGE);
        let others = end_all(running, &muted);
        let said = rank.stderr.take().map(Listener::finish).unwrap_or_default();
        // The others of one whose memory ran out may have ended before it was looked at.
        if too_large(&status) || others.iter().any(too_large) {
            return Ok(Outcome::TooLarge);
        }
        bail!("{}", verdict(rank.number, count, status, &said));
    }
    Ok(Outcome::Done)
}

fn start(
    mut command: Command,
    (number, count): (usize, usize),
    store: &TcpListener,
    muted: &Arc<AtomicBool>,
) -> Result<Rank> {
    let level = if number == 0 { LevelFilter::current() } else { LevelFilter::current().min(quiet()) };
    command
        .env(ranks::RANK, number.to_string())
        .env(ranks::LOCAL_RANK, number.to_string())
        .env(ranks::SIZE, count.to_string())
        .env(ranks::LOCAL_SIZE, count.to_string())
        .env(ranks::HOST, HOST)
        .env(ranks::PORT, store.local_addr()?.port().to_string())
        .env(log::LEVEL_VARIABLE, level.to_string())
        .env_remove("TORCHELASTIC_USE_AGENT_STORE");
    if std::env::var_os("OMP_NUM_THREADS").is_none() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        command.env("OMP_NUM_THREADS", (cores / count).max(1).to_string());
    }
    let inherited = (number == 0).then(|| store.as_raw_fd());
    if let Some(socket) = inherited {
        command.env(ranks::SOCKET, socket.to_string());
    } else {
        command.stdin(Stdio::null()).stdout(Stdio::null());
    }
    // A terminal is left to rank 0: a bar is drawn there.
    let heard = number > 0 || !std::io::stderr().is_terminal();
    if heard {
        command.stderr(Stdio::piped());
    }
    let parent = std::process::id();
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(move || tie(parent, inherited)) };
    let mut child = command.spawn()?;
    let stderr = child.stderr.take().map(|pipe| Listener::start(pipe, number, Arc::clone(muted)));
    Ok(Rank { number, child, stderr })
}

/// Ranks other than the first say only errors, unless everything is wanted.
fn quiet() -> LevelFilter {
    if LevelFilter::current() > LevelFilter::INFO { LevelFilter::current() } else { LevelFilter::ERROR }
}

/// In the child: dies with its parent, and keeps the store's socket.
pub fn tie(parent: u32, socket: Option<i32>) -> std::io::Result<()> {
    let error = std::io::Error::last_os_error;
    // SAFETY: system calls on plain numbers.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
            return Err(error());
        }
        if libc::getppid() != parent as libc::pid_t {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        if let Some(socket) = socket
            && libc::fcntl(socket, libc::F_SETFD, 0) != 0
        {
            return Err(error());
        }
    }
    Ok(())
}

/// Waits until a rank has ended, and says which; leaves it to be waited for.
fn first_to_end(running: &[Rank]) -> Result<usize> {
    loop {
        // SAFETY: all zeros are a valid siginfo_t; waitid fills it.
        let (done, pid) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let done = libc::waitid(libc::P_ALL, 0, &mut info, libc::WEXITED | libc::WNOWAIT);
            (done, info.si_pid())
        };
        if done == 0
            && let Some(ended) = running.iter().position(|rank| rank.child.id() as libc::pid_t == pid)
        {
            return Ok(ended);
        }
        let error = std::io::Error::last_os_error();
        if done != 0 && error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error).context("cannot wait for the ranks");
        }
    }
}

/// Kills what still runs, and waits until it has gone; says how each ended. Files are written so that this harms none.
fn end_all(running: Vec<Rank>, muted: &AtomicBool) -> Vec<ExitStatus> {
    muted.store(true, Ordering::Relaxed);
    let mut statuses = Vec::new();
    for mut rank in running {
        // Neither fails for a child that has not been waited for.
        let _ = rank.child.kill();
        statuses.extend(rank.child.wait());
        rank.stderr.map(Listener::finish);
    }
    statuses
}

fn verdict(number: usize, count: usize, status: ExitStatus, said: &str) -> String {
    let how = match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was killed by signal {signal}{}", named(signal)),
        (None, Some(code)) => format!("ended with status {code}"),
        (None, None) => "ended".to_owned(),
    };
    let last = said.trim().strip_prefix("error: ").unwrap_or(said.trim());
    let others = if count > 1 { "; the others were stopped" } else { "" };
    let last = if last.is_empty() { String::new() } else { format!(". Its last line: {last}") };
    format!("rank {number} of {count} {how}{others}{last}")
}

fn named(signal: i32) -> &'static str {
    match signal {
        libc::SIGKILL => " (SIGKILL: by somebody, or by the system for want of memory)",
        libc::SIGSEGV => " (SIGSEGV)",
        libc::SIGABRT => " (SIGABRT)",
        libc::SIGBUS => " (SIGBUS)",
        libc::SIGTERM => " (SIGTERM)",
        libc::SIGINT => " (SIGINT)",
        _ => "",
    }
}

impl Listener {
    fn start(pipe: impl Read + Send + 'static, number: usize, muted: Arc<AtomicBool>) -> Self {
        let last = Arc::new(Mutex::new(String::new()));
        let remembered = Arc::clone(&last);
        let thread = std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                // Once a rank has failed, the others only say that they have lost it.
                if !muted.load(Ordering::Relaxed) {
                    if number == 0 {
                        log::say(&line)
                    } else {
                        log::say(format_args!("rank {number}: {line}"))
                    }
                }
                if !line.trim().is_empty() {
                    *remembered.lock().unwrap_or_else(PoisonError::into_inner) = line;
                }
            }
        });
        Listener { last, thread }
    }

    /// The last line, once the rank has closed its end.
    fn finish(self) -> String {
        let _ = self.thread.join();
        std::mem::take(&mut self.last.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn shell(script: &'static str) -> impl Fn() -> Result<Command> {
        move || {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            Ok(command)
        }
    }

    #[test]
    fn every_rank_knows_its_place() {
        run(&shell(r#"test "$WORLD_SIZE" = 3 && test "$RANK" -lt 3 && test "$RANK" = "$LOCAL_RANK""#), 3)
            .unwrap();
        run(&shell(r#"test "$RANK" != 0 || test -e /proc/self/fd/"$YF_STORE_SOCKET""#), 2).unwrap();
    }

    #[test]
    fn one_that_fails_ends_all_and_is_named_with_its_last_line() {
        let since = Instant::now();
        let script =
            r#"if test "$RANK" = 1; then echo "error: no memory left" >&2; exit 7; fi; exec sleep 60"#;
        let said = run(&shell(script), 3).unwrap_err().to_string();
        assert!(said.starts_with("rank 1 of 3 ended with status 7"), "{said}");
        assert!(said.ends_with("no memory left"), "{said}");
        assert!(since.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn all_begin_again_with_half_the_batch_where_it_does_not_fit() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log").display().to_string();
        let script = r#"
            echo "$RANK $YF_BATCH_HALVINGS" >> "$LOG"
            if test "$YF_BATCH_HALVINGS" = 2; then exit 0; fi
            if test "$RANK" = 1; then exit 75; fi
            exec sleep 60"#;
        let command = || {
            let mut command = shell(script)()?;
            command.env("LOG", &log);
            Ok(command)
        };
        run(&command, 2).unwrap();
        let text = std::fs::read_to_string(&log).unwrap();
        // Rank 0 may be ended before it has written anything, but for the last time.
        let failing: Vec<&str> = text.lines().filter(|line| line.starts_with('1')).collect();
        assert_eq!(failing, ["1 0", "1 1", "1 2"], "{text}");
        assert!(text.lines().any(|line| line == "0 2"), "{text}");
    }

    #[test]
    fn one_that_is_killed_is_named_with_its_signal() {
        let script = r#"if test "$RANK" = 2; then kill -9 $$; fi; exec sleep 60"#;
        let said = run(&shell(script), 3).unwrap_err().to_string();
        assert!(said.starts_with("rank 2 of 3 was killed by signal 9 (SIGKILL"), "{said}");
    }
}
