//! How the gateway proves to Google who it is: a service account key, the metadata server, or a federated identity.
//!
//! Arrives: a reference to a credential. Leaves: an access token, for Cloud KMS alone where we choose. The file is read at each renewal, so
//! a rotated key or subject token needs no restart. Addresses in a credential file are those of whoever wrote it: they are
//! spoken to by HTTPS only, and the subject token goes nowhere else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use barnabas_crypto::custody::CustodyCause;
use hyper::Method;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::VENDOR;
use crate::http::{Client, HttpSettings, Plaintext, Request, Response};
use crate::oauth::{JwtAlgorithm, Token, client_named_in, form_request, now, refused_token, signed_jwt};
use crate::oauth::{encoded, strange_token, token_of};
use crate::{Error, SecretSource, SecretText, VendorError};

// ---- authentication

/// How the gateway proves who it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GcpCredentials {
    /// A credential file in Google's own form: `service_account` (a key) or `external_account` (workload identity
    /// federation, with or without impersonation).
    File(SecretSource),
    /// The account of the machine, the pod or the function that the gateway runs on.
    Metadata {
        /// The metadata server's address; `http://metadata.google.internal` in general.
        address: String,
        /// The account's address, or `default`.
        account: String,
    },
}

impl GcpCredentials {
    /// The default account of the machine.
    #[must_use]
    pub fn metadata() -> Self {
        Self::Metadata { address: "http://metadata.google.internal".into(), account: "default".into() }
    }
}

/// Where tokens come from.
pub(super) enum Source {
    File(SecretSource, HttpSettings),
    Metadata(Box<Client>, String),
}

impl Source {
    /// # Errors
    /// `Setting`, when the metadata server's address cannot be.
    pub(super) fn new(credentials: &GcpCredentials, http: &HttpSettings) -> Result<Self, Error> {
        match credentials {
            GcpCredentials::File(file) => Ok(Self::File(file.clone(), http.clone())),
            GcpCredentials::Metadata { address, account } => {
                // It speaks no TLS, and it is on this link or nobody's.
                let http = HttpSettings { endpoint: address.clone(), plaintext: Plaintext::LinkLocal, ..http.clone() };
                Ok(Self::Metadata(Box::new(Client::new(http)?), encoded(account)))
            }
        }
    }

    /// A fresh token.
    ///
    /// # Errors
    /// `Credential` and `Io` when the file cannot be used, else the vendor's.
    pub(super) async fn token(&self) -> Result<Token, Error> {
        match self {
            Self::File(file, http) => {
                let text = file.read()?;
                let kind: Kind = parsed(&text, file)?;
                match kind.kind.as_str() {
                    "service_account" => parsed::<ServiceAccount>(&text, file)?.token(file, http).await,
                    "external_account" => parsed::<Federation>(&text, file)?.token(file, http).await,
                    _ => Err(unfit(file, "is of another type than service_account and external_account")),
                }
            }
            Self::Metadata(client, account) => of_metadata(client, account).await,
        }
    }
}

/// Read before the rest: an enum with its tag inside would be buffered, and with it a private key.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

fn parsed<'a, T: Deserialize<'a>>(text: &'a SecretText, file: &SecretSource) -> Result<T, Error> {
    serde_json::from_str(text.expose()).map_err(|_| unfit(file, "is not a credential file in Google's form"))
}

/// A key of a service account, as `gcloud iam service-accounts keys create` writes it.
#[derive(Deserialize)]
struct ServiceAccount {
    client_email: String,
    private_key: SecretText,
    private_key_id: String,
    token_uri: String,
}

impl ServiceAccount {
    /// The JWT bearer grant (RFC 7523).
    async fn token(&self, file: &SecretSource, http: &HttpSettings) -> Result<Token, Error> {
        let (issued, audience) = (now(), &self.token_uri);
        let (issuer, ends) = (&self.client_email, issued + LIFETIME);
        let claims = json!({ "iss": issuer, "scope": SCOPE, "aud": audience, "iat": issued, "exp": ends });
        let named = ("kid", self.private_key_id.as_str());
        let assertion = signed_jwt(JwtAlgorithm::Rs256, named, &claims, self.private_key.expose(), &file.place())?;
        let grant = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", &assertion)];
        let (client, path) = client_named_in(file, &self.token_uri, http)?;
        token_of(VENDOR, &sent(&client, &form_request(path, &grant)).await?)
    }
}

/// Workload identity federation: another issuer's token for one of Google's (RFC 8693).
#[derive(Deserialize)]
struct Federation {
    audience: String,
    subject_token_type: String,
    token_url: String,
    service_account_impersonation_url: Option<String>,
    #[serde(default)]
    service_account_impersonation: Impersonation,
    credential_source: SubjectSource,
}

#[derive(Deserialize, Default)]
struct Impersonation {
    token_lifetime_seconds: Option<u64>,
}

/// Where the other issuer's token is. Sources that are programs or sign requests (AWS) are not understood.
#[derive(Deserialize)]
struct SubjectSource {
    file: Option<PathBuf>,
    url: Option<String>,
    /// Present where the URL gives no token but what a signature for AWS needs.
    environment_id: Option<String>,
    /// Present where a program gives the token.
    executable: Option<Value>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    format: SubjectFormat,
}

#[derive(Deserialize, Default)]
struct SubjectFormat {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    subject_token_field_name: String,
}

impl Federation {
    async fn token(&self, file: &SecretSource, http: &HttpSettings) -> Result<Token, Error> {
        let subject = self.credential_source.subject(file, http).await?;
        // Impersonation is asked of another service than Cloud KMS, with the wider scope.
        let scope = if self.service_account_impersonation_url.is_some() { IMPERSONATION_SCOPE } else { SCOPE };
        let grant = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", &self.audience),
            ("scope", scope),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token", subject.expose()),
            ("subject_token_type", &self.subject_token_type),
        ];
        let (client, path) = client_named_in(file, &self.token_url, http)?;
        let federated = token_of(VENDOR, &sent(&client, &form_request(path, &grant)).await?)?;
        match &self.service_account_impersonation_url {
            Some(url) => self.impersonate(url, &federated, file, http).await,
            None => Ok(federated),
        }
    }

    /// `iamcredentials.projects.serviceAccounts.generateAccessToken`.
    async fn impersonate(
        &self,
        url: &str,
        federated: &Token,
        file: &SecretSource,
        http: &HttpSettings,
    ) -> Result<Token, Error> {
        let seconds = self.service_account_impersonation.token_lifetime_seconds.unwrap_or(LIFETIME);
        let asked = json!({ "scope": [SCOPE], "lifetime": format!("{seconds}s") });
        let (client, path) = client_named_in(file, url, http)?;
        let request = Request::new(Method::POST, path).secret_header(AUTHORIZATION, &federated.authorization());
        let request = request.header(CONTENT_TYPE, "application/json").header(ACCEPT, "application/json");
        let response = sent(&client, &request.body(Zeroizing::new(asked.to_string().into_bytes()))).await?;
        if response.status != 200 {
            let error = refused_token(VENDOR, &response);
            return Err(error.advising("let the federated identity impersonate the service account").into());
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            access_token: SecretText,
            expire_time: jiff::Timestamp,
        }
        let answer: Answer = serde_json::from_slice(&response.body).map_err(|_| strange_token(VENDOR))?;
        let ends = SystemTime::from(answer.expire_time).duration_since(SystemTime::now()).unwrap_or_default();
        Ok(Token::new(answer.access_token, ends.min(Duration::from_secs(seconds))))
    }
}

impl SubjectSource {
    fn is_plain(&self) -> bool {
        self.environment_id.is_none() && self.executable.is_none()
    }

    async fn subject(&self, credential: &SecretSource, http: &HttpSettings) -> Result<SecretText, Error> {
        let (text, place) = match (&self.file, &self.url) {
            (Some(file), None) => (SecretSource::File(file.clone()).read()?, format!("file {}", file.display())),
            (None, Some(url)) if self.is_plain() => (self.fetched(url, credential, http).await?, url.clone()),
            _ => return Err(unfit(credential, "has a credential_source that is neither a file nor a plain url")),
        };
        let strange = |what| Error::Credential { place: place.clone(), what };
        match self.format.kind.as_str() {
            "" | "text" => Ok(text),
            "json" => {
                let document: Value = serde_json::from_str(text.expose()).map_err(|_| strange("is not JSON"))?;
                let token = document.get(&self.format.subject_token_field_name).and_then(Value::as_str);
                Ok(SecretText::new(token.ok_or_else(|| strange("has no such field"))?.to_owned()))
            }
            _ => Err(unfit(credential, "has a credential_source whose format is neither text nor json")),
        }
    }

    /// An issuer on this machine or link may speak plaintext: identity agents do.
    async fn fetched(&self, url: &str, credential: &SecretSource, http: &HttpSettings) -> Result<SecretText, Error> {
        let local = HttpSettings { plaintext: Plaintext::LinkLocal, ..http.clone() };
        let (client, path) = client_named_in(credential, url, &local)?;
        let mut request = Request::new(Method::GET, path);
        for (name, value) in &self.headers {
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                request = request.secret_header(name, value);
            }
        }
        let response = sent(&client, &request).await?;
        if response.status != 200 {
            return Err(refused_token(VENDOR, &response).into());
        }
        let text = core::str::from_utf8(&response.body).map_err(|_| strange_token(VENDOR))?;
        Ok(SecretText::new(text.trim().to_owned()))
    }
}

/// `computeMetadata/v1`: who answers without the header is not Google's metadata server.
async fn of_metadata(client: &Client, account: &str) -> Result<Token, Error> {
    // No narrower scope is asked for: instances that do not know it give no token, and whoever is on the machine gets the wide one.
    let path = format!("/computeMetadata/v1/instance/service-accounts/{account}/token");
    let response = sent(client, &Request::new(Method::GET, path).header(FLAVOR, "Google")).await?;
    if response.headers.get(FLAVOR).is_none_or(|flavor| flavor != "Google") {
        let error = VendorError::new(VENDOR, CustodyCause::Unreachable).coded("no metadata server of Google answered");
        return Err(error.advising("run on Google Cloud, or name another credential").into());
    }
    token_of(VENDOR, &response)
}

async fn sent(client: &Client, request: &Request) -> Result<Response, Error> {
    Ok(client.send(request).await.map_err(|error| error.into_vendor(VENDOR))?)
}

fn unfit(file: &SecretSource, what: &'static str) -> Error {
    Error::Credential { place: file.place(), what }
}

const FLAVOR: HeaderName = HeaderName::from_static("metadata-flavor");
/// Cloud KMS and nothing else.
const SCOPE: &str = "https://www.googleapis.com/auth/cloudkms";
const IMPERSONATION_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// An hour, the longest that Google gives.
const LIFETIME: u64 = 3600;
