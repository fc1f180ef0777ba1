//! The local keystore on the bench: a file is its server, so what can go wrong on a network cannot be shown.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use barnabas_crypto::Custody;
use barnabas_kms::{LocalKeystore, Unlock, create_key_file};

use super::{Bench, Case, Via, block_on};
use crate::scratch::{Scratch, unique};

/// A keystore in a throw-away folder.
pub struct Local {
    path: PathBuf,
    key_file: PathBuf,
    _scratch: Scratch,
}

impl Local {
    fn open(&self) -> LocalKeystore {
        LocalKeystore::open(&self.path, &self.unlock()).expect("the keystore opens")
    }

    fn unlock(&self) -> Unlock {
        Unlock::KeyFile(self.key_file.clone())
    }
}

impl Bench for Local {
    const NAME: &'static str = "local";
    const CANNOT: &'static [(Case, &'static str)] = &[
        (Case::Forbidden, "who opens the file has all its keys"),
        (Case::Throttling, "a file does not throttle"),
        (Case::ServerError, "there is no server"),
        (Case::SlowAnswer, "there is no server"),
        (Case::HalfAnswer, "there is no server; a file that is cut short is a test of the keystore itself"),
        (Case::WrongCertificate, "there is no server"),
        (Case::ExpiredCredential, "a key file does not expire"),
        (Case::GoneAndBack, "there is no server"),
    ];

    fn start() -> Self {
        let scratch = Scratch::new("keystore");
        let folder = scratch.join("private");
        DirBuilder::new().mode(0o700).create(&folder).expect("a folder can be made");
        let (path, key_file) = (folder.join("keystore"), folder.join("keystore.key"));
        create_key_file(&key_file).expect("a key file can be made");
        let bench = Self { path, key_file, _scratch: scratch };
        LocalKeystore::create(&bench.path, &bench.unlock()).expect("a keystore can be made");
        bench
    }

    fn port(&self) -> u16 {
        0
    }

    fn adapter(&mut self, _: &Via) -> Arc<dyn Custody> {
        Arc::new(self.open())
    }

    fn make_key(&mut self) -> String {
        let key = unique("client");
        block_on(self.open().ensure_key(&key)).expect("a key can be made");
        key
    }

    fn make_forbidden_key(&mut self) -> String {
        unreachable!("the list of exceptions has it")
    }

    fn missing_key(&mut self) -> String {
        unique("missing")
    }

    fn disable_key(&mut self, key: &str) {
        self.open().set_enabled(key, false).expect("the key can be switched off");
    }

    fn end_credentials(&mut self) {
        unreachable!("the list of exceptions has it")
    }

    fn renew_credentials(&mut self) {
        unreachable!("the list of exceptions has it")
    }

    fn throttled(&self) -> Vec<u8> {
        unreachable!("the list of exceptions has it")
    }

    fn broken(&self) -> Vec<u8> {
        unreachable!("the list of exceptions has it")
    }

    fn stop(&mut self) {
        unreachable!("the list of exceptions has it")
    }

    fn restart(&mut self) {
        unreachable!("the list of exceptions has it")
    }
}
