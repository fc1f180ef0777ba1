//! Real clients, unmodified: what a user runs, pointed at an [`Endpoint`] that is the gateway or, as the control, the broker.
//!
//! All of them speak about records in one form ([`record`]), so that one comparison serves every client.

pub mod foreign;
pub mod java;
pub mod rd;
pub mod record;

use crate::broker::Broker;
use crate::certs::ClientFiles;

/// Where a client connects, and as whom.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `bootstrap.servers`.
    pub bootstrap: String,
    /// TLS files, or a connection in the clear.
    pub tls: Option<ClientFiles>,
}

impl Endpoint {
    /// In the clear.
    pub fn plain(bootstrap: &str) -> Self {
        Self { bootstrap: bootstrap.to_owned(), tls: None }
    }

    /// Over TLS with these files.
    pub fn tls(bootstrap: &str, files: &ClientFiles) -> Self {
        Self { bootstrap: bootstrap.to_owned(), tls: Some(files.clone()) }
    }

    /// Past the gateway, straight to the broker: what the broker really has.
    pub fn direct(broker: &Broker) -> Self {
        Self::plain(broker.address())
    }
}
