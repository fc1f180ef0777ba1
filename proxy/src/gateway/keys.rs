//! Keystore, keyring and delegate, opened as the configuration says: for the gateway and for commands alike.
//!
//! Arrives: a checked configuration. Leaves: the followed keyring, and whoever may write to it. What must never happen
//! here: a keyring that is trusted under another root key than the pinned one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use barnabas_crypto::{SignedObject, SigningKey, VerifyingKey};
use barnabas_kms::{LocalKeystore, Passphrase, Unlock};
use tokio::task::JoinHandle;

use super::Error;
use crate::config::{self, Config, KeystoreBackend};
use crate::custody::KeySystems;
use crate::keyring::{KeyringTopic, LiveKeyring, Told, TopicError};
use crate::metrics::Metrics;
use crate::steward::{Delegate, DelegateSettings, ExclusivePublisher};

/// The followed keyring of a configuration.
pub struct OpenKeyring {
    /// Its objects.
    pub live: Arc<LiveKeyring>,
    /// Its topic.
    pub topic: Arc<KeyringTopic>,
    following: JoinHandle<()>,
}

impl Drop for OpenKeyring {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl OpenKeyring {
    /// Makes sure that the topic is there and begins to follow it.
    pub async fn open(config: &Config, metrics: Arc<Metrics>) -> Result<Self, Error> {
        Self::telling(config, metrics, Told::nobody()).await
    }

    /// The same, of which the audit log hears.
    pub async fn telling(config: &Config, metrics: Arc<Metrics>, told: Told) -> Result<Self, Error> {
        Self::prepared(config, metrics, told, KeyringTopic::ensure).await
    }

    /// Begins to follow a topic that is there; makes none.
    pub async fn existing(config: &Config, metrics: Arc<Metrics>) -> Result<Self, Error> {
        Self::prepared(config, metrics, Told::nobody(), KeyringTopic::check_exists).await
    }

    async fn prepared(
        config: &Config,
        metrics: Arc<Metrics>,
        told: Told,
        prepare: impl FnOnce(&KeyringTopic) -> Result<(), TopicError> + Send + 'static,
    ) -> Result<Self, Error> {
        let root = config.steward.root_public_key.ok_or(Error::NoRootKey)?;
        let root = VerifyingKey::from_bytes(root);
        let cluster = config.keyring_cluster().ok_or(Error::NoRootKey)?;
        let topic = KeyringTopic::new(cluster, &config.keyring.topic, config.keyring.replication_factor)?;
        let topic = Arc::new(topic);
        let prepared = topic.clone();
        // Asked again as long as Kafka does not answer: a gateway that starts before its brokers must come up with them.
        tokio::task::spawn_blocking(move || prepare(&prepared)).await.map_err(|_| Error::Stopped)??;
        let live = Arc::new(LiveKeyring::telling(root, metrics, told));
        let following = tokio::spawn(live.clone().follow(topic.follow()?));
        Ok(Self { live, topic, following })
    }

    /// Waits until the history has been read.
    pub async fn caught_up(&self, limit: Duration) -> Result<(), Error> {
        if self.live.wait_until_caught_up(limit).await { Ok(()) } else { Err(Error::KeyringUnread(limit)) }
    }

    /// The delegate whose key is in the keystore. Its certificate is published when the keyring does not have it.
    pub async fn delegate(&self, config: &Config, systems: &Arc<KeySystems>) -> Result<Arc<Delegate>, Error> {
        let seed = systems.local().secret(DELEGATE_SECRET)?;
        let key = SigningKey::from_seed(&seed)?;
        let path = config.steward.certificate.as_deref().ok_or(Error::NoCertificate)?;
        let certificate = read_certificate(path, &key)?;
        let known = self.live.read(|keyring| keyring.next_version(certificate.body().slot()));
        if known <= certificate.object().version {
            let mut publisher = ExclusivePublisher::new(self.topic.clone(), self.live.clone());
            publisher.take().await?;
            publisher.publish(&[certificate]).await?;
        }
        let settings = DelegateSettings {
            epoch_lifetime: config.steward.epoch_lifetime,
            head_interval: config.keyring.head_interval,
        };
        let policy = config.policy.clone();
        Ok(Arc::new(Delegate::new(settings, self.live.clone(), self.topic.clone(), systems.clone(), key, policy)))
    }
}

/// Opens the keystore of a configuration and prepares its key management systems, none of which is asked yet. Blocks.
pub fn open_custody(config: &Config) -> Result<Arc<KeySystems>, Error> {
    let keystore = open_keystore(config.keystore.as_ref().ok_or(Error::NoKeystore)?)?;
    let adapter = |system: &config::KmsSystem| Ok((system.name.clone(), super::adapter(system)?));
    let others = config.kms.iter().map(adapter).collect::<Result<Vec<_>, Error>>()?;
    Ok(Arc::new(KeySystems::new(keystore, others, config.custody.kms.clone())))
}

/// Opens the keystore of a configuration. Stretching a passphrase takes a second by design, so this blocks.
pub fn open_keystore(keystore: &config::Keystore) -> Result<Arc<LocalKeystore>, Error> {
    let KeystoreBackend::Local { path, unlock } = &keystore.backend;
    let unlock = match unlock {
        config::Unlock::KeyFile(file) => Unlock::KeyFile(file.clone()),
        config::Unlock::Passphrase(secret) => {
            let passphrase = secret.read().map_err(Error::Passphrase)?;
            Unlock::Passphrase(Passphrase::new(passphrase.as_bytes().to_vec()))
        }
    };
    Ok(Arc::new(LocalKeystore::open(path, &unlock)?))
}

fn read_certificate(path: &Path, key: &SigningKey) -> Result<SignedObject, Error> {
    let unfit = |reason: String| Error::Certificate { path: path.to_owned(), reason };
    let bytes = std::fs::read(path).map_err(|error| unfit(error.to_string()))?;
    let object = SignedObject::parse(&bytes).map_err(|error| unfit(error.to_string()))?;
    match object.body() {
        barnabas_crypto::Body::Delegate(delegate) if delegate.key == *key.public() => Ok(object),
        barnabas_crypto::Body::Delegate(_) => Err(unfit("it certifies another key than the keystore's".to_owned())),
        _ => Err(unfit("it is not a delegate's certificate".to_owned())),
    }
}

/// The name of the delegate's signing seed in the keystore.
pub const DELEGATE_SECRET: &str = "delegate";
