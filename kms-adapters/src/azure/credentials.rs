//! How the gateway proves to Microsoft Entra who it is: secret, certificate, federated token, or the machine it runs on.
//!
//! Arrives: a reference to a credential. Leaves: an access token for the vault's service alone. Files are read at each
//! renewal, so a rotated secret, certificate or federated token needs no restart. The secret and assertions go to the
//! authority of the settings and to nobody else: no challenge of a vault can send them elsewhere.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::Method;
use hyper::header::HeaderName;
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use zeroize::Zeroizing;

use super::VENDOR;
use crate::http::{Client, HttpSettings, Plaintext, Request, Response};
use crate::oauth::{
    JwtAlgorithm, Token, client_named_in, client_of, encoded, form_request, now, signed_jwt, token_of, unique_id,
};
use crate::{ClientCertificate, Error, SecretSource};

// ---- authentication

/// How the gateway proves who it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AzureCredentials {
    /// An application with the certificate that is registered for it: RSA, both files PEM.
    Certificate(AzureIdentity, ClientCertificate),
    /// An application with a client secret.
    ClientSecret(AzureIdentity, SecretSource),
    /// The identity of an App Service, a function or a container app: where its local endpoint is, and the header that
    /// opens it; the platform puts them in `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`.
    AppService {
        /// The endpoint's whole address.
        endpoint: SecretSource,
        /// The value of `X-IDENTITY-HEADER`.
        header: SecretSource,
        /// Which identity, where there is more than one.
        client_id: Option<String>,
    },
    /// The identity of a virtual machine, from the instance metadata service.
    ManagedIdentity {
        /// `http://169.254.169.254` in general.
        address: String,
        /// Which identity, where there is more than one.
        client_id: Option<String>,
    },
    /// An application that trusts a cluster's tokens: the file with the projected token.
    WorkloadIdentity(AzureIdentity, PathBuf),
}

impl AzureCredentials {
    /// The virtual machine's own identity.
    #[must_use]
    pub fn managed_identity(client_id: Option<String>) -> Self {
        Self::ManagedIdentity { address: "http://169.254.169.254".into(), client_id }
    }

    /// The App Service's own identity, as the platform names it in the environment.
    #[must_use]
    pub fn app_service(client_id: Option<String>) -> Self {
        let variable = |name: &str| SecretSource::Environment(name.into());
        Self::AppService { endpoint: variable("IDENTITY_ENDPOINT"), header: variable("IDENTITY_HEADER"), client_id }
    }
}

/// An application of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AzureIdentity {
    /// Where tokens are given: `https://login.microsoftonline.com`, or another cloud's.
    pub authority: String,
    /// The directory's id or domain.
    pub tenant: String,
    /// The application's id.
    pub client_id: String,
}

impl AzureIdentity {
    /// An application in the public cloud.
    #[must_use]
    pub fn new(tenant: impl Into<String>, client_id: impl Into<String>) -> Self {
        let authority = "https://login.microsoftonline.com".into();
        Self { authority, tenant: tenant.into(), client_id: client_id.into() }
    }

    fn endpoint(&self) -> String {
        format!("{}/{}/oauth2/v2.0/token", self.authority.trim_end_matches('/'), encoded(&self.tenant))
    }
}

/// Where tokens come from, and what they are for.
pub(super) struct Source {
    credentials: AzureCredentials,
    http: HttpSettings,
    resource: String,
}

impl Source {
    /// # Errors
    /// `Setting`, when the authority's or the metadata service's address cannot be.
    pub(super) fn new(credentials: &AzureCredentials, http: &HttpSettings, resource: String) -> Result<Self, Error> {
        let source = Self { credentials: credentials.clone(), http: http.clone(), resource };
        match credentials {
            AzureCredentials::Certificate(identity, _)
            | AzureCredentials::ClientSecret(identity, _)
            | AzureCredentials::WorkloadIdentity(identity, _) => client_of(&identity.endpoint(), http).map(|_| ())?,
            AzureCredentials::ManagedIdentity { address, .. } => client_of(address, &source.local()).map(|_| ())?,
            AzureCredentials::AppService { .. } => {}
        }
        Ok(source)
    }

    /// A fresh token.
    ///
    /// # Errors
    /// `Credential`, `Certificate` and `Io` when a file cannot be used, else the vendor's.
    pub(super) async fn token(&self) -> Result<Token, Error> {
        match &self.credentials {
            AzureCredentials::Certificate(identity, files) => {
                self.by_assertion(identity, &certificate_assertion(identity, files)?).await
            }
            AzureCredentials::ClientSecret(identity, secret) => {
                let secret = secret.read()?;
                self.by_client(identity, &[("client_secret", secret.expose())]).await
            }
            AzureCredentials::WorkloadIdentity(identity, file) => {
                let token = SecretSource::File(file.clone()).read()?;
                self.by_assertion(identity, token.expose()).await
            }
            AzureCredentials::ManagedIdentity { address, client_id } => {
                let url = format!("{}/metadata/identity/oauth2/token", address.trim_end_matches('/'));
                let found = client_of(&url, &self.local())?;
                self.of_platform(found, "2018-02-01", client_id.as_deref(), ("metadata", "true")).await
            }
            AzureCredentials::AppService { endpoint, header, client_id } => {
                let found = client_named_in(endpoint, endpoint.read()?.expose(), &self.local())?;
                let header = header.read()?;
                let header = ("x-identity-header", header.expose());
                self.of_platform(found, "2019-08-01", client_id.as_deref(), header).await
            }
        }
    }

    /// The client credentials grant (RFC 6749, section 4.4), authenticated by an assertion (RFC 7523, section 2.2).
    async fn by_assertion(&self, identity: &AzureIdentity, assertion: &str) -> Result<Token, Error> {
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        self.by_client(identity, &[("client_assertion_type", kind), ("client_assertion", assertion)]).await
    }

    async fn by_client(&self, identity: &AzureIdentity, proof: &[(&str, &str)]) -> Result<Token, Error> {
        let scope = format!("{}/.default", self.resource);
        let grant = [("grant_type", "client_credentials"), ("client_id", &identity.client_id), ("scope", &scope)];
        let fields: Vec<_> = grant.into_iter().chain(proof.iter().copied()).collect();
        let (client, path) = client_of(&identity.endpoint(), &self.http)?;
        token_of(VENDOR, &sent(&client, &form_request(path, &fields)).await?)
    }

    /// An endpoint of the platform, on this machine or link: it speaks no TLS and asks for a header that a forged request
    /// from a browser cannot have.
    async fn of_platform(
        &self,
        (client, path): (Client, String),
        version: &str,
        client_id: Option<&str>,
        header: (&'static str, &str),
    ) -> Result<Token, Error> {
        let which = client_id.map(|id| format!("&client_id={}", encoded(id))).unwrap_or_default();
        let path = format!("{path}?api-version={version}&resource={}{which}", encoded(&self.resource));
        let request = Request::new(Method::GET, path).secret_header(HeaderName::from_static(header.0), header.1);
        token_of(VENDOR, &sent(&client, &request).await?)
    }

    fn local(&self) -> HttpSettings {
        HttpSettings { plaintext: Plaintext::LinkLocal, ..self.http.clone() }
    }
}

/// A token that the application signs for the directory: PS256, the certificate named by its SHA-256.
fn certificate_assertion(identity: &AzureIdentity, files: &ClientCertificate) -> Result<Zeroizing<String>, Error> {
    let certificate = CertificateDer::from_pem_file(&files.certificate)
        .map_err(|e| Error::Certificate { path: files.certificate.clone(), why: e.to_string() })?;
    let print = URL_SAFE_NO_PAD.encode(digest(&SHA256, &certificate));
    let (client, issued) = (&identity.client_id, now());
    let claims = json!({
        "aud": identity.endpoint(), "iss": client, "sub": client, "jti": unique_id()?,
        "nbf": issued, "iat": issued, "exp": issued + ASSERTION_LIFETIME,
    });
    let source = SecretSource::File(files.private_key.clone());
    signed_jwt(JwtAlgorithm::Ps256, ("x5t#S256", &print), &claims, source.read()?.expose(), &source.place())
}

async fn sent(client: &Client, request: &Request) -> Result<Response, Error> {
    Ok(client.send(request).await.map_err(|error| error.into_vendor(VENDOR))?)
}

/// Used at once; the rest is for clocks that differ.
const ASSERTION_LIFETIME: u64 = 600;
