//! SoftHSM2 on the bench: a real PKCS#11 module, its tokens in a throw-away folder.
//!
//! A module runs inside of the process that uses it: the adapter's runs here, the operator works at the same token from a
//! process of its own, with another client library. Between adapter and module stands a module of ours (`softhsm/faults.c`)
//! that passes everything on and does harm when told: a token that is pulled out, sessions that are lost, a slow token.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use barnabas_crypto::Custody;
use barnabas_kms::{Pkcs11, Pkcs11Settings, SecretSource};

use super::python::environment;
use super::{Bench, Case, Via};
use crate::process::Finished;
use crate::scratch::{Scratch, root, unique};

/// A token with its store.
pub struct SoftHsm {
    home: PathBuf,
    real: PathBuf,
    pin: String,
    scratch: Scratch,
}

impl SoftHsm {
    /// Settings of an adapter to the token: two sessions, calls of at most 1.5 s, no keys created.
    pub fn settings(&self) -> Pkcs11Settings {
        let pin = SecretSource::File(self.scratch.join("pin"));
        let mut settings = Pkcs11Settings::new(self.scratch.join("faults.so"), TOKEN, pin);
        settings.call_timeout = Duration::from_millis(1500);
        settings
    }

    /// An adapter with these settings.
    pub fn pkcs11(&self, settings: Pkcs11Settings) -> Pkcs11 {
        Pkcs11::new(settings).expect("the settings are right")
    }

    /// What an operator does: see `softhsm/keys.py`.
    pub fn operate(&self, what: &[&str]) {
        let mut command = Command::new(self.home.join("bin/python"));
        command.arg("-B").arg(root().join("tests/src/kms/softhsm/keys.py")).arg(&self.real);
        command.args([TOKEN, &self.pin]).args(what).env("SOFTHSM2_CONF", self.scratch.join("softhsm2.conf"));
        Finished::run("operator", &command, b"", PATIENCE, self.scratch.path()).ok();
    }

    /// From now on this goes wrong: `rv CODE`, `sleep MS`, `lost`, `logout`, `restart` or `nogcm`.
    pub fn put(&self, fault: &str) {
        let fresh = self.scratch.write("fault.fresh", format!("{fault}\n"));
        fs::rename(fresh, self.scratch.join("fault")).expect("a file can be renamed");
    }

    /// All goes well again.
    pub fn heal(&self) {
        let _ = fs::remove_file(self.scratch.join("fault"));
    }

    /// What each login up to now was answered, as codes of PKCS#11.
    pub fn logins(&self) -> Vec<u64> {
        let text = fs::read_to_string(self.scratch.join("logins")).unwrap_or_default();
        text.lines().map(|line| line.parse().expect("a code")).collect()
    }

    /// Puts a PIN where the adapters read it.
    pub fn write_pin(&self, pin: &str) {
        let fresh = self.scratch.write("pin.fresh", format!("{pin}\n"));
        fs::rename(fresh, self.scratch.join("pin")).expect("a file can be renamed");
    }

    /// Changes the token's PIN and leaves the adapters with the old one, their sessions lost. The module checks a PIN by
    /// what it read when it was started, so it is started anew.
    pub fn change_pin(&mut self) {
        let fresh = unique("pin");
        self.operate(&["pin", &fresh]);
        self.pin = fresh;
        self.put("restart");
    }
}

impl Bench for SoftHsm {
    const NAME: &'static str = "pkcs11";
    const CANNOT: &'static [(Case, &'static str)] = &[
        (Case::Forbidden, "who has the token's PIN has all its keys; a key without permission counts as disabled"),
        (Case::Throttling, "a token does not throttle; the adapter's own queue does, see its tests"),
        (Case::ServerError, "a module has no HTTP answer; its codes for trouble are in pkcs11_tokens.rs"),
        (Case::SlowAnswer, "there is no network; a slow token is in pkcs11_tokens.rs"),
        (Case::HalfAnswer, "there is no network"),
        (Case::WrongCertificate, "there is no network"),
    ];

    fn start() -> Self {
        let home = environment("softhsm", include_str!("softhsm/requirements.txt"));
        let scratch = Scratch::new("softhsm");
        let tokens = scratch.join("tokens");
        fs::create_dir(&tokens).expect("a folder can be made");
        let settings = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
        let settings = scratch.write("softhsm2.conf", settings);
        let real = scratch.join("real.so");
        // A copy of its own for each bench: one process may then have several stores.
        fs::copy(module(), &real).expect("the module can be copied");
        let pin = unique("pin");
        let mut command = Command::new("softhsm2-util");
        command.args(["--init-token", "--free", "--label", TOKEN, "--so-pin", "so-pin-of-a-test", "--pin", &pin]);
        command.env("SOFTHSM2_CONF", &settings);
        Finished::run("softhsm2-util", &command, b"", PATIENCE, scratch.path()).ok();
        compile(&root().join("tests/src/kms/softhsm/faults.c"), &scratch.join("faults.so"), scratch.path());
        let bench = Self { home, real, pin, scratch };
        bench.write_pin(&bench.pin);
        bench
    }

    fn port(&self) -> u16 {
        0
    }

    fn adapter(&mut self, _: &Via) -> Arc<dyn Custody> {
        Arc::new(self.pkcs11(self.settings()))
    }

    fn make_key(&mut self) -> String {
        let key = unique("client");
        self.operate(&["create", &key, "01", "gcm"]);
        key
    }

    fn make_forbidden_key(&mut self) -> String {
        unreachable!("the list of exceptions has it")
    }

    fn missing_key(&mut self) -> String {
        unique("missing")
    }

    fn disable_key(&mut self, key: &str) {
        self.operate(&["disable", key]);
    }

    fn end_credentials(&mut self) {
        self.change_pin();
    }

    fn renew_credentials(&mut self) {
        self.write_pin(&self.pin);
    }

    fn throttled(&self) -> Vec<u8> {
        unreachable!("the list of exceptions has it")
    }

    fn broken(&self) -> Vec<u8> {
        unreachable!("the list of exceptions has it")
    }

    fn stop(&mut self) {
        self.put(DEVICE_REMOVED);
    }

    fn restart(&mut self) {
        // The token is back, and nobody is logged in to it.
        self.put("lost");
    }
}

fn compile(source: &Path, module: &Path, folder: &Path) {
    let mut command = Command::new("cc");
    command.args(["-std=gnu17", "-shared", "-fPIC", "-O1", "-o"]).arg(module).arg(source).args(["-ldl", "-lpthread"]);
    Finished::run("cc", &command, b"", PATIENCE, folder).ok();
}

/// Where Debian and Fedora, and builds by hand, put the module.
fn module() -> PathBuf {
    let places = ["/usr/lib/softhsm", "/usr/lib64/pkcs11", "/usr/lib64/softhsm", "/usr/local/lib/softhsm"];
    let found = places.iter().map(|place| Path::new(place).join("libsofthsm2.so")).find(|path| path.exists());
    found.expect("SoftHSM 2 is needed (Debian: apt-get install --no-install-recommends softhsm2)")
}

/// `rv CKR_DEVICE_REMOVED`.
pub const DEVICE_REMOVED: &str = "rv 50";

const TOKEN: &str = "gateway";
const PATIENCE: Duration = Duration::from_secs(60);
