//! Key management systems as servers of a test, and one suite of cases that every adapter must pass.
//!
//! A [`Bench`] is one vendor's server with one adapter to it: it starts the real server on loopback in a throw-away folder,
//! with the smallest policy that works, makes adapters, and takes keys and credentials away. [`run`] asks it through every
//! [`Case`]. What a server cannot do on demand (throttle, break, stall) a [`fault::FaultProxy`] before it does. What a
//! bench cannot show at all it must list with the reason, so that nothing is skipped in silence.

pub mod cases;
pub mod fault;
pub mod http;
pub mod metadata;
pub mod contract;
pub mod python;

// one file for each server
pub mod local;
pub mod openbao;
pub mod moto;
pub mod gcp;
pub mod azure;
pub mod pykmip;
pub mod softhsm;

pub mod stand;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use barnabas_crypto::Custody;
use tokio::runtime::{Builder, Runtime};

/// A server with adapters to it. A method that a bench's list of exceptions makes unreachable may panic.
pub trait Bench: Sized {
    /// The vendor, for the texts of failures.
    const NAME: &'static str;

    /// The cases that this server cannot show, each with the reason.
    const CANNOT: &'static [(Case, &'static str)];

    /// Starts the server and sets it up as an operator would. Ready when this returns.
    fn start() -> Self;

    /// Where the server listens; 0 when it does not.
    fn port(&self) -> u16;

    /// An adapter with the smallest policy that works. Timeouts are short: below 2 s for a whole call.
    fn adapter(&mut self, via: &Via) -> Arc<dyn Custody>;

    /// Makes a key that the adapters may use, and says its name.
    fn make_key(&mut self) -> String;

    /// Makes a key that exists and that the adapters may not use.
    fn make_forbidden_key(&mut self) -> String;

    /// The name of a key that does not exist and that the adapters' policy would allow, where that is possible.
    fn missing_key(&mut self) -> String;

    /// Switches a key off, or destroys it where the server knows no other way.
    fn disable_key(&mut self, key: &str);

    /// Ends the credentials that the adapters made up to now use: the server takes them no more.
    fn end_credentials(&mut self);

    /// Puts new credentials where the adapters' settings point to.
    fn renew_credentials(&mut self);

    /// A whole HTTP answer with which this vendor asks to slow down.
    fn throttled(&self) -> Vec<u8>;

    /// A whole HTTP answer with which this vendor says that it is broken.
    fn broken(&self) -> Vec<u8>;

    /// Ends the server's process.
    fn stop(&mut self);

    /// Starts it again on the same port with the same keys.
    fn restart(&mut self);
}

/// The way from an adapter to its server.
#[derive(Clone, Debug)]
pub struct Via {
    /// The port on 127.0.0.1 to speak to: the server's, or a proxy's before it.
    pub port: u16,
    /// Speak TLS to it and trust this authority alone; none for what the server itself needs.
    pub ca: Option<PathBuf>,
}

impl Via {
    /// Straight to this port, as the server needs it.
    pub fn port(port: u16) -> Self {
        Self { port, ca: None }
    }
}

/// What every adapter must do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    /// What was wrapped comes back, under every kind of context, also by another adapter.
    RoundTrip,
    /// Nothing opens under another context or key, damaged, or cut.
    WrongContext,
    /// A key that does not exist is not found (or denied), and is not made by the way.
    UnknownKey,
    /// A key that is switched off or destroyed stops its client.
    DisabledKey,
    /// A credential that is taken no more is the gateway's fault, survived, and renewed without a new adapter.
    ExpiredCredential,
    /// A key that the policy does not give is denied.
    Forbidden,
    /// Asked to slow down, it says so; afterwards all is well.
    Throttling,
    /// A broken server is an outage; afterwards all is well.
    ServerError,
    /// A server that takes the request and says nothing is an outage; afterwards all is well.
    SlowAnswer,
    /// An answer that breaks off is an outage; afterwards all is well.
    HalfAnswer,
    /// A server with a certificate of somebody else gets nothing.
    WrongCertificate,
    /// A server that is gone is an outage; when it is back, old wraps open without a new adapter.
    GoneAndBack,
}

impl Case {
    /// All, in the order in which they run.
    pub const ALL: [Self; 12] = [
        Self::RoundTrip,
        Self::WrongContext,
        Self::UnknownKey,
        Self::DisabledKey,
        Self::Forbidden,
        Self::Throttling,
        Self::ServerError,
        Self::SlowAnswer,
        Self::HalfAnswer,
        Self::WrongCertificate,
        Self::ExpiredCredential,
        Self::GoneAndBack,
    ];
}

/// Runs every case on one bench and reports all that failed, not just the first.
///
/// # Panics
/// When a case failed, or a case that the bench calls impossible is listed twice.
pub fn run<B: Bench>() {
    let mut bench = B::start();
    let mut failed = Vec::new();
    for case in Case::ALL {
        if let Some((_, reason)) = B::CANNOT.iter().find(|(cannot, _)| *cannot == case) {
            println!("{} {case:?}: cannot be shown: {reason}", B::NAME);
            continue;
        }
        match catch_unwind(AssertUnwindSafe(|| cases::run(case, &mut bench))) {
            Ok(()) => println!("{} {case:?}: ok", B::NAME),
            Err(_) => failed.push(case),
        }
    }
    assert!(failed.is_empty(), "{}: {failed:?} failed, see above", B::NAME);
}

/// Runs a future on the runtime that all tests of the process share. Adapters live on it, as they do in the gateway.
pub fn block_on<F: Future>(future: F) -> F::Output {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let build = || Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime starts");
    RUNTIME.get_or_init(build).block_on(future)
}
