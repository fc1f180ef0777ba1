//! A server process of a test: started with its output in files, signalled by its process id, and ended with the test.
//!
//! It is tethered: a small shell loop beside it reads a pipe that only the test process holds open. When the test process
//! ends in whatever way (also by an abort or a kill -9, where nothing is dropped), the pipe closes and the server is ended.
//! The loop ends only a process that still carries the tether's own mark, so a process id that was given away again is safe.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::scratch::unique;
use crate::wait::{self, PATIENCE};

/// A running server, or one that was.
pub struct Process {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    tether: Option<ChildStdin>,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; its standard error is appended to `log`, its standard output to the file `<log>.out`.
    pub fn start(name: &str, command: &Command, log: &Path) -> Self {
        let append = |path: &Path| {
            let file = File::options().create(true).append(true).open(path);
            file.unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()))
        };
        let (out, err) = (append(&beside(log)), append(log));
        let mut tethered = Command::new("sh");
        tethered.args(["-c", TETHER, "tether"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => tethered.env(key, value),
                None => tethered.env_remove(key),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            tethered.current_dir(folder);
        }
        tethered.env("BARNABAS_TETHER", unique("tether"));
        tethered.stdin(Stdio::piped()).stdout(out).stderr(err);
        let mut child = tethered.spawn().unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        let tether = child.stdin.take();
        Self { name: name.to_owned(), child, ended: None, tether, log: log.to_owned() }
    }

    /// The process id: the server's own, since the shell that started it became it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Both outputs of the server up to now.
    pub fn output(&self) -> String {
        let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        text(&beside(&self.log)) + &text(&self.log)
    }

    /// True while the process has not ended.
    pub fn is_running(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("the process is ours to wait for");
        }
        self.ended.is_none()
    }

    /// Sends a signal by process id; nothing when the process has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.is_running() {
            let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
            kill_process(pid, signal).unwrap_or_else(|e| panic!("cannot signal {}: {e}", self.name));
        }
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait(PATIENCE);
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When the process still runs after `bound`; its last output is in the text.
    #[track_caller]
    pub fn wait(&mut self, bound: Duration) -> ExitStatus {
        let name = self.name.clone();
        let status = wait::until(&format!("{name} ends"), bound, || (!self.is_running()).then_some(self.ended));
        self.tether = None;
        status.expect("an ended process has a status")
    }

    /// The last lines of the output, for the text of a failure.
    pub fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        let from = lines.len().saturating_sub(TAIL_LINES);
        format!("--- last lines of {} ({})\n{}", self.name, self.log.display(), lines[from..].join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs a program to its end and gives its two outputs.
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// Runs `command` to its end with `input` as its standard input.
    ///
    /// # Panics
    /// When it cannot be started or still runs after `bound` (it is ended then).
    #[track_caller]
    pub fn run(name: &str, command: &Command, input: &[u8], bound: Duration, folder: &Path) -> Self {
        let run = unique(name);
        let [stdin, stdout, stderr] = ["in", "out", "err"].map(|end| folder.join(format!("{run}.{end}")));
        fs::write(&stdin, input).unwrap_or_else(|e| panic!("cannot write {}: {e}", stdin.display()));
        let mut running = Command::new(command.get_program());
        running.args(command.get_args());
        for (key, value) in command.get_envs() {
            running.env(key, value.unwrap_or(OsStr::new("")));
        }
        if let Some(folder) = command.get_current_dir() {
            running.current_dir(folder);
        }
        let file = |path: &Path| File::create(path).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
        running.stdin(File::open(&stdin).expect("just written")).stdout(file(&stdout)).stderr(file(&stderr));
        let mut child = running.spawn().unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let end = std::time::Instant::now() + bound;
        let status = loop {
            if let Some(status) = child.try_wait().expect("the process is ours to wait for") {
                break status;
            }
            if std::time::Instant::now() > end {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{name} still runs after {} s\n{}\n{}", bound.as_secs(), text(&stdout), text(&stderr));
            }
            std::thread::sleep(Duration::from_millis(25));
        };
        Self { status, stdout: text(&stdout), stderr: text(&stderr) }
    }

    /// Itself, when the program ended with 0.
    ///
    /// # Panics
    /// Else, with both outputs.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "ended with {}\n{}\n{}", self.status, self.stdout, self.stderr);
        self
    }

    /// Both outputs, one after the other.
    pub fn text(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }
}

/// Where the standard output of a server goes whose standard error goes to `log`.
fn beside(log: &Path) -> PathBuf {
    log.with_added_extension("out")
}

/// The shell becomes the server, so that its process id is the server's; the loop stays behind as the server's child.
const TETHER: &str = r#"
exec 3<&0
(
  exec >/dev/null 2>&1
  while read -r _ <&3; do :; done
  grep -qzx "BARNABAS_TETHER=$BARNABAS_TETHER" "/proc/$$/environ" && kill -9 $$
) &
exec 3<&-
exec "$@" </dev/null
"#;

const TAIL_LINES: usize = 40;
