//! The gateway: the real binary, started with a configuration of the test's own, signalled by process id, restarted on the same
//! ports. At the end its log is read: a warning or an error that the test did not expect fails the test.

mod log;
mod settings;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, thread};

pub use log::Event;
pub use settings::{ClientAuth, Home, Ports, Rule, Settings, Tls};

use crate::process::{Finished, Process, Signal};
use crate::wait::{self, PATIENCE};

/// A running gateway, or one that was killed and may be started again.
pub struct Gateway {
    home: Arc<Home>,
    settings: Settings,
    config: PathBuf,
    process: Option<Process>,
    log: PathBuf,
    expected: Vec<String>,
}

impl Gateway {
    /// Starts the binary and waits until it says that it is ready.
    pub fn start(home: &Arc<Home>, settings: Settings) -> Self {
        let name = crate::scratch::unique("gateway");
        let config = home.write(&format!("{name}.yaml"), &settings.yaml(home));
        let log = home.folder().join(format!("{name}.log"));
        let mut gateway = Self { home: Arc::clone(home), settings, config, process: None, log, expected: vec![] };
        gateway.launch();
        gateway
    }

    /// `localhost:<port>`: `bootstrap.servers` of the clients.
    pub fn bootstrap(&self) -> String {
        if is_control_run() {
            return self.settings.upstream.clone();
        }
        format!("localhost:{}", self.settings.ports.bootstrap)
    }

    /// `localhost:<port>` of the HTTP bridge.
    pub fn rest(&self) -> String {
        format!("localhost:{}", self.settings.ports.rest)
    }

    /// All ports that clients may be sent to.
    pub fn client_ports(&self) -> std::ops::Range<u16> {
        self.settings.ports.bootstrap..self.settings.ports.admin
    }

    /// What it was started with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The configuration file.
    pub fn config(&self) -> &PathBuf {
        &self.config
    }

    /// Expects warnings and errors whose line holds `text`; all others fail the test.
    pub fn expect_in_log(&mut self, text: &str) {
        self.expected.push(text.to_owned());
    }

    /// Changes the configuration file and sends SIGHUP; does not wait, since only the effect tells that it was taken.
    pub fn reload(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        fs::write(&self.config, self.settings.yaml(&self.home)).expect("the configuration can be written again");
        self.signal(Signal::HUP);
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: Signal) {
        if !is_control_run() {
            self.running().signal(signal);
        }
    }

    /// SIGTERM, and waits for the drained end.
    pub fn terminate(&mut self) -> ExitStatus {
        if is_control_run() {
            return ExitStatus::default();
        }
        self.signal(Signal::TERM);
        let status = self.running().wait(PATIENCE);
        self.process = None;
        status
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if !is_control_run() {
            self.running().kill();
            self.process = None;
        }
    }

    /// Starts it again on the same ports with the same files.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "the gateway runs already");
        self.launch();
    }

    /// The same, without waiting until it is ready: it may not become so.
    pub fn begin(&mut self) {
        assert!(self.process.is_none(), "the gateway runs already");
        self.spawn();
    }

    /// Waits until it is ready.
    #[track_caller]
    pub fn wait_until_ready(&mut self) {
        wait::until("the gateway is ready", PATIENCE, || {
            let process = self.process.as_mut().expect("just started");
            assert!(process.is_running(), "the gateway ended\n{}", process.tail());
            (http(self.settings.ports.admin, "/readyz").0 == 200).then_some(())
        });
    }

    /// The process id.
    pub fn pid(&mut self) -> u32 {
        self.running().pid()
    }

    /// True while the process has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&mut self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {path}: {e}"));
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has a resident size");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") * 1024
    }

    /// Runs `barnabas <arguments> --config <this configuration>`.
    #[track_caller]
    pub fn command(&self, arguments: &[&str]) -> Finished {
        self.home.barnabas(arguments, Some(&self.config))
    }

    /// The answer of an admin page: (status, body). Status 0 when nobody answers.
    pub fn admin(&self, path: &str) -> (u16, String) {
        http(self.settings.ports.admin, path)
    }

    /// The value of a metric without labels, or the sum over its labels; 0 when it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, body) = self.admin("/metrics");
        let lines =
            body.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// What it has written to standard output and to its log up to now.
    pub fn output(&self) -> String {
        self.process.as_ref().map_or_else(String::new, Process::output)
    }

    /// All events of its log up to now, over restarts.
    pub fn events(&self) -> Vec<Event> {
        log::read(&fs::read_to_string(&self.log).unwrap_or_default())
    }

    /// Waits until some event's line holds `text`.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) -> Event {
        wait::until(&format!("the log says {text:?}"), PATIENCE, || {
            self.events().into_iter().find(|e| e.line.contains(text))
        })
    }

    fn running(&mut self) -> &mut Process {
        self.process.as_mut().expect("the gateway was ended by the test before")
    }

    fn launch(&mut self) {
        if !is_control_run() {
            self.spawn();
            self.wait_until_ready();
        }
    }

    fn spawn(&mut self) {
        let mut command = Command::new(binary());
        command.arg("serve").arg("--config").arg(&self.config);
        command.env("RUST_BACKTRACE", "1");
        self.process = Some(Process::start("gateway", &command, &self.log));
    }

    fn unexpected(&self) -> Vec<String> {
        let events = self.events().into_iter().filter(Event::is_alarm);
        let lines = events.map(|event| event.line);
        lines.filter(|line| !self.expected.iter().any(|text| line.contains(text))).collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.process = None;
        if thread::panicking() {
            eprintln!("--- the gateway's log is {}", self.log.display());
        } else {
            let unexpected = self.unexpected();
            assert!(
                unexpected.is_empty(),
                "the gateway logged what the test did not expect:\n{}",
                unexpected.join("\n")
            );
        }
    }
}

/// True in a control run (`BARNABAS_CONTROL_RUN=1`): there is no gateway, every client speaks to the broker itself, and nothing is sealed.
/// A test of unchanged behaviour that fails there is a wrong test; a test of sealing must fail there. For those who write tests.
pub fn is_control_run() -> bool {
    env::var_os("BARNABAS_CONTROL_RUN").is_some()
}

/// The binary under test: `BARNABAS_BIN`, or the one built beside the tests.
///
/// # Panics
/// When it is not built.
pub fn binary() -> PathBuf {
    if let Some(path) = env::var_os("BARNABAS_BIN") {
        return path.into();
    }
    let test = env::current_exe().expect("a test knows its own path");
    let folders = test.ancestors().skip(1).take(2).map(|folder| folder.join("barnabas"));
    let found = folders.into_iter().find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("no gateway binary beside {}: run cargo build -p barnabas, or set BARNABAS_BIN", test.display())
    })
}

/// GET over plain HTTP on 127.0.0.1: (status, body), (0, "") when nobody answers.
pub(crate) fn http(port: u16, path: &str) -> (u16, String) {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let text = ask().unwrap_or_default();
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned());
    (status, body)
}
