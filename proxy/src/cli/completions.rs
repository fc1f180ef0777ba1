//! `barnabas completions`: a script for the shell leaves, made from the same definitions that parse the command line.

use std::io;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Failure};

/// Print a completion script for a shell
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: CompletionsArgs) -> Result<(), Failure> {
    // Into memory first: the generator panics when the pipe is closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "barnabas", &mut script);
    io::Write::write_all(&mut io::stdout(), &script)?;
    Ok(())
}

const HELP: &str = "\
Examples:
  barnabas completions bash > /etc/bash_completion.d/barnabas
  barnabas completions zsh > ~/.zfunc/_barnabas";
