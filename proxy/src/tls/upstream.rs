//! TLS towards brokers: the settings of a cluster arrive, a rustls client configuration leaves.
//! Broker certificates are always verified, path and name; there is no setting that switches it off.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::reload::Load;
use super::{TlsError, files, provider};
use crate::config::UpstreamTls;

/// What the next connection to a broker needs.
#[derive(Debug)]
pub struct BrokerTls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl BrokerTls {
    /// The configuration of the next handshake.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// The name that the certificate of the broker at `host` must carry.
    pub fn name_for(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        self.server_name.clone().map_or_else(|| name(host), Ok)
    }
}

impl Load for BrokerTls {
    type Settings = UpstreamTls;

    fn load(settings: &UpstreamTls) -> Result<Self, TlsError> {
        let roots = files::roots(&settings.ca)?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_root_certificates(roots);
        let config = match &settings.certificate {
            Some(own) => {
                // Read together first: the error then names both files.
                files::certified_key(own)?;
                builder.with_client_auth_cert(
                    files::chain(&own.certificate)?,
                    files::private_key(&own.private_key)?,
                )?
            }
            None => builder.with_no_client_auth(),
        };
        let server_name = settings.server_name.as_deref().map(name).transpose()?;
        Ok(Self {
            config: Arc::new(config),
            server_name,
        })
    }
}

fn name(host: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name(host.to_owned()))
}
