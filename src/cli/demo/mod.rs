//! `demo`: the whole product on a fresh machine with no network.
//!
//! Job: a sandbox in Amazon's place, a sealed file for a store, the real sidecar, and a played legacy program; a table of what
//! it asked, what Amazon received and why.
//! Invariants: tokens are shown as kind and fingerprint; every row is checked against what it has to be.

use tokio::signal::unix::{SignalKind, signal};

use self::play::Player;
use self::world::World;
use super::{Complaint, Exit, print, run};

mod play;
mod scene;
mod table;
mod world;

/// Plays the whole product on this machine, without network or credentials.
///
/// Starts a stand-in for Amazon, a sealed store with a made-up app and two tenants, and the sidecar; then a played legacy
/// program makes calls that are injected, swapped to a restricted data token, or refused. Prints what the program sent, what
/// Amazon received (tokens as kind and fingerprint) and why, and stays up for you to try.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  spapi-sidecar demo\n  spapi-sidecar demo --once   # exit code 0 when every row came out as expected, else 1"
)]
pub struct Args {
    /// Plays once and exits: 0 when every row came out as expected, 1 otherwise.
    #[arg(long)]
    once: bool,
    /// Port of the proxy on 127.0.0.1; a free one by default.
    #[arg(long, value_name = "N", default_value_t = 0)]
    port: u16,
}

/// Runs the command.
///
/// # Errors
/// When the demo cannot be set up on this machine.
pub fn run(args: &Args) -> Result<Exit, Complaint> {
    run::no_core_dumps();
    run::control_runtime(2)?.block_on(play(args))
}

async fn play(args: &Args) -> Result<Exit, Complaint> {
    let stop = stop_signal()?;
    let world = World::build(args.port).await?;
    let player = Player::new(&world)?;
    let rows = scene::play_all(&world, &player).await?;
    print(table::draw(&rows))?;
    let surprises = rows.iter().filter(|row| row.surprise.is_some()).count();
    print(format!("\n{} calls, {surprises} surprises.\n", rows.len()))?;
    if !args.once {
        print(invitation(&world))?;
        stop.await;
    }
    world.end().await;
    Ok(if surprises == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn stop_signal() -> Result<impl Future<Output = ()>, Complaint> {
    let listen = |kind| {
        signal(kind).map_err(|error| Complaint::while_doing("cannot wait for signals", error))
    };
    let (mut interrupt, mut terminate) = (
        listen(SignalKind::interrupt())?,
        listen(SignalKind::terminate())?,
    );
    Ok(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    })
}

fn invitation(world: &World) -> String {
    let show = |name: &str| world.file(name).display().to_string();
    format!(
        "\nThe sidecar stays up until Ctrl-C. Try it:\n\n  \
         curl --proxy http://{} --cacert {} 'https://sellingpartnerapi-na.amazon.com/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER&CreatedAfter=2026-01-01T00:00:00Z'\n\n  \
         configuration   {}\n  log             {}\n  readiness       http://{admin}/health/ready\n  status          http://{admin}/api/v1/status\n  console         http://{admin}/\n",
        world.proxy(),
        show("ca.pem"),
        show("proxy.yaml"),
        show("sidecar.log"),
        admin = world.admin(),
    )
}
