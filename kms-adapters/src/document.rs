//! Public documents of a service: a path arrives, the bytes of the document leave. For what is no key management but is reached
//! the same way: an OpenID issuer's configuration and its keys. What the HTTPS client promises holds here: TLS as configured, no
//! redirect, bounded in size and time.

use hyper::Method;
use hyper::header::ACCEPT;
use zeroize::Zeroizing;

use crate::Error;
use crate::http::{Client, HttpSettings, Request};

/// The documents of one service.
pub struct Documents(Client);

impl Documents {
    /// Checks the settings; connects to nobody and reads no file.
    ///
    /// # Errors
    /// `Setting`, when the endpoint is not an address that may be spoken to.
    pub fn new(settings: HttpSettings) -> Result<Self, Error> {
        Client::new(settings).map(Self)
    }

    /// The document at a path (with its query, percent-encoded) below the endpoint, at most 1 MiB. `whose` names the service
    /// in errors.
    ///
    /// # Errors
    /// `Vendor`: no answer, a redirect, or any status but 200.
    pub async fn fetch(&self, path: &str, whose: &'static str) -> Result<Zeroizing<Vec<u8>>, Error> {
        let request = Request::new(Method::GET, path).header(ACCEPT, "application/json");
        let response = self.0.send(&request).await.map_err(|error| error.into_vendor(whose))?;
        if response.status != 200 {
            return Err(response.refusal(whose).into());
        }
        Ok(response.body)
    }
}
