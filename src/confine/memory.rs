//! Memory that no swap device ever sees.
//!
//! Job: lock all of it, each page from its first use on, now and later.
//! Invariants: done only where no later allocation can fail of it: the limit is infinite, or the process has the capability that no
//! limit binds and keeps it; done before any thread is started, and before capabilities are dropped.
//! Failure mode: [`Memory::NotLocked`]; the sidecar runs all the same and says so once.
//! Source: mlockall(2), with `MCL_ONFAULT` so that what is never used costs nothing.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Whether the process's memory may be swapped out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Memory {
    /// It is locked, and `RLIMIT_MEMLOCK` allows any amount of it.
    Locked,
    /// It is locked by `CAP_IPC_LOCK`, which has to be kept.
    LockedByCapability,
    /// It may be swapped out.
    NotLocked,
}

/// Locks the process's memory where that is allowed for any amount of it.
#[must_use]
pub fn lock_memory() -> Memory {
    let limit = getrlimit(Resource::Memlock);
    let infinite = Rlimit {
        current: None,
        ..limit
    };
    if limit == infinite || limit.maximum.is_none() && set(infinite) {
        return if lock() {
            Memory::Locked
        } else {
            Memory::NotLocked
        };
    }
    // under a limit of nothing only the capability helps: one that counts for this user namespace alone does not
    let nothing = Rlimit {
        current: Some(0),
        ..limit
    };
    let locked = set(nothing) && lock();
    set(limit);
    if locked {
        Memory::LockedByCapability
    } else {
        Memory::NotLocked
    }
}

fn set(limit: Rlimit) -> bool {
    setrlimit(Resource::Memlock, limit).is_ok()
}

fn lock() -> bool {
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).is_ok()
}
