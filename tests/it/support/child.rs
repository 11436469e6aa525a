//! The sidecar as a process of its own: the binary, with its output gathered.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use serde_json::Value;

use super::command::counters;
use super::sidecar::{Lines, Setup, Stage, eventually};
use super::wire::Door;

/// A running binary.
pub(crate) struct ChildSidecar {
    pub(crate) stage: Stage,
    pub(crate) admin: SocketAddr,
    door: Door,
    process: Process,
}

impl std::ops::Deref for ChildSidecar {
    type Target = Door;

    fn deref(&self) -> &Door {
        &self.door
    }
}

impl ChildSidecar {
    /// Starts the binary in a world of the test's own, and waits until it is ready where the setup says so.
    pub(crate) async fn with(setup: Setup, variables: &[(&str, &str)]) -> Self {
        let gets_ready = setup.gets_ready;
        let sidecar = Self::on(Stage::set(&setup).await, variables).await;
        if gets_ready {
            sidecar.gets_ready().await;
        }
        sidecar
    }

    /// Kills it (SIGKILL); what stood around it.
    pub(crate) fn killed(self) -> Stage {
        let Self { stage, process, .. } = self;
        drop(process);
        stage
    }

    /// Kills it and starts it anew in the same world.
    pub(crate) async fn killed_and_started_again(self) -> Self {
        Self::again(self.killed()).await
    }

    /// Starts the binary, by a command that has it and its arguments appended and that gets these listening sockets as standard
    /// input and as standard error, and waits until it is ready.
    pub(crate) async fn handed(wrapper: &[&str], stage: Stage, sockets: [TcpListener; 2]) -> Self {
        let [input, error] = sockets.map(|socket| Stdio::from(OwnedFd::from(socket)));
        let process = Process::spawn(wrapper, stage.folder.path(), &[], input, Some(error));
        let sidecar = Self::of(stage, process).await;
        sidecar.gets_ready().await;
        sidecar
    }

    /// Starts it in a world that is there already.
    pub(crate) async fn again(stage: Stage) -> Self {
        let sidecar = Self::on(stage, &[]).await;
        sidecar.gets_ready().await;
        sidecar
    }

    /// Starts the binary on a stage that is set, and waits until it listens.
    pub(crate) async fn on(stage: Stage, variables: &[(&str, &str)]) -> Self {
        let process = Process::start(stage.folder.path(), variables);
        Self::of(stage, process).await
    }

    /// Starts the binary by a command that has it and its arguments appended, and waits until it is ready.
    pub(crate) async fn under(wrapper: &[&str], setup: &Setup) -> Self {
        let stage = Stage::set(setup).await;
        let process = Process::under(wrapper, stage.folder.path(), &[]);
        let sidecar = Self::of(stage, process).await;
        sidecar.gets_ready().await;
        sidecar
    }

    async fn of(stage: Stage, process: Process) -> Self {
        let line = process.listening().await;
        let listening: Vec<SocketAddr> = line["listening"]
            .as_str()
            .unwrap()
            .trim_matches(['[', ']'])
            .split(", ")
            .map(|address| address.parse().unwrap())
            .collect();
        Self {
            admin: line["admin"].as_str().unwrap().parse().unwrap(),
            door: Door {
                proxy: listening[0],
                transparent: listening[1],
                ca_file: stage.folder.path().join("ca.pem"),
            },
            stage,
            process,
        }
    }

    /// Waits until it is ready.
    pub(crate) async fn gets_ready(&self) {
        let url = format!("http://{}/health/ready", self.admin);
        for _ in 0..500 {
            if reqwest::get(&url).await.unwrap().status() == 200 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("never ready: {}", self.stdout());
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it wrote to standard output so far.
    pub(crate) fn stdout(&self) -> String {
        self.process.stdout.text()
    }

    /// Its access records so far, in order.
    pub(crate) fn records(&self) -> Vec<Value> {
        let lines = self.process.lines();
        lines
            .into_iter()
            .filter(|line| line["outcome"].is_string())
            .collect()
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        self.process.signal(rustix::process::Signal::TERM);
    }

    /// Asks it to read its configuration again.
    pub(crate) fn hang_up(&self) {
        self.process.signal(rustix::process::Signal::HUP);
    }

    /// Ends it as a defect would.
    pub(crate) fn crash(&self) {
        self.process.signal(rustix::process::Signal::ABORT);
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.process.has_ended()
    }

    /// Waits for its end; what stood around it, its exit status, standard output and standard error.
    pub(crate) async fn ended(self) -> (Stage, ExitStatus, String, String) {
        let (status, stdout, stderr) = self.process.ended().await;
        (self.stage, status, stdout, stderr)
    }
}

/// A process of the binary, killed when it is dropped.
pub(crate) struct Process {
    child: std::sync::Mutex<Child>,
    readers: Vec<JoinHandle<()>>,
    stdout: Lines,
    stderr: Lines,
}

impl Process {
    /// Runs `run` on the `proxy.yaml` of a folder, with nothing in its environment but `variables`.
    pub(crate) fn start(folder: &Path, variables: &[(&str, &str)]) -> Self {
        Self::under(&[], folder, variables)
    }

    /// The same, started by a command that has this program and its arguments appended.
    pub(crate) fn under(wrapper: &[&str], folder: &Path, variables: &[(&str, &str)]) -> Self {
        Self::spawn(wrapper, folder, variables, Stdio::null(), None)
    }

    /// The same, with these as standard input and, unless it is to be gathered, as standard error.
    pub(crate) fn spawn(
        wrapper: &[&str],
        folder: &Path,
        variables: &[(&str, &str)],
        input: Stdio,
        error: Option<Stdio>,
    ) -> Self {
        let config = folder.join("proxy.yaml");
        let program = [env!("CARGO_BIN_EXE_spapi-sidecar"), "run", "--config"];
        let mut words = wrapper.iter().chain(&program);
        let mut child = Command::new(words.next().unwrap())
            .args(words)
            .arg(config)
            .env_clear()
            .envs(counters())
            .envs(variables.iter().copied())
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(error.unwrap_or_else(Stdio::piped))
            .spawn()
            .unwrap();
        let (stdout, stderr) = (Lines::default(), Lines::default());
        let mut readers = vec![gather(child.stdout.take().unwrap(), stdout.clone())];
        if let Some(pipe) = child.stderr.take() {
            readers.push(gather(pipe, stderr.clone()));
        }
        Self {
            child: std::sync::Mutex::new(child),
            readers,
            stdout,
            stderr,
        }
    }

    /// Waits until it listens; the log line that says where.
    pub(crate) async fn listening(&self) -> Value {
        eventually("the child listens", || {
            self.find("listening").is_some() || self.has_ended()
        })
        .await;
        self.find("listening")
            .unwrap_or_else(|| panic!("{}{}", self.stdout.text(), self.stderr.text()))
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// How many log lines there are so far with this message and this cause.
    pub(crate) fn said(&self, message: &str, cause: &str) -> usize {
        let lines = self.lines().into_iter();
        lines
            .filter(|line| line["message"] == message && line["cause"] == cause)
            .count()
    }

    fn lines(&self) -> Vec<Value> {
        let text = self.stdout.text();
        let whole = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        whole
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }

    /// The first log line with this message.
    fn find(&self, message: &str) -> Option<Value> {
        self.lines()
            .into_iter()
            .find(|line| line["message"] == message)
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.child.lock().unwrap().try_wait().unwrap().is_some()
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Ends it now, with no word to it.
    pub(crate) fn kill(&self) {
        self.signal(rustix::process::Signal::KILL);
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child.lock().unwrap());
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> (ExitStatus, String, String) {
        eventually("the child ends", || self.has_ended()).await;
        for reader in std::mem::take(&mut self.readers) {
            reader.join().unwrap();
        }
        let status = self.child.lock().unwrap().wait().unwrap();
        (status, self.stdout.text(), self.stderr.text())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        // it may have ended by itself, which is as good
        let _ended = child.kill();
        let _reaped = child.wait();
    }
}

fn gather(mut pipe: impl Read + Send + 'static, mut into: Lines) -> JoinHandle<()> {
    std::thread::spawn(move || {
        std::io::copy(&mut pipe, &mut into).unwrap();
    })
}
