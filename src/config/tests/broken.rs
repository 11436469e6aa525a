//! Files that are refused, each with every fault: line, column, path, problem and remedy.

use super::{LEAST, environment};
use crate::config::Config;

/// `===== name`, the file, and after `>>> ` its faults. A name that starts with `+` has the three lines of a least file
/// in front, so that its own first line is line 4.
const CASES: &str = include_str!("broken.txt");

/// A broken file.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) yaml: String,
    faults: Vec<String>,
}

/// Every broken file.
pub(super) fn cases() -> Vec<Case> {
    CASES
        .split("===== ")
        .skip(1)
        .map(|case| {
            let (name, rest) = case.split_once('\n').expect("a case has a name");
            let (faults, lines): (Vec<&str>, Vec<&str>) =
                rest.lines().partition(|line| line.starts_with(">>> "));
            let head = if name.starts_with('+') { LEAST } else { "" };
            Case {
                name: name.to_owned(),
                yaml: format!("{head}{}\n", lines.join("\n")),
                faults: faults
                    .iter()
                    .map(|line| line.replacen(">>> ", "proxy.yaml:", 1))
                    .collect(),
            }
        })
        .collect()
}

#[test]
fn every_mistake_of_a_broken_file_is_told_with_its_place_and_remedy() {
    let cases = cases();
    assert!(cases.len() >= 40, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        assert!(!case.faults.is_empty(), "{} expects nothing", case.name);
        let want = case.faults.join("\n");
        match Config::parse("proxy.yaml", &case.yaml, &environment) {
            Err(faults) if faults.to_string() == want => {}
            Err(faults) => wrong.push(format!("{}\n got: {faults}\nwant: {want}", case.name)),
            Ok(_) => wrong.push(format!("{}\n was accepted", case.name)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn no_fault_shows_a_login_or_what_came_from_the_environment() {
    for case in cases() {
        let text = case.faults.join("\n");
        assert!(
            !text.contains("canary-from-the-environment"),
            "{}",
            case.name
        );
        assert!(!text.contains("hunter2"), "{}", case.name);
    }
}
