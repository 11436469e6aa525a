//! Finding runtimes, and running the probes in them.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::{Finding, Outcome};
use crate::cli::{Complaint, environment};

/// Longest that all calls of one runtime may take. Each is bounded by itself; a Java or Go compiler comes on top.
const BOUND: Duration = Duration::from_secs(60);

/// Most bytes of a probe's output that are read; it writes a few lines.
const MOST: usize = 64 << 10;

/// A kind of runtime: what its programs are called, and how it is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Curl,
    Python,
    Node,
    Java,
    Php,
    Ruby,
    Go,
    Dotnet,
}

/// Every kind with the names of its program, the usual one first.
const KINDS: [(Kind, &[&str]); 8] = [
    (Kind::Curl, &["curl"]),
    (Kind::Python, &["python3", "python"]),
    (Kind::Node, &["node", "nodejs"]),
    (Kind::Java, &["java"]),
    (Kind::Php, &["php"]),
    (Kind::Ruby, &["ruby"]),
    (Kind::Go, &["go"]),
    (Kind::Dotnet, &["dotnet"]),
];

/// A runtime of this place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Runtime {
    kind: Kind,
    program: PathBuf,
}

/// The runtimes in PATH, or the one that a command's first word names.
///
/// # Errors
/// When a command is given that is no runtime, or is not found.
pub(super) fn runtimes(named: Option<&OsString>) -> Result<Vec<Runtime>, Complaint> {
    let path = environment("PATH").unwrap_or_default();
    let Some(named) = named else {
        return Ok(KINDS
            .iter()
            .filter_map(|(kind, names)| {
                let program = names.iter().find_map(|name| find(name.as_ref(), &path))?;
                Some(Runtime {
                    kind: *kind,
                    program,
                })
            })
            .collect());
    };
    let program = find(named, &path).ok_or_else(|| {
        Complaint(format!(
            "{} is not found; name the program as the command does",
            named.to_string_lossy()
        ))
    })?;
    let kind = kind_of(&program).ok_or_else(|| {
        Complaint(format!("{} is none of curl, Python, Node, Java, PHP, Ruby, Go and .NET; name the runtime that runs the program, as in `doctor -- python3`", program.display()))
    })?;
    Ok(vec![Runtime { kind, program }])
}

fn find(name: &OsStr, path: &str) -> Option<PathBuf> {
    let given = Path::new(name);
    if given.components().count() > 1 {
        return given.is_file().then(|| given.to_owned());
    }
    std::env::split_paths(path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// `python3.11` and `node20` are what they begin with; a script is what its first line names.
fn kind_of(program: &Path) -> Option<Kind> {
    let by_name = |name: &str| {
        KINDS.iter().find_map(|(kind, names)| {
            names
                .iter()
                .any(|known| {
                    name.strip_prefix(known).is_some_and(|rest| {
                        rest.bytes()
                            .all(|byte| byte.is_ascii_digit() || byte == b'.')
                    })
                })
                .then_some(*kind)
        })
    };
    by_name(program.file_name()?.to_str()?)
}

/// Tries all runtimes, one after another: side by side they would wait for each other's cores.
pub(super) async fn all(runtimes: &[Runtime], url: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for runtime in runtimes {
        findings.extend(runtime.tried(url).await);
    }
    findings
}

/// A line of a probe.
#[derive(Deserialize)]
struct Line {
    name: String,
    version: String,
    outcome: String,
    detail: String,
}

impl Runtime {
    async fn tried(&self, url: &str) -> Vec<Finding> {
        match self.kind {
            Kind::Curl => vec![self.curl(url).await],
            Kind::Python => {
                self.script(url, &["-"], include_str!("script/probe.py"))
                    .await
            }
            Kind::Node => self.node(url).await,
            Kind::Php => {
                self.script(url, &["--"], include_str!("script/probe.php"))
                    .await
            }
            Kind::Ruby => {
                self.script(url, &["-"], include_str!("script/probe.rb"))
                    .await
            }
            Kind::Java => {
                self.file(url, &[], "Probe.java", include_str!("script/Probe.java"))
                    .await
            }
            Kind::Go => {
                self.file(url, &["run"], "probe.go", include_str!("script/probe.go"))
                    .await
            }
            Kind::Dotnet => vec![self.not_tried(".NET", "no program can be run without a project")],
        }
    }

    async fn node(&self, url: &str) -> Vec<Finding> {
        let here = std::env::current_dir().unwrap_or_default();
        let here = here.display().to_string();
        let arguments = ["--input-type=module", "-", url, here.as_str()];
        self.lines(&arguments, Some(include_str!("script/probe.mjs")))
            .await
    }

    /// A script on standard input, with the URL as its argument.
    async fn script(&self, url: &str, before: &[&str], text: &str) -> Vec<Finding> {
        let arguments: Vec<&str> = before.iter().copied().chain([url]).collect();
        self.lines(&arguments, Some(text)).await
    }

    /// A source file, for runtimes that want one.
    async fn file(&self, url: &str, before: &[&str], name: &str, text: &str) -> Vec<Finding> {
        let folder =
            std::env::temp_dir().join(format!("spapi-sidecar-doctor-{}", std::process::id()));
        let path = folder.join(name);
        if let Err(error) =
            std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, text))
        {
            return vec![self.not_tried(name, &format!("{}: {error}", path.display()))];
        }
        let shown = path.display().to_string();
        let arguments: Vec<&str> = before
            .iter()
            .copied()
            .chain([shown.as_str(), url])
            .collect();
        let findings = self.lines(&arguments, None).await;
        // what is left there is a source file of ours
        let _stays = std::fs::remove_dir_all(&folder);
        findings
    }

    async fn lines(&self, arguments: &[&str], input: Option<&str>) -> Vec<Finding> {
        let (text, errors) = match self.output(arguments, input).await {
            Ok(output) => output,
            Err(why) => return vec![self.not_tried("", &why)],
        };
        let findings: Vec<Finding> = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Line>(line).ok())
            .map(|line| Finding {
                outcome: outcome(&line.outcome),
                ..self.finding(line.name, line.version, line.detail)
            })
            .collect();
        if findings.is_empty() {
            let why = errors
                .lines()
                .find(|line| !line.trim().is_empty() && !line.starts_with("Picked up"));
            return vec![self.not_tried("", why.unwrap_or("it wrote nothing"))];
        }
        findings
    }

    async fn curl(&self, url: &str) -> Finding {
        let wanted = [
            "--silent",
            "--show-error",
            "--max-time",
            "10",
            "--output",
            "/dev/null",
            "--dump-header",
            "-",
            "--suppress-connect-headers",
            "--write-out",
            "\ncurl-exit: %{exitcode}\ncurl-connect: %{http_connect}\n",
            url,
        ];
        let (text, errors) = match self.output(&wanted, None).await {
            Ok(output) => output,
            Err(why) => return self.not_tried("curl", &why),
        };
        let has = |start: &str| {
            text.lines()
                .any(|line| line.to_ascii_lowercase().starts_with(start))
        };
        let outcome = if has("x-spapi-sidecar-request-id:") {
            Outcome::Sidecar
        } else if has("curl-exit: 60") || has("curl-exit: 77") {
            Outcome::Untrusted
        } else if has("curl-connect: 407") {
            Outcome::Login
        } else if has("curl-exit: 0") {
            Outcome::Direct
        } else {
            Outcome::Unreachable
        };
        let version = self
            .output(&["--version"], None)
            .await
            .unwrap_or_default()
            .0;
        let version = version
            .split_whitespace()
            .nth(1)
            .unwrap_or_default()
            .to_owned();
        let detail = errors.lines().next().unwrap_or_default().to_owned();
        Finding {
            outcome,
            ..self.finding("curl".to_owned(), version, detail)
        }
    }

    /// Standard output and standard error of the program.
    async fn output(
        &self,
        arguments: &[&str],
        input: Option<&str>,
    ) -> Result<(String, String), String> {
        let mut child = Command::new(&self.program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut stdin = child.stdin.take();
        let run = async {
            if let (Some(stdin), Some(text)) = (&mut stdin, input) {
                // a program that ends before it has read all says why on its own
                let _ended = stdin.write_all(text.as_bytes()).await;
            }
            drop(stdin);
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(BOUND, run)
            .await
            .map_err(|_elapsed| format!("it did not end within {} s", BOUND.as_secs()))?
            .map_err(|error| error.to_string())?;
        let text =
            |bytes: &[u8]| String::from_utf8_lossy(bytes.get(..MOST).unwrap_or(bytes)).into_owned();
        Ok((text(&output.stdout), text(&output.stderr)))
    }

    fn finding(&self, name: String, version: String, detail: String) -> Finding {
        Finding {
            name,
            version,
            program: self.program.display().to_string(),
            outcome: Outcome::NotTried,
            detail,
            set: Vec::new(),
        }
    }

    fn not_tried(&self, name: &str, why: &str) -> Finding {
        let name = match (name, self.program.file_name()) {
            ("", Some(file)) => file.to_string_lossy().into_owned(),
            _ => name.to_owned(),
        };
        self.finding(name, String::new(), why.to_owned())
    }
}

fn outcome(word: &str) -> Outcome {
    match word {
        "sidecar" => Outcome::Sidecar,
        "untrusted" => Outcome::Untrusted,
        "direct" => Outcome::Direct,
        "login" => Outcome::Login,
        "plaintext" => Outcome::Plaintext,
        _ => Outcome::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_the_name_of_its_file() {
        for (name, want) in [
            ("/usr/bin/python3.11", Some(Kind::Python)),
            ("venv/bin/python", Some(Kind::Python)),
            ("/opt/node22/bin/node", Some(Kind::Node)),
            ("java", Some(Kind::Java)),
            ("gofmt", None),
            ("python-config", None),
            ("./import.sh", None),
        ] {
            assert_eq!(kind_of(Path::new(name)), want, "{name}");
        }
    }
}
