//! The commands: asked of a running sidecar, or done in the store where none runs.

use std::process::Output;

use serde_json::Value;

use super::ORDERS;
use crate::support::child::ChildSidecar;
use crate::support::free_port;
use crate::support::sidecar::{Setup, Stage};

/// Runs a command on the configuration in a folder.
async fn command(stage: &Stage, arguments: &[&str]) -> Output {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_spapi-sidecar"))
        .args(arguments)
        .arg("--config")
        .arg(stage.folder.path().join("proxy.yaml"))
        .output()
        .await
        .unwrap()
}

/// Its standard output, where it did what was asked.
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A world whose admin listener the commands can find.
fn setup() -> Setup {
    Setup {
        admin: format!("127.0.0.1:{}", free_port()),
        ..Setup::default()
    }
}

#[tokio::test]
async fn the_commands_have_the_running_sidecar_do_it() {
    let sidecar = ChildSidecar::with(setup(), &[]).await;
    let stage = &sidecar.stage;
    let killed = command(stage, &["tenant", "kill", "acme", "--reason", "INC-1"]).await;
    let said = done(&killed);
    assert!(
        said.starts_with("tenant acme is killed\nThe running sidecar did it"),
        "{said}"
    );
    let answer = sidecar.call(ORDERS, &[]).await;
    assert_eq!(answer.refused(), (403, "tenant_killed".to_owned()));
    let list = done(&command(stage, &["tenant", "list"]).await);
    assert!(list.contains("killed"), "{list}");
    let shown = done(&command(stage, &["tenant", "show", "acme", "--json"]).await);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (&shown["state"], &shown["state_reason"]),
        (&"killed".into(), &"INC-1".into())
    );
    assert_eq!(shown["running"]["token_is_fresh"], false);
    assert_eq!(shown["grant"], true);
    let refreshed = command(stage, &["tenant", "refresh", "acme"]).await;
    assert_eq!(refreshed.status.code(), Some(1));
    let resumed = command(
        stage,
        &["tenant", "resume", "acme", "--reason", "mended", "--json"],
    )
    .await;
    let resumed: Value = serde_json::from_str(&done(&resumed)).unwrap();
    assert_eq!(
        (&resumed["state"], &resumed["done_by"]),
        (&"active".into(), &"sidecar".into())
    );
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    let refreshed = done(&command(stage, &["tenant", "refresh", "acme"]).await);
    assert!(
        refreshed.starts_with("tenant acme has a new access token"),
        "{refreshed}"
    );
}

#[tokio::test]
async fn a_break_glass_is_opened_listed_and_ended_by_command() {
    let sidecar = ChildSidecar::with(setup(), &[]).await;
    let stage = &sidecar.stage;
    let route = "GET /fba/inventory/v1/summaries";
    let open = [
        "break-glass",
        "acme",
        "--allow",
        route,
        "--for",
        "30m",
        "--reason",
        "INC-1",
        "--by",
        "ada",
        "--json",
    ];
    let glass: Value = serde_json::from_str(&done(&command(stage, &open).await)).unwrap();
    let target = "/fba/inventory/v1/summaries?marketplaceIds=ATVPDKIKX0DER";
    assert_eq!(sidecar.call(target, &[]).await.status, 200);
    let list = done(&command(stage, &["break-glass"]).await);
    assert!(
        list.contains(route) && list.contains("by ada: INC-1"),
        "{list}"
    );
    let id = glass["id"].as_str().unwrap();
    done(&command(stage, &["break-glass", "--revoke", id]).await);
    let answer = sidecar.call(target, &[]).await;
    assert_eq!(answer.refused(), (403, "route_denied".to_owned()));
    let list = done(&command(stage, &["break-glass"]).await);
    assert_eq!(list, "no break-glass is open\n");
    let without_reason = ["break-glass", "acme", "--allow", route, "--for", "30m"];
    assert_eq!(command(stage, &without_reason).await.status.code(), Some(2));
}

#[tokio::test]
async fn where_no_sidecar_runs_the_store_is_written_and_the_next_start_obeys() {
    let setup = setup();
    let stage = Stage::set(&setup).await;
    let kill = ["tenant", "kill", "acme", "--reason", "INC-1", "--by", "ada"];
    let said = done(&command(&stage, &kill).await);
    assert!(
        said.contains("No sidecar answers on") && said.contains("was written"),
        "{said}"
    );
    let again = done(&command(&stage, &kill).await);
    assert!(
        again.starts_with("tenant acme is already killed"),
        "{again}"
    );
    let quarantine = ["tenant", "quarantine", "acme", "--reason", "INC-2"];
    let refused = command(&stage, &quarantine).await;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let unknown = ["tenant", "kill", "amce", "--reason", "INC-1"];
    let unknown = command(&stage, &unknown).await;
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    let glass = ["break-glass"];
    assert_eq!(command(&stage, &glass).await.status.code(), Some(1));
    let sidecar = ChildSidecar::again(stage).await;
    let answer = sidecar.call(ORDERS, &[]).await;
    assert_eq!(answer.refused(), (403, "tenant_killed".to_owned()));
}

#[tokio::test]
async fn a_running_sidecars_unreadable_token_is_a_complaint_and_no_reason_to_go_round_it() {
    let sidecar = ChildSidecar::with(setup(), &[]).await;
    let token = sidecar.stage.folder.path().join("admin.token");
    std::fs::remove_file(token).unwrap();
    let kill = ["tenant", "kill", "acme", "--reason", "INC-1"];
    let output = command(&sidecar.stage, &kill).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("admin.token"), "{said}");
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
}
