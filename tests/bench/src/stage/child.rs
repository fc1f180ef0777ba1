//! A process of the stage: started with its output in a file, ended by its own id when it is dropped. Where `setpriv` exists it
//! also ends when the benchmark is killed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::error::{Attempt, Error};

/// One running process.
pub struct Child {
    process: std::process::Child,
    log: PathBuf,
}

impl Child {
    /// Starts `program`; both output streams go to `log`.
    pub fn start(program: &Path, arguments: &[String], log: PathBuf) -> Result<Self, Error> {
        let output = File::create(&log).attempt(|| format!("create {}", log.display()))?;
        let errors = output.try_clone().attempt(|| format!("open {}", log.display()))?;
        let mut command = if Path::new(SETPRIV).exists() {
            let mut command = Command::new(SETPRIV);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let process = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .attempt(|| format!("start {}", program.display()))?;
        Ok(Self { process, log })
    }

    /// Runs `program` to its end and returns what it printed; a failure holds the last lines of its complaint.
    pub fn output(program: &Path, arguments: &[String]) -> Result<String, Error> {
        let output = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .attempt(|| format!("start {}", program.display()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Error::Setup(format!("{} {} failed: {}", program.display(), arguments.join(" "), last_lines(&said))))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// An error that quotes what the process said last.
    pub fn complaint(&self, error: &Error) -> Error {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        Error::Setup(format!("{error}; the process said: {}", last_lines(&said)))
    }

    /// Ends it at once: nothing that it holds outlives the run.
    pub fn end(&mut self) {
        let _ended_already = self.process.kill();
        let _ended_already = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.get(lines.len().saturating_sub(4)..).unwrap_or_default().join(" | ")
}

/// How long anything may take to answer after its start.
pub const START: Duration = Duration::from_secs(60);
const SETPRIV: &str = "/usr/bin/setpriv";
