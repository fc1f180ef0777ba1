//! PKCS#11: AES keys in a hardware security module or smart card, by the C module of its vendor.
//!
//! Arrives: secrets to hide under a key named by its label, and what was hidden. Leaves: version ‖ mechanism ‖ id of the
//! key ‖ what the token made. The keys never leave the token: one that could is refused. The module runs inside of this
//! process and its calls block, so they run on threads of their own and never on those of the data path. A refused PIN is
//! never tried twice: that locks tokens.

mod refusal;
mod sealing;
mod threads;
mod token;

use std::path::PathBuf;
use std::time::Duration;

use barnabas_crypto::custody::CustodyFuture;
use barnabas_crypto::{Custody, CustodyContext, CustodyError, Secret};

use self::refusal::Refusal;
use self::sealing::Blob;
use self::threads::Threads;
use self::token::{Open, Token};
use crate::{Error, SecretSource};

// Settings.

/// Which token, how to log in, and what we may do there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pkcs11Settings {
    /// The vendor's module: a shared library that is loaded into this process. Trust it as you trust this program.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The user's PIN. It is read at each login, and never tried again once the token has refused it.
    pub pin: SecretSource,
    /// How secrets are hidden.
    pub mechanism: Pkcs11Mechanism,
    /// Whether a key that is missing is created. Without it, an operator creates keys and sessions are read-only.
    pub create_keys: bool,
    /// Sessions at the same time, each with a thread of its own, 1 to 64.
    pub sessions: usize,
    /// How long a call may take, waiting for a session included. A call that takes longer is given up, but its thread is
    /// with the module until that returns.
    pub call_timeout: Duration,
}

impl Pkcs11Settings {
    /// Two sessions, 10 s for a call, the mechanism that the token has, no keys created.
    #[must_use]
    pub fn new(module: impl Into<PathBuf>, token: impl Into<String>, pin: SecretSource) -> Self {
        Self {
            module: module.into(),
            token: token.into(),
            pin,
            mechanism: Pkcs11Mechanism::Best,
            create_keys: false,
            sessions: 2,
            call_timeout: Duration::from_secs(10),
        }
    }
}

/// How a token hides a secret. What was hidden one way opens whatever is set now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pkcs11Mechanism {
    /// AES-GCM if the token has it, else AES key wrap.
    #[default]
    Best,
    /// `CKM_AES_GCM`: the token itself binds the context.
    AesGcm,
    /// `CKM_AES_KEY_WRAP` (RFC 3394): the token wraps a key that is used once, and that binds the context.
    AesKeyWrap,
}

/// A token.
pub struct Pkcs11 {
    module: PathBuf,
    token: String,
    may_create: bool,
    threads: Threads,
}

// Authentication: the PIN, see `token`.

impl Pkcs11 {
    /// Checks the settings and starts the threads; loads no module and asks no token.
    ///
    /// # Errors
    /// `Setting`, and `Io` when no thread can be started.
    pub fn new(settings: Pkcs11Settings) -> Result<Self, Error> {
        let unfit = |setting, why: &str| Error::Setting { setting, why: why.to_owned() };
        if !(1..=MOST_SESSIONS).contains(&settings.sessions) {
            return Err(unfit("sessions", "from 1 to 64"));
        }
        if settings.token.is_empty() || settings.token.len() > MAX_TOKEN_LABEL {
            return Err(unfit("token", "a token's label has 1 to 32 bytes"));
        }
        if !settings.module.is_absolute() {
            return Err(unfit("module", "write the whole path: a library that is searched for may be anybody's"));
        }
        let (module, token, may_create) = (settings.module.clone(), settings.token.clone(), settings.create_keys);
        let (sessions, timeout) = (settings.sessions, settings.call_timeout);
        let threads = Threads::start(&Token::new(settings)?, sessions, timeout);
        let threads = threads.map_err(Error::io("start a thread for", &module))?;
        Ok(Self { module, token, may_create, threads })
    }

    async fn call<T: Send + 'static>(
        &self,
        key: &str,
        work: impl Fn(&Open, &str) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, CustodyError> {
        check_name(key)?;
        let name = key.to_owned();
        let done = self.threads.run(move |open| work(open, &name)).await;
        done.map_err(|refusal| refusal.into_error(key))
    }
}

// Calls.

impl Custody for Pkcs11 {
    fn ensure_key<'a>(&'a self, key: &'a str) -> CustodyFuture<'a, ()> {
        let may_create = self.may_create;
        Box::pin(self.call(key, move |open, key| match open.current(key) {
            Err(Refusal::NoSuchKey) if may_create => open.create(key),
            other => other.map(|_| ()),
        }))
    }

    fn wrap<'a>(
        &'a self,
        key: &'a str,
        secret: &'a Secret<32>,
        context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Vec<u8>> {
        // The thread outlives a caller who gave up: it has its own copy, wiped when it is done.
        let secret = Secret::from_slice(secret.expose());
        let context = context.associated_data();
        Box::pin(self.call(key, move |open, key| {
            let secret = secret.as_ref().ok_or(Refusal::Nonsense("a secret of another length"))?;
            let found = open.current(key)?;
            sealing::seal(open, &found, secret, &context)
        }))
    }

    fn unwrap<'a>(
        &'a self,
        key: &'a str,
        wrapped: &'a [u8],
        context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Secret<32>> {
        let (wrapped, context) = (wrapped.to_vec(), context.associated_data());
        Box::pin(self.call(key, move |open, key| {
            let blob = Blob::parse(&wrapped).ok_or(Refusal::Wrapped)?;
            let found = open.with_id(key, blob.id)?;
            match sealing::open(open, &found, &blob, &context) {
                Err(refusal) if refusal.may_mean_wrapped() => {
                    Err(sealing::explain(open, &found, blob.mechanism, refusal))
                }
                outcome => outcome,
            }
        }))
    }

    fn describe(&self) -> String {
        format!("pkcs11 token {:?} by {}", self.token, self.module.display())
    }

    fn version_of(&self, wrapped: &[u8]) -> Option<String> {
        Blob::parse(wrapped).map(|blob| hex(blob.id))
    }

    fn current_version<'a>(&'a self, key: &'a str) -> CustodyFuture<'a, Option<String>> {
        Box::pin(self.call(key, |open, key| open.current(key).map(|found| Some(hex(&found.id)))))
    }
}

// Errors: see also `refusal`.

fn check_name(key: &str) -> Result<(), Error> {
    let allowed = !key.is_empty() && key.len() <= MAX_NAME && !key.chars().any(char::is_control);
    allowed.then_some(()).ok_or(Error::Name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const MOST_SESSIONS: usize = 64;
/// PKCS#11 2.40, `CK_TOKEN_INFO`.
const MAX_TOKEN_LABEL: usize = 32;
/// Longest key name in bytes, as everywhere.
const MAX_NAME: usize = 1024;

#[cfg(test)]
mod tests;
