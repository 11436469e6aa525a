//! What the kernel says of a process, and allows it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A figure of its status, in KiB, as `VmRSS`.
pub(crate) fn kib(process: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let words = line.unwrap_or_else(|| panic!("{name}: {status}"));
    words.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How many descriptors it has open.
pub(crate) fn descriptors(process: u32) -> usize {
    let folder = format!("/proc/{process}/fd");
    std::fs::read_dir(folder).unwrap().count()
}

/// Lets this process, and those that it starts, open as many descriptors as the system allows, and at least so many.
pub(crate) fn raise_descriptors(least: u64) {
    let limit = getrlimit(Resource::Nofile);
    assert!(
        limit.maximum.is_none_or(|most| most >= least),
        "{least} descriptors are needed and {limit:?} is allowed: raise the hard limit (`ulimit -Hn`)"
    );
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}
