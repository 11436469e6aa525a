//! The sidecar as a process of its own: its memory is its own, and it can be signalled.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running binary; ended when dropped.
pub(crate) struct Process {
    child: Child,
    file: PathBuf,
    pub(crate) proxy: SocketAddr,
}

impl Process {
    /// Starts one and waits until it listens.
    pub(crate) fn start(file: &Path) -> Self {
        let mut child = command(file, &["run"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary");
        let mut lines = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
        let proxy = loop {
            let line = lines.next().expect("it listens before it ends");
            let line: serde_json::Value =
                serde_json::from_str(&line.expect("text")).expect("a JSON line");
            if let Some(listening) = line
                .get("listening")
                .and_then(|listening| listening.as_str())
            {
                let first = listening.trim_matches(['[', ']']).split(',').next();
                break first.expect("one").parse().expect("an address");
            }
        };
        // nobody reads its log, but somebody has to take it
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            file: file.to_owned(),
            proxy,
        }
    }

    /// Memory that it has in use, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("Linux");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("a figure");
        let figure = line.split_whitespace().next().expect("a figure");
        figure.parse().expect("a number")
    }

    /// Has it read its file again.
    pub(crate) fn reload(&self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::HUP).expect("it runs");
    }

    /// Runs another of its commands on the same file.
    pub(crate) fn run(&self, arguments: &[&str]) {
        let ran = command(&self.file, arguments).output().expect("the binary");
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
    }
}

fn command(file: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spapi-sidecar"));
    command.args(arguments).arg("--config").arg(file);
    command
}

impl Drop for Process {
    fn drop(&mut self) {
        // it may have ended by itself, which is as good
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
