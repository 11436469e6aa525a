//! `run`: the sidecar.

use std::io::Write as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Complaint, ConfigArg, Exit, environment, parse};
use crate::app::App;
use crate::confine::{self, Memory};
use crate::telemetry::{self, Sink};

/// Run the sidecar until SIGTERM or SIGINT, then finish what is in flight.
///
/// Log and access lines go to standard output, one JSON object a line. It starts although the store or LWA is down, and is
/// ready (`spapi-sidecar health`) when the store has been read and every tenant's first exchange has ended, well or badly.
/// A changed file, SIGHUP and `POST /api/v1/reload` read the configuration again: tenants, routes, egress and limits change
/// under open connections; a bad file changes nothing. Listening sockets that systemd hands over (deploy/systemd) are used for
/// the addresses of `listen` that they are bound to.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  spapi-sidecar run --config /etc/spapi-sidecar/proxy.yaml")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Keep every right that the process was started with: to find out whether confinement is in the way.
    #[arg(long)]
    no_confine: bool,
}

/// Runs the command.
///
/// # Errors
/// When the configuration is not valid or something on this machine is missing.
pub fn run(args: &Args) -> Result<Exit, Complaint> {
    let path = &args.config.config;
    let text = super::read(path)?;
    let config = parse(path, &text)?;
    no_core_dumps();
    // before any thread, whom the descriptors would be as good as anybody's
    let inherited = super::handed::sockets()?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    crate::audit::make_folder(&config.audit);
    // before any thread: each hands its confinement on to those that it starts
    let memory = confine::lock_memory();
    let confined = (!args.no_confine).then(|| {
        let roots = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
        let roots: Vec<String> = roots.into_iter().filter_map(environment).collect();
        confine::confine(&args.config.config, &config, &roots, memory)
    });
    let sink = Sink::new(std::io::stdout());
    let ended = control_runtime(1)?.block_on(async {
        let mut signals = Signals::listen()?;
        // inside the runtime: what sends traces runs on it
        let wanted = environment("RUST_LOG");
        let traces = telemetry::start(&config.telemetry, wanted.as_deref(), &sink)
            .map_err(|error| Complaint(error.to_string()))?;
        say_whether_locked(memory);
        say_how_confined(confined.as_ref());
        let app = App::start_on(config, sink.clone(), cores, inherited)
            .await
            .map_err(|error| Complaint(error.to_string()))?;
        let theirs = traces.clone();
        app.metrics()
            .ask(move |readings| readings.spans_dropped = theirs.dropped());
        app.follow(path, &text, environment);
        serve(app, &mut signals).await;
        traces.flush().await;
        Ok(Exit::Done)
    });
    sink.flush();
    ended
}

fn say_whether_locked(memory: Memory) {
    match memory {
        Memory::Locked | Memory::LockedByCapability => {
            tracing::info!("memory is locked: none of it is swapped out");
        }
        Memory::NotLocked => tracing::info!(
            "memory is not locked, so that tokens may be swapped out: encrypt swap or have none, or lift RLIMIT_MEMLOCK (systemd: LimitMEMLOCK=infinity, Docker: --ulimit memlock=-1)"
        ),
    }
}

fn say_how_confined(report: Option<&confine::Report>) {
    let Some(report) = report else {
        tracing::warn!("--no-confine: the process keeps every right that it was started with");
        return;
    };
    if let Err(error) = &report.capabilities {
        tracing::warn!(%error, "capabilities could not be dropped");
    }
    for path in &report.missing {
        tracing::warn!(path = %path.display(), "this folder of the configuration was not there at the start, and is out of reach until a restart");
    }
    if report.root {
        tracing::warn!(
            "running as root: give the sidecar a user of its own; a resolv.conf that is replaced while it runs is not seen"
        );
    }
    tracing::info!(file_rules = report.files, "confined");
}

/// The signals that a running sidecar obeys.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Complaint> {
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }
}

async fn serve(app: App, signals: &mut Signals) {
    loop {
        tokio::select! {
            _ = signals.hang_up.recv() => {
                // what is wrong is in the log
                let _taken = app.reload_file("SIGHUP").is_ok();
            }
            _ = signals.terminate.recv() => break tracing::info!("SIGTERM: draining"),
            _ = signals.interrupt.recv() => break tracing::info!("SIGINT: draining"),
        }
    }
    let left = app.drain().await;
    if left.is_empty() {
        tracing::info!("drained");
    } else {
        tracing::warn!(
            ?left,
            "listen.drain_timeout is over; what is left is cut off"
        );
    }
}

fn listen(kind: SignalKind) -> Result<Signal, Complaint> {
    signal(kind).map_err(|error| Complaint::while_doing("cannot wait for signals", error))
}

/// The runtime of everything that is no connection.
///
/// # Errors
/// When threads cannot be started.
pub fn control_runtime(threads: usize) -> Result<tokio::runtime::Runtime, Complaint> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(|error| Complaint::while_doing("cannot start threads", error))
}

/// A core dump would hold every token in memory: none is written, and no other process of the same user may look inside.
pub(super) fn no_core_dumps() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let limit = setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    );
    if let Err(error) = dumpable.and(limit) {
        // worth a word, not a refusal: the process would be no safer for not running
        let _unwritable = writeln!(
            std::io::stderr(),
            "core dumps could not be switched off: {error}"
        );
    }
}
