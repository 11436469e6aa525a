//! Who runs a command: the name that goes into the fleet's record and the audit.

use rustix::process::getuid;

/// The name that `--by` gives, or the one that the operating system has for this user.
pub(super) fn operator(by: Option<&str>) -> String {
    by.map_or_else(
        || {
            let uid = getuid().as_raw();
            let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
            name_of(uid, &users).map_or_else(|| format!("uid {uid}"), str::to_owned)
        },
        str::to_owned,
    )
}

/// The user's name in a file of the form of passwd(5).
fn name_of(uid: u32, users: &str) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_by_the_name_in_the_systems_list() {
        let users = "root:x:0:0:root:/root:/bin/sh\n+nis\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(name_of(1000, users), Some("ada"));
        assert_eq!(name_of(0, users), Some("root"));
        assert_eq!(name_of(7, users), None);
        assert_eq!(operator(Some("eve")), "eve");
    }
}
