//! TLS towards brokers: the settings of a cluster arrive, a rustls client configuration leaves.
//! Broker certificates are always verified, path and name; there is no setting that switches it off.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::reload::{Load, Reloadable};
use super::{TlsError, files, provider};
use crate::config;
use crate::upstream::UpstreamTls;

/// TLS towards the brokers of one cluster. Its files are read anew by [`UpstreamTlsSource::reload`].
#[derive(Debug)]
pub struct UpstreamTlsSource(Reloadable<Snapshot>);

impl UpstreamTlsSource {
    /// Loads for the first time; at the start a broken file is an error.
    pub fn new(settings: config::UpstreamTls) -> Result<Self, TlsError> {
        Reloadable::new(settings).map(Self)
    }

    /// What the next connection to a broker needs.
    pub fn current(&self) -> UpstreamTls {
        let now = self.0.current();
        UpstreamTls { config: now.config.clone(), server_name: now.server_name.clone() }
    }

    /// Reads the files anew. On an error what is in use stays in use.
    pub fn reload(&self, settings: config::UpstreamTls) -> Result<(), TlsError> {
        self.0.reload(&settings)
    }
}

#[derive(Debug)]
struct Snapshot {
    config: Arc<ClientConfig>,
    server_name: Option<String>,
}

impl Load for Snapshot {
    type Settings = config::UpstreamTls;

    fn load(settings: &config::UpstreamTls) -> Result<Self, TlsError> {
        let roots = files::roots(&settings.ca)?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_root_certificates(roots);
        let config = match &settings.certificate {
            Some(own) => {
                // Read together first: the error then names both files.
                files::certified_key(own)?;
                builder.with_client_auth_cert(files::chain(&own.certificate)?, files::private_key(&own.private_key)?)?
            }
            None => builder.with_no_client_auth(),
        };
        if let Some(name) = &settings.server_name {
            ServerName::try_from(name.as_str()).map_err(|_| TlsError::Name(name.clone()))?;
        }
        Ok(Self { config: Arc::new(config), server_name: settings.server_name.clone() })
    }
}
