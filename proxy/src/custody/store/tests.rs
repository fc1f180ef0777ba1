//! A store before a key management system that does what a test says.

#![allow(clippy::unwrap_used)]

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;

use barnabas_crypto::custody::CustodyFuture;
use barnabas_crypto::{Custody, KemSuite, Secret, UnixMillis, WrappedSeed};
use barnabas_kms::{LocalKeystore, Unlock, create_key_file};

use super::*;
use crate::metrics::Metrics;

/// Gives what it was given in the clear, or fails as it is told.
#[derive(Default)]
struct Fake(Mutex<Option<CustodyCause>>);

impl Custody for Fake {
    fn ensure_key<'a>(&'a self, _key: &'a str) -> CustodyFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn wrap<'a>(
        &'a self,
        _key: &'a str,
        secret: &'a Secret<32>,
        _context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Vec<u8>> {
        Box::pin(async { Ok(secret.expose().to_vec()) })
    }

    fn unwrap<'a>(
        &'a self,
        _key: &'a str,
        wrapped: &'a [u8],
        _context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Secret<32>> {
        let failure = *lock(&self.0);
        Box::pin(async move {
            match failure {
                Some(cause) => Err(CustodyError::new(cause, "as told")),
                None => Ok(Secret::take(&mut wrapped.try_into().unwrap())),
            }
        })
    }
}

/// The log of one thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn count(&self, event: &str) -> usize {
        self.lines(event).len()
    }

    fn lines(&self, event: &str) -> Vec<String> {
        let text = String::from_utf8(lock(&self.0).clone()).unwrap();
        text.lines().filter(|line| line.contains(&format!("event=\"{event}\""))).map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Stand {
    store: Arc<CustodyStore>,
    fake: Arc<Fake>,
    log: Log,
    _folder: tempfile::TempDir,
}

impl Stand {
    fn new() -> Self {
        Self::with(Terms { max_age: Duration::from_secs(3600), outage_grace: Duration::ZERO })
    }

    fn with(terms: Terms) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let key = folder.path().join("key");
        create_key_file(&key).unwrap();
        let local = Arc::new(LocalKeystore::create(folder.path().join("keystore"), &Unlock::KeyFile(key)).unwrap());
        let fake = Arc::new(Fake::default());
        let others: Vec<(String, Arc<dyn Custody>)> = vec![("bao".to_owned(), fake.clone())];
        let systems = Arc::new(KeySystems::new(local, others, Some("bao".to_owned())));
        let store = Arc::new(CustodyStore::new(systems, terms, Metrics::default().keys));
        Self { store, fake, log: Log::default(), _folder: folder }
    }

    fn fail(&self, cause: Option<CustodyCause>) {
        *lock(&self.fake.0) = cause;
    }

    /// Asks as so many requests do, one after another; tells how many got the secret.
    fn ask(&self, identity: &Identity, times: usize) -> usize {
        let writer = self.log.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let _guard = tracing::subscriber::set_default(log);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut given = 0;
            for _ in 0..times {
                given += usize::from(self.store.secret(identity).await.is_ok());
            }
            given
        })
    }

    fn failures(&self, cause: CustodyCause) -> u64 {
        self.store.metrics.failures("bao", cause)
    }
}

fn identity(principal: &str) -> Identity {
    let secret = IdentitySecret::draw(KemSuite::X25519).unwrap();
    let seed = WrappedSeed { key: format!("bao/{principal}"), blob: secret.seed().expose().to_vec() };
    let (public, custody) = (secret.public().clone(), Custodian::Gateway(seed));
    let created = UnixMillis::new(1_800_000_000_000);
    Identity { principal: principal.to_owned(), public, custody, created, enrolled_by: "test".to_owned() }
}

#[test]
fn an_outage_is_told_once_for_each_client_and_counted_each_time() {
    let stand = Stand::new();
    let [alice, bob] = ["User:alice", "User:bob"].map(identity);
    // A failure that guards do not try again: the fault is ours.
    stand.fail(Some(CustodyCause::Unauthenticated));
    assert_eq!(stand.ask(&alice, 200) + stand.ask(&bob, 50), 0);
    assert_eq!(stand.failures(CustodyCause::Unauthenticated), 250);
    let told = stand.log.lines("custody_unwrap_failed");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|line| line.contains("suppressed=0") && line.contains("kms=\"bao\"")), "{told:?}");

    stand.fail(None);
    assert_eq!(stand.ask(&alice, 3), 3);
    let over = stand.log.lines("custody_unwrap_works_again");
    assert!(over.len() == 1 && over.iter().all(|line| line.contains("suppressed=199")), "{over:?}");
    assert_eq!(stand.failures(CustodyCause::Unauthenticated), 250);
}

#[test]
fn a_word_about_the_key_is_told_and_kept_so_that_requests_do_not_ask_again() {
    let stand = Stand::new();
    let alice = identity("User:alice");
    stand.fail(Some(CustodyCause::Unauthenticated));
    assert_eq!(stand.ask(&alice, 5), 0);
    stand.fail(Some(CustodyCause::Denied));
    assert_eq!(stand.ask(&alice, 100), 0);
    assert_eq!(stand.failures(CustodyCause::Denied), 1);
    assert_eq!(stand.log.count("custody_unwrap_failed"), 2, "one of the outage, one of the denial");
    assert_eq!(stand.log.count("custody_unwrap_works_again"), 0);
}

#[test]
fn a_secret_whose_time_is_over_is_given_to_nobody_and_let_go() {
    let stand = Stand::with(Terms { max_age: Duration::from_millis(20), outage_grace: Duration::from_millis(20) });
    let alice = identity("User:alice");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        // The last owner wipes it.
        let kept = Arc::downgrade(&stand.store.secret(&alice).await.ok().unwrap());
        stand.fail(Some(CustodyCause::Unauthenticated));
        while stand.store.stands(alice.id()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(stand.store.secret(&alice).await.is_err());
        let known = alice.clone();
        let changes = stand.store.refresh(move |_| Some(known.clone()));
        assert_eq!(changes, Changes { ended: vec![alice.id()], allowed: false });
        assert!(kept.upgrade().is_none(), "somebody holds it still");
    });
}
