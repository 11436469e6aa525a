//! A phantom is genuine to the key that made it, and to nobody else; nothing else ever is.

use spapi_sidecar::phantom::{KEY_BYTES, Kind, PhantomKey, Reading, is_shaped_like_one};
use spapi_sidecar::redact;
use spapi_sidecar::secret::Looks;
use spapi_sidecar::tenant::TenantId;
use zeroize::Zeroizing;

/// The bytes name a tenant and one change; all of them are also read as a token.
///
/// # Panics
/// When something is genuine that was not minted, or names another tenant.
pub fn check(data: &[u8]) {
    let key = PhantomKey::new(&Zeroizing::new([7; KEY_BYTES]));
    let other = PhantomKey::new(&Zeroizing::new([8; KEY_BYTES]));
    // a key that has minted nothing here: a fuzzer learns what it sees compared
    let unseen = PhantomKey::new(&Zeroizing::new([9; KEY_BYTES]));
    let text = String::from_utf8_lossy(data);
    let read = unseen.read(&text);
    assert!(
        matches!(read, Reading::Foreign | Reading::Forged),
        "{text:?}"
    );
    let [kind, at, change, name @ ..] = data else {
        return;
    };
    let kind = match kind % 3 {
        0 => Kind::Refresh,
        1 => Kind::Access,
        _ => Kind::Restricted,
    };
    let name = String::from_utf8_lossy(name);
    let tenant = TenantId::parse(&name).ok();
    let minted = key.mint(
        kind,
        tenant.as_ref(),
        u64::from(*at) << 32 | u64::from(*change),
    );
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    assert!(
        minted.bytes().all(plain) && is_shaped_like_one(&minted),
        "{minted}"
    );
    assert!(!Looks::of(&minted).is_real() && redact::looks_secret(&minted));
    let want = match tenant {
        Some(tenant) => Reading::Genuine(kind, tenant),
        None => Reading::Nobody(kind),
    };
    assert_eq!(key.read(&minted), want);
    assert_eq!(other.read(&minted), Reading::Forged);
    let mut altered = minted.clone().into_bytes();
    let place = usize::from(*at) % altered.len();
    altered[place] = *change;
    let altered = String::from_utf8_lossy(&altered);
    let read = key.read(&altered);
    assert!(
        altered == minted || matches!(read, Reading::Forged | Reading::Foreign),
        "{altered}"
    );
    for cut in [
        &minted[1..],
        &minted[..minted.len() - 1],
        &format!("{minted}0"),
        &format!(" {minted}"),
    ] {
        assert!(
            matches!(key.read(cut), Reading::Forged | Reading::Foreign),
            "{cut}"
        );
    }
}
