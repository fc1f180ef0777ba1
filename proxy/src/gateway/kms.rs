//! Adapters to key management systems, built as the configuration says.
//!
//! Arrives: the settings of one system. Leaves: its adapter. Nobody is connected to and no credential is read here: the first
//! call does that. What stands before an adapter (patience, circuit breaker) is put there by whoever calls.

use std::sync::Arc;

use barnabas_crypto::Custody;
#[cfg(feature = "pkcs11")]
use barnabas_kms::Pkcs11;
use barnabas_kms::{Aws, Azure, Gcp, Kmip, Vault};

use super::Error;
use crate::config::{KmsBackend, KmsSystem};

/// The adapter to a system.
///
/// # Errors
/// `Kms`, when the settings cannot be. The configuration has asked before; PKCS#11 may fail to start its threads.
pub fn adapter(system: &KmsSystem) -> Result<Arc<dyn Custody>, Error> {
    let built: Result<Arc<dyn Custody>, barnabas_kms::Error> = match &system.backend {
        KmsBackend::Aws(settings) => Aws::new(settings.clone()).map(shared),
        KmsBackend::Azure(settings) => Azure::new(settings.clone()).map(shared),
        KmsBackend::Gcp(settings) => Gcp::new(settings.clone()).map(shared),
        KmsBackend::Kmip(settings) => Kmip::new(settings.clone()).map(shared),
        #[cfg(feature = "pkcs11")]
        KmsBackend::Pkcs11(settings) => Pkcs11::new(settings.clone()).map(shared),
        KmsBackend::Vault(settings) => Vault::new(settings.clone()).map(shared),
    };
    built.map_err(|source| Error::Kms { name: system.name.clone(), source })
}

fn shared(adapter: impl Custody + 'static) -> Arc<dyn Custody> {
    Arc::new(adapter)
}
