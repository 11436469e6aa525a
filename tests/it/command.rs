//! The binary as a person or a script meets it.

use std::io::{Read as _, Write as _};
use std::process::{Command, Output, Stdio};

fn sidecar(words: &[&str]) -> Output {
    command(words).output().unwrap()
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spapi-sidecar"));
    command.args(words).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The subcommands that a help text lists.
fn listed(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // deeper ones continue a description
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_help_of_every_command_says_what_it_does_with_an_example() {
    let mut commands = vec![Vec::new()];
    let mut seen = 0;
    while let Some(words) = commands.pop() {
        let asked: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let output = sidecar(&asked);
        assert_eq!(output.status.code(), Some(0), "{asked:?}");
        let help = text(&output.stdout);
        let example = format!("spapi-sidecar {}", words.join(" "));
        let after = help.split_once("\nExample").map(|(_, after)| after);
        assert!(
            after.is_some_and(|after| after.contains(example.trim_end())),
            "`{example} --help` gives no example of itself:\n{help}"
        );
        for name in listed(&help) {
            commands.push(words.iter().cloned().chain([name]).collect());
        }
        seen += 1;
    }
    assert!(seen > 15, "only {seen} commands were found");
}

#[test]
fn a_missing_configuration_is_named_with_the_way_to_one() {
    let folder = tempfile::tempdir().unwrap();
    for words in [
        &["run"][..],
        &["check"],
        &["health"],
        &["env"],
        &["exec", "--", "true"],
        &["ca", "show"],
        &["tenant", "list"],
    ] {
        let output = command(words).current_dir(&folder).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let complaint = text(&output.stderr);
        assert!(
            complaint.contains("proxy.yaml does not exist") && complaint.contains("init DIR"),
            "{words:?}: {complaint}"
        );
    }
}

#[test]
fn a_file_of_another_version_is_refused_with_the_one_that_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("proxy.yaml");
    for (version, code) in [("1", 0), ("2", 1)] {
        let yaml = format!("version: {version}\nstore: {{ file: {{ path: s, key_file: k }} }}\n");
        std::fs::write(&config, yaml).unwrap();
        let output = sidecar(&["check", "--config", config.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let said = text(&output.stdout) + &text(&output.stderr);
        let is_named = said.contains("proxy.yaml:1:10: version: ");
        assert_eq!(is_named, version != "1", "{said}");
    }
}

#[test]
fn a_store_opens_by_its_key_file_and_by_no_other_key() {
    let folder = tempfile::tempdir().unwrap();
    let made = sidecar(&["init", folder.path().to_str().unwrap()]);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let config = folder.path().join("proxy.yaml");
    let put = || {
        let mut child = command(&["app", "put", "erp", "--config", config.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = child.stdin.take().unwrap();
        lines
            .write_all(b"amzn1.application-oa2-client.x\namzn1.oa2-cs.v1.x\n")
            .unwrap();
        drop(lines);
        child.wait_with_output().unwrap()
    };
    let stored = put();
    assert_eq!(stored.status.code(), Some(0), "{stored:?}");
    let key = folder.path().join("store.key");
    let other = std::fs::read_to_string(&key).unwrap();
    let other: String = other.trim().chars().rev().collect();
    std::fs::write(&key, other).unwrap();
    let refused = put();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let said = text(&refused.stderr) + &text(&refused.stdout);
    assert!(said.contains("another store's"), "{said}");
}

#[test]
fn a_reader_that_stops_early_is_no_failure() {
    let mut child = command(&["schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // more than a pipe holds is printed, so the end of the reader is noticed
    drop(child.stdout.take());
    let mut complaint = String::new();
    let mut errors = child.stderr.take().unwrap();
    let _read = errors.read_to_string(&mut complaint).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{complaint}");
    assert_eq!(complaint, "");
}

#[test]
fn the_health_of_a_sidecar_that_is_down_is_one_short_line() {
    let folder = tempfile::tempdir().unwrap();
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let config = folder.path().join("proxy.yaml");
    let yaml = format!(
        "version: 1\nlisten: {{ admin: \"127.0.0.1:{port}\" }}\nstore: {{ file: {{ path: s, key_file: k }} }}\n"
    );
    std::fs::write(&config, yaml).unwrap();
    let output = sidecar(&["health", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains("Connection refused"), "{said}");
    assert_eq!(said.matches("http://").count(), 1, "{said}");
}

#[test]
fn the_example_ledger_is_what_the_sample_configuration_says() {
    let output = sidecar(&[
        "ledger",
        "--config",
        "proxy.yaml",
        "--check",
        "deploy/review/LEDGER.md",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn a_ledger_that_is_out_of_date_fails_with_the_difference() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("LEDGER.md");
    std::fs::write(&kept, "# Scope-to-endpoint ledger\n").unwrap();
    let output = sidecar(&[
        "ledger",
        "--config",
        "proxy.yaml",
        "--check",
        kept.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains("+ | `GET /orders/v0/orders` | getOrders |"),
        "{}",
        text(&output.stdout)
    );
}
