//! `spapi-sidecar`: picks the command, runs it, turns its end into an exit code. Decides nothing.
#![expect(
    clippy::print_stderr,
    reason = "a complaint goes to the person who typed the command"
)]

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};
use spapi_sidecar::cli::{self, Complaint, Exit};

/// A tenth of the CPU time of a request under load, beside the system's allocator (benches/README.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A sidecar egress proxy for Amazon's Selling Partner API: programs stay unmodified and hold no credential.
#[derive(Parser, Debug)]
#[command(
    name = "spapi-sidecar",
    version = env!("SPAPI_SIDECAR_VERSION"),
    propagate_version = true,
    after_help = "Example:\n  spapi-sidecar init ./sidecar\n\nExit codes: 0 done, 1 the check failed, 2 usage or configuration."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Demo(cli::demo::Args),
    Init(cli::init::Args),
    Run(cli::run::Args),
    Check(cli::check::Args),
    Schema(cli::schema::Args),
    Ledger(cli::ledger::Args),
    Diagnose(cli::diagnose::Args),
    Review(cli::review::Args),
    Exec(cli::exec::Args),
    Env(cli::exec::EnvArgs),
    Ca(cli::ca::Args),
    /// Put applications' credentials (LWA client registrations) into the store.
    #[command(
        subcommand,
        after_help = "Example:\n  spapi-sidecar app put erp < credentials.txt"
    )]
    App(cli::app::AppCommand),
    Authorize(cli::authorize::Args),
    Preflight(cli::preflight::Args),
    /// Tenants (selling partners): what each needs in the store, and whether it is served.
    #[command(
        subcommand,
        after_help = "Example:\n  spapi-sidecar tenant put-token acme < refresh-token.txt"
    )]
    Tenant(cli::tenant::TenantCommand),
    /// Back up a store that is a sealed file, and put a backup in its place.
    #[command(
        subcommand,
        after_help = "Example:\n  spapi-sidecar store backup /backup/store.sealed"
    )]
    Store(cli::backup::StoreCommand),
    /// Write what a package installs beside the binary: shell completions, manual pages.
    #[command(
        subcommand,
        after_help = "Example:\n  spapi-sidecar generate man /usr/share/man/man1"
    )]
    Generate(cli::generate::GenerateCommand),
    BreakGlass(cli::break_glass::Args),
    Health(cli::health::Args),
    /// Check the audit's hash chain, and print what it holds of a tenant.
    #[command(
        subcommand,
        after_help = "Example:\n  spapi-sidecar audit verify --config proxy.yaml"
    )]
    Audit(cli::audit::AuditCommand),
    Doctor(cli::doctor::Args),
    Sandbox(cli::sandbox::Args),
}

fn main() -> ExitCode {
    // reqwest takes the process-wide provider; everything of ours names its own. A second install cannot happen here.
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run(Arguments::parse().command) {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::Failed) => ExitCode::from(1),
        Ok(Exit::Code(code)) => ExitCode::from(code),
        Err(complaint) => {
            eprintln!("spapi-sidecar: {complaint}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<Exit, Complaint> {
    match command {
        Command::Demo(args) => cli::demo::run(&args),
        Command::Init(args) => cli::init::run(&args),
        Command::Run(args) => cli::run::run(&args),
        Command::Check(args) => cli::check::run(&args),
        Command::Schema(args) => cli::schema::run(&args),
        Command::Ledger(args) => cli::ledger::run(&args),
        Command::Diagnose(args) => cli::diagnose::run(&args),
        Command::Review(args) => cli::review::run(&args),
        Command::Exec(args) => cli::exec::run(args),
        Command::Env(args) => cli::exec::run_env(args),
        Command::Ca(args) => cli::ca::run(args),
        Command::App(command) => cli::app::run(&command),
        Command::Authorize(args) => cli::authorize::run(&args),
        Command::Preflight(args) => cli::preflight::run(&args),
        Command::Tenant(command) => cli::tenant::run(&command),
        Command::Store(command) => cli::backup::run(&command),
        Command::Generate(command) => cli::generate::run(&command, Arguments::command()),
        Command::BreakGlass(args) => cli::break_glass::run(&args),
        Command::Health(args) => cli::health::run(&args),
        Command::Audit(command) => cli::audit::run(&command),
        Command::Doctor(args) => cli::doctor::run(&args),
        Command::Sandbox(args) => cli::sandbox::run(args),
    }
}
