//! How much memory there is, and that it stays.

use std::path::Path;

/// Bytes of memory that can still be had: what the system says, or less where a control group (a container) allows
/// less. `None` where neither can be read.
pub fn available_memory() -> Option<u64> {
    let free = std::fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(mem_available);
    match (free, control_group_rest()) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// For programs that decode pictures, at their start, before any other thread is there: a decoded picture takes megabytes
/// for milliseconds, and glibc would ask the system for such memory every time, page by page, and give it back, which is a
/// sixth of the time of decoding.
pub fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: plain numbers.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 512 << 20);
    }
}

fn mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// What a control group still allows, version 2 or 1. Cached file contents count as used there, but give way.
fn control_group_rest() -> Option<u64> {
    let read = |folder: &Path, file: &str| std::fs::read_to_string(folder.join(file)).ok();
    let number = |folder: &Path, file: &str| read(folder, file)?.trim().parse::<u64>().ok();
    let rest = |folder: &Path, limit: &str, used: &str, cached: &str| {
        let (limit, used) = (number(folder, limit)?, number(folder, used)?);
        let cached = read(folder, "memory.stat").as_deref().and_then(|stat| field(stat, cached)).unwrap_or(0);
        Some(limit.saturating_sub(used.saturating_sub(cached)))
    };
    let (two, one) = (Path::new("/sys/fs/cgroup"), Path::new("/sys/fs/cgroup/memory"));
    rest(two, "memory.max", "memory.current", "inactive_file")
        .or_else(|| rest(one, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"))
}

/// The value of `name` in lines of names and numbers.
fn field(stat: &str, name: &str) -> Option<u64> {
    let words = stat.lines().filter_map(|line| line.split_once(' '));
    words.filter(|(key, _)| *key == name).find_map(|(_, value)| value.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(mem_available("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!(field("anon 7\ninactive_file 4096\n", "inactive_file"), Some(4096));
        assert!(available_memory().is_some_and(|bytes| bytes > 0));
    }
}
