//! Completions for shells and man pages, from the command line's own definition.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Leveret, say, say_error};

/// A shell.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

/// Where man pages go.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Man {
    /// The folder to write them to; it is made if it is missing
    folder: PathBuf,
}

impl Completions {
    /// Writes what the shell is to read to the standard output.
    pub(super) fn print(self) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Leveret::command(), "leveret", &mut script);
        say(&String::from_utf8_lossy(&script));
        ExitCode::SUCCESS
    }
}

impl Man {
    /// Writes a page for leveret and one for each subcommand.
    pub(super) fn write(self) -> ExitCode {
        let written = std::fs::create_dir_all(&self.folder)
            .and_then(|()| clap_mangen::generate_to(Leveret::command(), &self.folder));
        match written {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say_error(&format!("leveret: {}: {error}", self.folder.display()));
                ExitCode::FAILURE
            }
        }
    }
}
