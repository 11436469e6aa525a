//! `exec` and `env`: the variables that send a program through a running sidecar and make it trust its root.
//!
//! Job: `exec` starts a command with the variables, `env` prints them for a shell; [`variables`] has the list.
//! Invariants: a proxy login is the one secret that can come by here, from the caller's own environment; it is handed
//! on and never printed.
//! Failure mode: exit code 127 when the command does not exist, 126 when it cannot be run, as shells say it; a sidecar
//! that does not answer is a warning, for it may still be starting.

use std::ffi::OsString;
use std::io;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use super::Complaint;
use super::ConfigArg;
use super::Exit;
use crate::tls::truststore;

pub mod variables;

use variables::Setting;

/// How long `exec` waits for the sidecar's listener to answer; on one machine it does so at once or not at all.
const PROBE: Duration = Duration::from_millis(300);

/// Run a command whose HTTPS traffic goes through the running sidecar, and exit with its code.
///
/// It sets what `env` prints: `HTTPS_PROXY` and the variables by which curl, Python, Node, Java, git, Deno and the AWS SDKs
/// find the CA. Programs that read none of them need the transparent listener (`listen.transparent`).
#[derive(clap::Args, Clone, Debug)]
#[command(
    override_usage = "spapi-sidecar exec [OPTIONS] -- <CMD>...",
    after_help = "Example:\n  spapi-sidecar exec -- python3 import.py"
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// The command and its arguments.
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    command: Vec<OsString>,
}

/// Print what `exec` would set, as shell exports.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Example:\n  eval \"$(spapi-sidecar env)\"")]
pub struct EnvArgs {
    #[command(flatten)]
    config: ConfigArg,
}

/// Runs `exec`: on success this process becomes the command.
///
/// # Errors
/// When the configuration cannot be read or names no proxy listener.
pub fn run(args: Args) -> Result<Exit, Complaint> {
    let Args { config, command } = args;
    let setting = Setting::of(&super::load(&config.config)?)?;
    let variables = prepare(&setting);
    let mut words = command.into_iter();
    let Some(program) = words.next() else {
        return Err(Complaint("exec needs a command: exec -- CMD …".to_owned()));
    };
    let error = Command::new(&program).args(words).envs(variables).exec();
    let (code, what) = if error.kind() == io::ErrorKind::NotFound {
        (127, "command not found")
    } else {
        (126, "cannot be executed")
    };
    warn(&format!(
        "exec: {}: {what} ({error})",
        program.to_string_lossy()
    ));
    Ok(Exit::Code(code))
}

/// Runs `env`.
///
/// # Errors
/// When the configuration cannot be read or names no proxy listener, or standard output is closed.
pub fn run_env(args: EnvArgs) -> Result<Exit, Complaint> {
    let EnvArgs { config } = args;
    let setting = Setting::of(&super::load(&config.config)?)?;
    let mut text = String::new();
    for (name, value) in prepare(&setting) {
        if setting.is_login(name, &value) {
            continue; // it came from the environment, stays there, and holds a key
        }
        text.push_str(&format!("export {name}={}\n", quoted(&value)));
    }
    super::print(&text)?;
    Ok(Exit::Done)
}

/// Warns of what is missing, brings Java's trust store up to date, and gives the variables.
fn prepare(setting: &Setting) -> Vec<(&'static str, String)> {
    if TcpStream::connect_timeout(&setting.proxy, PROBE).is_err() {
        warn(&format!(
            "warning: nothing listens on {}; start it with `spapi-sidecar run`",
            setting.proxy
        ));
    }
    if let Err(error) = truststore::read_root(&setting.cert)
        .and_then(|_root| truststore::refresh_pkcs12(&setting.cert, &setting.bundle))
    {
        warn(&format!(
            "warning: {} and the files beside it are not ready ({error}); `spapi-sidecar run` writes them",
            setting.cert.display()
        ));
    }
    let variables = setting.variables(&super::environment);
    let has_login = variables
        .iter()
        .any(|(name, value)| setting.is_login(name, value));
    if setting.login_required && !has_login {
        warn(&format!(
            "warning: listen.proxy_auth is required; set HTTPS_PROXY=http://TENANT:KEY@{} beforehand, it is then kept",
            setting.proxy
        ));
    }
    variables
}

fn warn(text: &str) {
    drop(writeln!(io::stderr().lock(), "spapi-sidecar: {text}"));
}

/// A value as one word of a POSIX shell.
pub(in crate::cli) fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_shell_word_whatever_it_holds() {
        for value in ["plain", "with space", "it's", "$(id)`id`\"\\", "a\nb", ""] {
            let output = Command::new("sh")
                .arg("-c")
                .arg(format!("printf %s {}", quoted(value)))
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), value);
        }
    }
}
