//! Faults of meaning: what each key says well and the file as a whole does not.
//!
//! Job: check across sections, on the tree, so that these faults come out beside those of any other class.
//! Invariants: looks only at what reads well by itself; the rest has been reported by the reader.
//! Failure mode: faults, each with its place and remedy.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::error::Fault;
use super::nearest::nearest;
use super::tree::{Content, Node, Place, Scalar, item, join};
use super::{Allow, Region, marketplace};
use crate::name::{Host, HostPattern};

/// Checks a whole document.
pub(super) fn check(root: &Node, faults: &mut Vec<Fault>) {
    listeners(root, faults);
    egress(root, faults);
    repeated_ids(root, "apps", faults);
    repeated_ids(root, "tenants", faults);
    apps_of_tenants(root, faults);
    default_tenant(root, faults);
    marketplaces(root, faults);
    routes(root, faults);
}

/// The items of a list below the root, each with its path.
fn items<'a>(root: &'a Node, path: &str) -> Vec<(String, &'a Node)> {
    let mut node = Some(root);
    for key in path.split('.') {
        node = node.and_then(|node| node.child(key));
    }
    let items = node.map(Node::items).unwrap_or_default();
    items
        .iter()
        .enumerate()
        .map(|(index, node)| (item(path, index), node))
        .collect()
}

/// An address that the file makes the sidecar listen on, or a default does.
struct Listener {
    socket: SocketAddr,
    path: String,
    place: Place,
    /// Whether it serves apps, and not operators.
    for_apps: bool,
}

fn listeners(root: &Node, faults: &mut Vec<Fault>) {
    let listen = root.child("listen");
    let required = listen
        .and_then(|listen| listen.child("proxy_auth"))
        .and_then(Node::text)
        == Some("required");
    let all = bound(root);
    for listener in &all {
        let loopback = listener.socket.ip().to_canonical().is_loopback();
        if listener.for_apps && !loopback && !required {
            faults.push(listener.place.fault(
                &listener.path,
                "anybody who reaches this address could use the tenants' grants: it is not loopback, and `proxy_auth` is optional",
                "write `proxy_auth: required`, or listen on 127.0.0.1 or [::1]",
            ));
        }
    }
    for (index, listener) in all.iter().enumerate() {
        let mut earlier = all.iter().take(index);
        if let Some(other) = earlier.find(|other| collide(other.socket, listener.socket)) {
            faults.push(listener.place.fault(
                &listener.path,
                format!("{} listens on the same address and port", other.path),
                "write another port",
            ));
        }
    }
    let empty = |name: &str| {
        let list = listen.and_then(|listen| listen.child(name));
        list.filter(|list| matches!(&list.content, Content::List(items) if items.is_empty()))
    };
    let transparent = listen.and_then(|listen| listen.child("transparent"));
    if let Some(proxy) = empty("proxy")
        && (transparent.is_none_or(Node::is_null) || empty("transparent").is_some())
    {
        faults.push(proxy.place.fault(
            "listen.proxy",
            "nothing listens: `proxy` and `transparent` are both empty",
            "write an address and a port in one of them, as in [\"127.0.0.1:3128\"]",
        ));
    }
}

/// Every listener whose address can be read; a default stands where `listen` does.
fn bound(root: &Node) -> Vec<Listener> {
    let listen = root.child("listen");
    let start = listen.map_or(root.place, |listen| listen.place);
    let key = |key: &str| {
        let node = listen.and_then(|listen| listen.child(key));
        node.filter(|node| !node.is_null())
    };
    let default = |port: u16, path: &str| Listener {
        socket: SocketAddr::from(([127, 0, 0, 1], port)),
        path: path.to_owned(),
        place: start,
        for_apps: path != "listen.admin",
    };
    let written = |path: String, node: &Node| {
        Some(Listener {
            socket: node.text()?.parse().ok()?,
            place: node.place,
            for_apps: path != "listen.admin",
            path,
        })
    };
    let mut all = Vec::new();
    if key("proxy").is_none() {
        all.push(default(3128, "listen.proxy"));
    }
    for list in ["listen.proxy", "listen.transparent"] {
        let found = items(root, list).into_iter();
        all.extend(found.filter_map(|(path, node)| written(path, node)));
    }
    match key("admin") {
        None => all.push(default(9902, "listen.admin")),
        Some(node) => all.extend(written("listen.admin".to_owned(), node)),
    }
    all
}

/// Whether the second of two could not be bound beside the first. Port 0 is a new port each time.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let any = |ip: std::net::IpAddr| ip.is_unspecified();
    let family = one.is_ipv4() == other.is_ipv4();
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || (family && (any(one.ip()) || any(other.ip()))))
}

fn egress(root: &Node, faults: &mut Vec<Fault>) {
    let mut seen: HashMap<HostPattern, String> = HashMap::new();
    for (path, rule) in items(root, "egress") {
        let Some(host) = rule.child("host") else {
            continue;
        };
        let Some(pattern) = host.text().and_then(|text| HostPattern::parse(text).ok()) else {
            continue;
        };
        let path = join(&path, "host");
        let mode = rule.child("mode").and_then(Node::text);
        let address = matches!(pattern, HostPattern::Exact(Host::Ip(_)));
        if let (true, Some(mode @ ("inject" | "lwa" | "document"))) = (address, mode) {
            faults.push(host.place.fault(
                &path,
                format!("mode {mode} intercepts, and our certificates never name an IP address"),
                "write a host name, or `mode: tunnel`",
            ));
        }
        if let Some(first) = seen.get(&pattern) {
            faults.push(host.place.fault(
                &path,
                format!("{first} names the same host, and the first match wins"),
                "keep one of the two, with all its `ports`",
            ));
        } else {
            seen.insert(pattern, path);
        }
    }
}

fn repeated_ids(root: &Node, list: &str, faults: &mut Vec<Fault>) {
    let mut seen: HashMap<&str, String> = HashMap::new();
    for (path, entry) in items(root, list) {
        let Some(id) = entry.child("id") else {
            continue;
        };
        let Some(text) = id.text() else {
            continue;
        };
        let path = join(&path, "id");
        if let Some(first) = seen.get(text) {
            faults.push(id.place.fault(
                &path,
                format!("{first} is the same id"),
                "write another id, or keep one of the two",
            ));
        } else {
            seen.insert(text, path);
        }
    }
}

/// The ids of a list.
fn ids<'a>(root: &'a Node, list: &str) -> Vec<&'a Scalar> {
    items(root, list)
        .into_iter()
        .filter_map(|(_, entry)| entry.child("id").filter(|id| id.text().is_some()))
        .filter_map(Node::scalar)
        .collect()
}

/// Reports an id that names nothing of a list. What the environment gave is known and never named.
fn names_one(
    node: &Node,
    (list, known): (&str, &[&Scalar]),
    (path, problem): (&str, &str),
    faults: &mut Vec<Fault>,
) {
    let Some(id) = node
        .text()
        .filter(|id| known.iter().all(|known| known.text != *id))
    else {
        return;
    };
    let written = known.iter().filter(|known| !known.from_environment);
    let written: Vec<&str> = written.map(|known| known.text.as_str()).collect();
    let remedy = match nearest(id, written.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if written.is_empty() => format!("add it under `{list}`"),
        None => format!(
            "write one of {}, or add it under `{list}`",
            written.join(", ")
        ),
    };
    faults.push(node.place.fault(path, problem, remedy));
}

fn apps_of_tenants(root: &Node, faults: &mut Vec<Fault>) {
    let known = ids(root, "apps");
    for (path, tenant) in items(root, "tenants") {
        if let Some(app) = tenant.child("app") {
            let at = (&*join(&path, "app"), "no app has this id");
            names_one(app, ("apps", &known), at, faults);
        }
    }
}

fn default_tenant(root: &Node, faults: &mut Vec<Fault>) {
    let from_store = root
        .child("tenants")
        .is_some_and(|tenants| !tenants.entries().is_empty());
    if let Some(node) = root.child("default_tenant").filter(|_| !from_store) {
        let at = ("default_tenant", "no tenant has this id");
        names_one(node, ("tenants", &ids(root, "tenants")), at, faults);
    }
}

/// Checks the marketplaces of each tenant: known, and of its region.
pub(super) fn marketplaces(root: &Node, faults: &mut Vec<Fault>) {
    for (path, tenant) in items(root, "tenants") {
        let region = match tenant.child("region").and_then(Node::text) {
            Some("na") => Some(Region::Na),
            Some("eu") => Some(Region::Eu),
            Some("fe") => Some(Region::Fe),
            _ => None,
        };
        let list = tenant.child("marketplaces").map(Node::items);
        for (index, node) in list.unwrap_or_default().iter().enumerate() {
            let Some(id) = node.text() else {
                continue;
            };
            let path = item(&join(&path, "marketplaces"), index);
            match (marketplace::region(id), region) {
                (None, _) => faults.push(node.place.fault(
                    &path,
                    "Amazon has no marketplace of this id",
                    match marketplace::of_country(id).or_else(|| nearest(id, marketplace::ids())) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "write a marketplaceId, as in ATVPDKIKX0DER".to_owned(),
                    },
                )),
                (Some(there), Some(here)) if there != here => faults.push(node.place.fault(
                    &path,
                    format!(
                        "the marketplace belongs to region {}, the tenant to {}",
                        there.as_str(),
                        here.as_str()
                    ),
                    format!(
                        "write one of {}; one authorization covers one region",
                        marketplace::of_region(here).collect::<Vec<_>>().join(", ")
                    ),
                )),
                (Some(_), _) => {}
            }
        }
    }
}

fn routes(root: &Node, faults: &mut Vec<Fault>) {
    let mut seen: HashMap<String, (String, Allow)> = HashMap::new();
    for (path, route) in items(root, "routes") {
        let Some(allow) = route.child("allow") else {
            continue;
        };
        let path = join(&path, "allow");
        let entries: Vec<(String, &Node)> = match allow.items() {
            [] => vec![(path, allow)],
            list => list
                .iter()
                .enumerate()
                .map(|(index, node)| (item(&path, index), node))
                .collect(),
        };
        for (path, node) in entries {
            let Some(allow) = node.text().and_then(|text| Allow::parse(text).ok()) else {
                continue;
            };
            match seen.get(&allow.shape()) {
                Some((first, same)) if *same == allow => faults.push(node.place.fault(
                    &path,
                    format!("{first} allows the same method and path"),
                    "keep one of the two",
                )),
                Some((first, _)) => faults.push(node.place.fault(
                    &path,
                    format!("{first} matches the same paths under other parameter names"),
                    "keep one of the two",
                )),
                None => {
                    seen.insert(allow.shape(), (path, allow));
                }
            }
        }
    }
}
