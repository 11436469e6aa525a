//! `generate`: what a package installs beside the binary.
//!
//! Job: completions for a shell, and a manual page for each command, from the same declarations that parse the command line.

use std::path::PathBuf;

use clap_complete::Shell;

use super::{Complaint, Exit};

/// Write shell completions, or manual pages.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum GenerateCommand {
    /// Print the completions of a shell.
    #[command(
        after_help = "Example:\n  spapi-sidecar generate completions bash > /usr/share/bash-completion/completions/spapi-sidecar"
    )]
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Write a manual page for each command into a folder.
    #[command(after_help = "Example:\n  spapi-sidecar generate man /usr/share/man/man1")]
    Man {
        /// The folder; it is made where it is missing.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// Runs the command; `program` is the whole command line.
///
/// # Errors
/// When the folder cannot be written.
pub fn run(command: &GenerateCommand, mut program: clap::Command) -> Result<Exit, Complaint> {
    match command {
        GenerateCommand::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut program, "spapi-sidecar", &mut text);
            super::print(text)?;
        }
        GenerateCommand::Man { dir } => {
            let failed = |error| Complaint::while_doing(&dir.display().to_string(), error);
            std::fs::create_dir_all(dir).map_err(failed)?;
            clap_mangen::generate_to(program, dir).map_err(failed)?;
            super::print(format!("manual pages written to {}\n", dir.display()))?;
        }
    }
    Ok(Exit::Done)
}
