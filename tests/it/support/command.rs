//! Commands of the binary on a folder's `proxy.yaml`.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The file that a build which counts its lines counts in (`.ci/coverage`): the one variable that a cleared environment keeps.
pub(crate) fn counters() -> Option<(&'static str, OsString)> {
    std::env::var_os("LLVM_PROFILE_FILE").map(|file| ("LLVM_PROFILE_FILE", file))
}

/// Starts a command; `input` is what it reads from standard input.
pub(crate) fn begin(folder: &Path, arguments: &[&str], input: &str) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_spapi-sidecar"))
        .args(arguments)
        .arg("--config")
        .arg(folder.join("proxy.yaml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // one that has ended without reading it has said why
    let _unread = child.stdin.take().unwrap().write_all(input.as_bytes());
    child
}

/// Runs a command to its end: its exit code, and all that it printed.
pub(crate) fn command(folder: &Path, arguments: &[&str], input: &str) -> (Option<i32>, String) {
    ended(begin(folder, arguments, input))
}

/// The end of a command: its exit code, `None` where it was killed, and all that it printed.
pub(crate) fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}
