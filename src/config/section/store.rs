//! `store`: exactly one of Vault and a sealed file.

use crate::config::error::Wrong;
use crate::config::location::{KEY_NAME, SECURE_URL, STORE_PATH};
use crate::config::read::{Section, Shape};
use crate::config::value::{PATH, Truth, WORDS};
use crate::config::{FileStore, KeyPair, Store, Transit, VaultAuth, VaultStore};

/// `store`.
pub(super) fn store(s: &mut Section<'_>) -> Option<Store> {
    let one = s.exactly_one(&["vault", "file"]);
    let vault = s.optional(
        "vault",
        &Shape(vault),
        "HashiCorp Vault or a server that speaks its API",
    );
    let file = s.optional(
        "file",
        &Shape(file),
        "a sealed file on this machine: AES-256-GCM, both files 0600",
    );
    match (vault?, file?) {
        (Some(vault), None) if one => Some(Store::Vault(vault)),
        (None, Some(file)) if one => Some(Store::File(file)),
        (Some(_) | None, _) => None,
    }
}

fn file(s: &mut Section<'_>) -> Option<FileStore> {
    let path = s.required("path", &PATH, "the sealed file");
    let key_file = s.required("key_file", &PATH, "its 32-byte key");
    let (path, key_file) = (path?, key_file?);
    if path == key_file {
        s.refuse(
            "key_file",
            Wrong::new(
                "the key would overwrite the store",
                "write two different paths",
            ),
        );
        return None;
    }
    Some(FileStore { path, key_file })
}

fn vault(s: &mut Section<'_>) -> Option<VaultStore> {
    let address = s.required("address", &SECURE_URL, "https://host:port");
    let namespace = s.optional("namespace", &WORDS, "sent as X-Vault-Namespace");
    let ca_file = s.optional(
        "ca_file",
        &PATH,
        "the one CA that is trusted; else the system's",
    );
    let auth = s.required("auth", &Shape(auth), "how the sidecar logs in: exactly one");
    let kv_mount = s.or(
        "kv_mount",
        "secret",
        &STORE_PATH,
        "mount of the KV version 2 engine",
    );
    let prefix = s.or(
        "prefix",
        "spapi-sidecar",
        &STORE_PATH,
        "folder below the mount",
    );
    let transit = s.optional(
        "transit",
        &Shape(transit),
        "one key per tenant seals what is stored for it",
    );
    let share_tokens = s.or(
        "share_tokens",
        "true",
        &Truth,
        "access tokens and refresh leases are shared by the fleet through the store",
    );
    Some(VaultStore {
        address: address?,
        namespace: namespace?,
        ca_file: ca_file?,
        auth: auth?,
        kv_mount: kv_mount?,
        prefix: prefix?,
        transit: transit?,
        share_tokens: share_tokens?,
        next_hop: None,
    })
}

fn transit(s: &mut Section<'_>) -> Option<Transit> {
    let mount = s.or(
        "mount",
        "transit",
        &STORE_PATH,
        "mount of the transit engine",
    );
    let key = s.required(
        "key",
        &KEY_NAME,
        "key name; {tenant} stands for the tenant's id",
    );
    Some(Transit {
        mount: mount?,
        key: key?,
    })
}

fn auth(s: &mut Section<'_>) -> Option<VaultAuth> {
    let one = s.exactly_one(&["approle", "kubernetes", "token_file", "cert"]);
    let approle = s.optional("approle", &Shape(approle), "AppRole");
    let kubernetes = s.optional(
        "kubernetes",
        &Shape(kubernetes),
        "Kubernetes service account",
    );
    let token_file = s.optional(
        "token_file",
        &PATH,
        "a token in a file, re-read when it changes",
    );
    let cert = s.optional("cert", &Shape(cert), "TLS client certificate");
    let found = [
        approle?,
        kubernetes?,
        token_file?.map(VaultAuth::TokenFile),
        cert?,
    ];
    found.into_iter().flatten().next().filter(|_| one)
}

fn approle(s: &mut Section<'_>) -> Option<VaultAuth> {
    let role_id_file = s.required("role_id_file", &PATH, "file that holds the role id");
    let secret_id_file = s.required(
        "secret_id_file",
        &PATH,
        "file that holds the secret id, or the token that wraps it",
    );
    let wrapped = s.or(
        "wrapped",
        "false",
        &Truth,
        "whether secret_id_file holds a wrapping token",
    );
    let mount = s.or("mount", "approle", &STORE_PATH, "mount of the auth method");
    Some(VaultAuth::AppRole {
        role_id_file: role_id_file?,
        secret_id_file: secret_id_file?,
        wrapped: wrapped?,
        mount: mount?,
    })
}

fn kubernetes(s: &mut Section<'_>) -> Option<VaultAuth> {
    let role = s.required("role", &WORDS, "role to log in as");
    let jwt_file = s.or(
        "jwt_file",
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
        &PATH,
        "the service account's JWT; read anew at every login",
    );
    let mount = s.or(
        "mount",
        "kubernetes",
        &STORE_PATH,
        "mount of the auth method",
    );
    Some(VaultAuth::Kubernetes {
        role: role?,
        jwt_file: jwt_file?,
        mount: mount?,
    })
}

fn cert(s: &mut Section<'_>) -> Option<VaultAuth> {
    let cert = s.required("cert", &PATH, "certificate chain, PEM");
    let key = s.required("key", &PATH, "private key, PEM");
    let role = s.required("role", &WORDS, "role to log in as");
    let mount = s.or("mount", "cert", &STORE_PATH, "mount of the auth method");
    Some(VaultAuth::Cert {
        pair: KeyPair {
            cert: cert?,
            key: key?,
        },
        role: role?,
        mount: mount?,
    })
}
