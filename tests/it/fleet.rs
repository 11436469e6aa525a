//! What all sidecars of a store have in common, through the front door: states, break-glass, profiles, and the commands.

mod admin;
mod break_glass;
mod command;
mod memory;
mod profile;
mod state;
mod vault;

use serde_json::json;
use spapi_sidecar::app::App;
use spapi_sidecar::config::Config;
use spapi_sidecar::telemetry::Sink;

use crate::support::admin::Admin;
use crate::support::sidecar::TestSidecar;

const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";

/// An operator of a sidecar.
fn operator(sidecar: &TestSidecar) -> Admin {
    Admin::new(sidecar.app.admin(), sidecar.folder.path())
}

/// Switches a tenant off, sets it aside, or serves it again.
async fn set(admin: &Admin, tenant: &str, to: &str) -> (u16, serde_json::Value) {
    let path = format!("/api/v1/tenants/{tenant}/{to}");
    admin
        .post(&path, json!({"reason": "INC-1", "by": "ada"}))
        .await
}

/// Another sidecar of the same store.
pub(crate) async fn another(sidecar: &TestSidecar) -> App {
    let text = sidecar.configuration().replace("/ca.pem", "/ca-2.pem");
    let config = Config::parse("proxy.yaml", &text, &|_| None).unwrap();
    let app = App::start(config, Sink::new(std::io::sink()), 1)
        .await
        .unwrap();
    app.ready().await;
    app
}
