//! `init`: a directory that the sidecar can run from, without root.

use std::path::{Path, PathBuf};

use aws_lc_rs::rand;

use super::{Complaint, Exit};
use crate::durable;

/// Write a commented proxy.yaml and a store key, and say what to do next.
///
/// The store is a sealed file in the same directory; comments show how to use Vault. Nothing that exists is overwritten.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Example:\n  spapi-sidecar init ./sidecar")]
pub struct Args {
    /// The directory; made, with mode 0700, where it does not exist.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// The commented sample of every key, as it stands in the repository.
const SAMPLE: &str = include_str!("../../proxy.yaml");

/// Runs the command.
///
/// # Errors
/// When a file exists already or cannot be written.
pub fn run(args: &Args) -> Result<Exit, Complaint> {
    let dir = create(&args.dir)?;
    let config = dir.join("proxy.yaml");
    let key = dir.join("store.key");
    // both are looked for before either is written, so that a refusal leaves nothing behind
    for path in [&config, &key] {
        if path.symlink_metadata().is_ok() {
            return Err(Complaint(format!(
                "{}: exists already; name another directory, or move it away",
                path.display()
            )));
        }
    }
    write_new(&key, 0o600, store_key()?.as_slice())?;
    write_new(&config, 0o644, configuration(&dir)?.as_bytes())?;
    super::print(format!("{}\n", next_steps(&dir)))?;
    Ok(Exit::Done)
}

fn create(dir: &Path) -> Result<PathBuf, Complaint> {
    use std::os::unix::fs::DirBuilderExt;
    let failed = |error| Complaint::while_doing(&dir.display().to_string(), error);
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(failed)?;
    dir.canonicalize().map_err(failed)
}

/// 32 random bytes as 64 lower-case hexadecimal digits and a line end.
pub(super) fn store_key() -> Result<zeroize::Zeroizing<Vec<u8>>, Complaint> {
    let mut bytes = zeroize::Zeroizing::new([0_u8; 32]);
    rand::fill(bytes.as_mut_slice())
        .map_err(|error| Complaint::while_doing("making a store key", error))?;
    let mut text = zeroize::Zeroizing::new(Vec::with_capacity(65));
    for byte in bytes.iter() {
        for digit in [byte >> 4, byte & 15] {
            text.push(match digit {
                0..=9 => b'0' + digit,
                _ => b'a' + (digit - 10),
            });
        }
    }
    text.push(b'\n');
    Ok(text)
}

/// Writes a file that is not there yet: whole, or not at all, whatever ends the command on the way.
pub(super) fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), Complaint> {
    durable::write_new(path, mode, &[bytes])
        .map_err(|error| Complaint::while_doing(&path.display().to_string(), error))
}

/// The sample, with every path inside `dir` and the store switched to a sealed file.
fn configuration(dir: &Path) -> Result<String, Complaint> {
    let Some(dir) = dir
        .to_str()
        .filter(|dir| !dir.chars().any(char::is_control))
    else {
        return Err(Complaint(
            "the directory's name cannot be written into a text file; name another".to_owned(),
        ));
    };
    let mut text = String::with_capacity(SAMPLE.len());
    let mut vault = false;
    for line in SAMPLE.lines() {
        vault = line == "  vault:" || (vault && line.starts_with("    "));
        match (line.strip_prefix("  "), line.strip_prefix("  # file:")) {
            // Vault stays as a comment, to switch to
            (Some(line), _) if vault => {
                text.push_str("  # ");
                text.push_str(line);
            }
            (_, Some(file)) => text.push_str(&moved(&format!("  file:{file}"), dir)),
            (_, None) => text.push_str(&moved(line, dir)),
        }
        text.push('\n');
    }
    Ok(text)
}

/// A line of the sample with its paths inside `dir`, quoted as YAML wants it.
fn moved(line: &str, dir: &str) -> String {
    let found = ["/run/spapi-sidecar/", "/var/lib/spapi-sidecar/"]
        .into_iter()
        .find_map(|folder| line.split_once(folder));
    let Some((before, after)) = found else {
        return line.to_owned();
    };
    let end = after.find([' ', ',', '}']).unwrap_or(after.len());
    let (name, rest) = after.split_at_checked(end).unwrap_or((after, ""));
    let path = format!("{dir}/{name}").replace('\'', "''");
    format!("{before}'{path}'{}", moved(rest, dir))
}

fn next_steps(dir: &Path) -> String {
    let inside = |name: &str| shell_word(&dir.join(name).display().to_string());
    let (config, root) = (inside("proxy.yaml"), inside("ca.pem"));
    format!(
        "wrote {config} and {key}

next:
  1. name your app and your tenants in proxy.yaml, then
     spapi-sidecar check --config {config}
  2. spapi-sidecar app put erp --config {config}
     asks for the LWA client id and client secret
  3. spapi-sidecar tenant put-token acme --config {config}
     asks for the selling partner's refresh token
  4. spapi-sidecar run --config {config}
     stays in the foreground; then, in another shell
  5. curl --proxy http://127.0.0.1:3128 --cacert {root} \\
       'https://sellingpartnerapi-na.amazon.com/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER&CreatedAfter=2026-01-01T00:00:00Z'

{key} opens the store: keep a copy of it elsewhere, and out of version control.",
        key = inside("store.key"),
    )
}

/// A word for a POSIX shell.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::{Config, Store};

    fn init(dir: &Path) -> Result<Exit, Complaint> {
        run(&Args {
            dir: dir.to_owned(),
        })
    }

    #[test]
    fn what_is_written_passes_the_check_and_stays_inside_the_directory() {
        for name in ["plain", "it's a {dir}, $HOME # 1"] {
            let parent = tempfile::tempdir().unwrap();
            let dir = parent.path().canonicalize().unwrap().join(name);
            assert_eq!(init(&dir), Ok(Exit::Done));
            let text = std::fs::read_to_string(dir.join("proxy.yaml")).unwrap();
            let config = Config::parse("proxy.yaml", &text, &|_| None)
                .map_err(|faults| faults.to_string())
                .unwrap();
            let Store::File(store) = &config.store else {
                panic!("the store is a file");
            };
            for (path, file) in [
                (&store.path, "store.sealed"),
                (&store.key_file, "store.key"),
                (&config.interception.cert_path, "ca.pem"),
                (&config.interception.bundle_path, "ca-bundle.pem"),
                (&config.listen.admin_token_file, "admin.token"),
                (&config.audit.path, "audit.jsonl"),
            ] {
                assert_eq!(path, &dir.join(file));
            }
            assert!(text.contains("  # vault:\n  #   address: https://vault.internal:8200"));
        }
    }

    #[test]
    fn the_store_key_is_64_hexadecimal_digits_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        init(dir.path()).unwrap();
        let path = dir.path().join("store.key");
        let key = std::fs::read_to_string(&path).unwrap();
        let digits = key.strip_suffix('\n').unwrap();
        assert_eq!(digits.len(), 64);
        assert!(
            digits
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        );
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = tempfile::tempdir().unwrap();
        init(other.path()).unwrap();
        assert_ne!(
            key,
            std::fs::read_to_string(other.path().join("store.key")).unwrap()
        );
    }

    #[test]
    fn nothing_that_exists_is_overwritten() {
        for name in ["proxy.yaml", "store.key"] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(name), "mine").unwrap();
            let complaint = init(dir.path()).unwrap_err().to_string();
            assert!(complaint.contains("exists already"), "{complaint}");
            assert_eq!(
                std::fs::read_to_string(dir.path().join(name)).unwrap(),
                "mine"
            );
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "{name}");
        }
    }

    #[test]
    fn a_path_is_one_word_to_a_shell() {
        assert_eq!(shell_word("/a/b.c"), "/a/b.c");
        assert_eq!(shell_word("/it's"), "'/it'\\''s'");
    }
}
