//! A TLS configuration that follows its files: settings arrive once, new files at any time, the current one leaves.
//! Files that cannot be used change nothing. Whoever holds connections can wait for a change and look at them again.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::TlsError;

/// What can be made of settings and the files that they name.
pub(super) trait Load: Sized {
    /// The part of the configuration that names the files.
    type Settings;

    /// Reads all files anew.
    fn load(settings: &Self::Settings) -> Result<Self, TlsError>;
}

/// The current configuration.
///
/// A `watch` channel instead of a bare atomic pointer: one reader in a handshake is rare, and the holders of live
/// connections need to be told of a change.
#[derive(Debug)]
pub(super) struct Reloadable<T: Load> {
    loading: Mutex<()>,
    current: watch::Sender<Arc<T>>,
}

impl<T: Load> Reloadable<T> {
    /// Loads for the first time; at the start a broken file is an error.
    pub(super) fn new(settings: T::Settings) -> Result<Self, TlsError> {
        let first = Arc::new(T::load(&settings)?);
        Ok(Self { loading: Mutex::new(()), current: watch::Sender::new(first) })
    }

    /// What the next connection uses.
    pub(super) fn current(&self) -> Arc<T> {
        self.current.borrow().clone()
    }

    /// Tells of every later change.
    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<T>> {
        self.current.subscribe()
    }

    /// Reads the files anew, by new settings. On an error the old configuration stays, and the error is logged.
    pub(super) fn reload(&self, settings: &T::Settings) -> Result<(), TlsError> {
        // Held while loading, so that two reloads end with the files that the later one read.
        let _loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        match T::load(settings) {
            Ok(next) => {
                self.current.send_replace(Arc::new(next));
                Ok(())
            }
            Err(error) => {
                tracing::error!(event = "tls_reload_refused", %error, "the certificates in use stay in use");
                Err(error)
            }
        }
    }
}
