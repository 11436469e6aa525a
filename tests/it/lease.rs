//! A fleet of sidecars that share tokens through a real store: four processes, one Vault, one Amazon.

mod fleet;
mod holder;
mod rotation;
mod sealed;
