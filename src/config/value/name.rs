//! Ids, hosts, authorities and socket addresses.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::config::error::Wrong;
use crate::config::read::Text;
use crate::name::{Authority, HostName};
use crate::tenant::{AppId, IdError, TenantId};

/// An address to listen on, or to dial.
pub(in crate::config) const SOCKET: Text<SocketAddr> = Text {
    wanted: "an IP address and a port, as in 127.0.0.1:3128 or [::1]:3128",
    schema: || json!({ "type": "string", "pattern": "^([0-9.]+|\\[[0-9A-Fa-f:.]+(%[0-9]+)?\\]):[0-9]{1,5}$" }),
    parse: |text| {
        text.parse().map_err(|_unreadable| {
            Wrong::new(
                "~ is not an address and a port",
                "write an IP address and a port, as in 127.0.0.1:3128 or [::1]:3128",
            )
        })
    },
};

const ID_WANTED: &str =
    "an id: 1 to 64 characters of a-z, 0-9, _ and -, starting with a letter or a digit";

fn id() -> Value {
    json!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$" })
}

fn bad_id(_: IdError) -> Wrong {
    Wrong::new("~ is not an id", format!("write {ID_WANTED}"))
}

/// A tenant's id.
pub(in crate::config) const TENANT_ID: Text<TenantId> = Text {
    wanted: ID_WANTED,
    schema: id,
    parse: |text| TenantId::parse(text).map_err(bad_id),
};

/// An app's id.
pub(in crate::config) const APP_ID: Text<AppId> = Text {
    wanted: ID_WANTED,
    schema: id,
    parse: |text| AppId::parse(text).map_err(bad_id),
};

/// What a host is written with.
pub(in crate::config) fn host_name_schema() -> Value {
    json!({ "pattern": "^[A-Za-z0-9._-]+$" })
}

/// What a host and a port are written with.
pub(in crate::config) fn authority_schema() -> Value {
    json!({ "pattern": "^[A-Za-z0-9._:\\[\\]-]+:[1-9][0-9]{0,4}$" })
}

/// A host that pins are for.
pub(in crate::config) fn host_name(text: &str) -> Result<HostName, Wrong> {
    HostName::parse(text)
        .map_err(|error| Wrong::new(format!("~: {error}"), "write a host, as in api.amazon.com"))
}

/// A host and a port.
pub(in crate::config) fn authority(text: &str) -> Result<Authority, Wrong> {
    Authority::parse(text).map_err(|error| {
        Wrong::new(
            format!("~: {error}"),
            "write a host and a port, as in api.amazon.com:443",
        )
    })
}
