//! stub
use std::sync::Arc;
use std::time::Duration;
use rustls::pki_types::CertificateDer;
use crate::identity::Principal;
use crate::upstream::UpstreamTls;
/// x
pub struct ServerTls;
/// x
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct PrincipalError;
impl ServerTls {
    /// x
    pub fn current(&self) -> Arc<rustls::ServerConfig> { unimplemented!() }
    /// x
    pub fn handshake_timeout(&self) -> Duration { Duration::from_secs(1) }
    /// x
    pub fn principal(&self, _c: Option<&[CertificateDer<'_>]>) -> Result<Principal, PrincipalError> { Err(PrincipalError) }
}
/// x
pub struct UpstreamTlsSource;
impl UpstreamTlsSource {
    /// x
    pub fn current(&self) -> UpstreamTls { unimplemented!() }
}
