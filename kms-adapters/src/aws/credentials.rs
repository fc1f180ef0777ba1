//! Where AWS credentials come from, and how long they are used.
//!
//! Arrives: the settings' choice of a source. Leaves: an access key with its secret, perhaps with a session token and an
//! end. Those with an end are got anew five minutes before it; when that fails, the old ones go on until they end. What a
//! metadata service answers is read within bounds; nothing of it reaches an error text.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use barnabas_crypto::custody::CustodyCause;
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{Complaint, VENDOR, alien, element, service_endpoint};
use crate::http::{Client, Request, Response};
use crate::{Error, HttpSettings, Plaintext, SecretSource, SecretText, TlsSettings, VendorError};

/// How the gateway gets its credentials.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AwsCredentials {
    /// The role of a container (ECS) or pod (EKS Pod Identity).
    Container {
        /// Where it is asked for; without, what the environment says (`AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or
        /// `..._FULL_URI`).
        uri: Option<String>,
        /// The token to show there; without, the file that `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` names, if any.
        token: Option<SecretSource>,
    },
    /// The role of an EC2 instance, by version 2 of its metadata service.
    Instance {
        /// The service; without, `http://169.254.169.254`.
        endpoint: Option<String>,
    },
    /// A profile in a file in the form of `~/.aws/credentials`, read anew at each call.
    Profile {
        /// The file.
        file: PathBuf,
        /// The profile, usually `default`.
        name: String,
    },
    /// An access key, read anew at each call.
    Static {
        /// Its id.
        access_key_id: SecretSource,
        /// Its secret.
        secret_access_key: SecretSource,
        /// For credentials of a session.
        session_token: Option<SecretSource>,
    },
    /// A role, assumed with a token of an identity provider (EKS service accounts, OIDC).
    WebIdentity {
        /// The role's ARN.
        role_arn: String,
        /// Under which name the session stands in CloudTrail.
        session_name: String,
        /// The token, read anew each time.
        token: SecretSource,
        /// Where STS is; without, the region's own.
        sts_endpoint: Option<String>,
    },
}

/// An access key. No `Debug`, no `Clone`; its secrets are wiped when dropped.
pub(super) struct Keys {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: SecretText,
    pub(super) session_token: Option<SecretText>,
    pub(super) expires: Option<Timestamp>,
}

/// Gives credentials that are valid now.
pub(super) struct Credentials {
    source: AwsCredentials,
    /// To whom the source's questions go; none for files and variables.
    client: Option<(Client, String)>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    keys: Option<Arc<Keys>>,
    /// After a failure nobody asks again before.
    not_before: Option<Instant>,
}

impl Credentials {
    /// Checks the settings; asks nobody. TLS and timeouts of STS are those of KMS.
    pub(super) fn new(source: AwsCredentials, region: &str, http: &HttpSettings) -> Result<Self, Error> {
        let metadata = |endpoint: &str| HttpSettings {
            plaintext: Plaintext::LinkLocal,
            connect_timeout: METADATA_TIMEOUT,
            request_timeout: METADATA_TIMEOUT,
            tls: TlsSettings::default(),
            ..HttpSettings::new(endpoint)
        };
        let client = match &source {
            AwsCredentials::Container { uri, .. } => {
                let (endpoint, path) = split(&uri.clone().map_or_else(container_uri, Ok)?)?;
                Some((Client::new(metadata(&endpoint))?, path))
            }
            AwsCredentials::Instance { endpoint } => {
                let endpoint = endpoint.as_deref().unwrap_or("http://169.254.169.254");
                Some((Client::new(metadata(endpoint))?, String::new()))
            }
            AwsCredentials::WebIdentity { sts_endpoint, .. } => {
                let endpoint = sts_endpoint.clone().unwrap_or_else(|| service_endpoint("sts", region));
                Some((Client::new(HttpSettings { endpoint, ..http.clone() })?, String::new()))
            }
            AwsCredentials::Profile { .. } | AwsCredentials::Static { .. } => None,
        };
        Ok(Self { source, client, kept: Mutex::default() })
    }

    /// Credentials, and whether they were got just now.
    pub(super) async fn current(&self) -> Result<(Arc<Keys>, bool), Error> {
        let Some((client, path)) = &self.client else {
            return Ok((Arc::new(self.read()?), true));
        };
        let mut kept = self.kept.lock().await;
        let now = Timestamp::now();
        let left = |keys: &Keys| keys.expires.map_or(SignedDuration::MAX, |end| end.duration_since(now));
        let is_resting = kept.not_before.is_some_and(|time| Instant::now() < time);
        if let Some(keys) = &kept.keys
            && (left(keys) > EARLY || (is_resting && left(keys) > SignedDuration::ZERO))
        {
            return Ok((Arc::clone(keys), false));
        }
        match self.fetch(client, path).await {
            Ok(fresh) => {
                let fresh = Arc::new(fresh);
                *kept = Kept { keys: Some(Arc::clone(&fresh)), not_before: None };
                Ok((fresh, true))
            }
            Err(error) => {
                kept.not_before = Some(Instant::now() + REST);
                let old = kept.keys.as_ref().filter(|keys| left(keys) > SignedDuration::ZERO);
                old.map(|keys| (Arc::clone(keys), false)).ok_or(error)
            }
        }
    }

    /// These are not taken any more.
    pub(super) async fn forget(&self, keys: &Arc<Keys>) {
        let mut kept = self.kept.lock().await;
        if kept.keys.as_ref().is_some_and(|known| Arc::ptr_eq(known, keys)) {
            *kept = Kept::default();
        }
    }

    fn read(&self) -> Result<Keys, Error> {
        match &self.source {
            AwsCredentials::Profile { file, name } => profile(SecretSource::File(file.clone()).read()?.expose(), name),
            AwsCredentials::Static { access_key_id, secret_access_key, session_token } => Ok(Keys {
                access_key_id: access_key_id.read()?.expose().to_owned(),
                secret_access_key: secret_access_key.read()?,
                session_token: session_token.as_ref().map(SecretSource::read).transpose()?,
                expires: None,
            }),
            _ => Err(refused("this source is asked, not read").into()),
        }
    }

    async fn fetch(&self, client: &Client, path: &str) -> Result<Keys, Error> {
        match &self.source {
            AwsCredentials::Container { token, .. } => {
                let token = token.clone().or_else(container_token).map(|source| source.read()).transpose()?;
                let mut request = Request::new(Method::GET, path);
                if let Some(token) = &token {
                    request = request.secret_header(AUTHORIZATION, token.expose());
                }
                role_keys(&ask(client, &request).await?)
            }
            AwsCredentials::Instance { .. } => instance(client).await,
            AwsCredentials::WebIdentity { role_arn, session_name, token, .. } => {
                let form = web_identity_form(role_arn, session_name, &token.read()?);
                let request = Request::new(Method::POST, "/").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
                session_keys(&ask(client, &request.body(form)).await?)
            }
            AwsCredentials::Profile { .. } | AwsCredentials::Static { .. } => self.read(),
        }
    }
}

/// A session with the metadata service first: a token that no forwarded request can have.
async fn instance(client: &Client) -> Result<Keys, Error> {
    let request = Request::new(Method::PUT, "/latest/api/token").header(X_TOKEN_TTL, "300");
    let answer = ask(client, &request).await?;
    let token = SecretText::new(text(&answer)?.to_owned());
    let get = |path: String| Request::new(Method::GET, path).secret_header(X_TOKEN, token.expose());
    let folder = "/latest/meta-data/iam/security-credentials/";
    let answer = ask(client, &get(folder.to_owned())).await?;
    let role = text(&answer)?.lines().next().unwrap_or_default().trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c);
    if role.is_empty() || !role.chars().all(is_name) {
        return Err(refused("the instance has no role").into());
    }
    role_keys(&ask(client, &get(format!("{folder}{role}"))).await?)
}

/// An answer of status 200; everything else is about the credential, save for slowness and breakage.
async fn ask(client: &Client, request: &Request) -> Result<Response, Error> {
    let response = client.send(request).await.map_err(|e| e.into_vendor(VENDOR))?;
    if response.status == 200 {
        return Ok(response);
    }
    let complaint = Complaint::of(&response);
    let cause = match super::cause(&complaint.code, &response) {
        kept @ (CustodyCause::Throttled | CustodyCause::Unreachable) => kept,
        _ => CustodyCause::Unauthenticated,
    };
    let error = VendorError::new(VENDOR, cause).coded(format!("HTTP {} {}", response.status, complaint.code));
    let error = error.after(response.retry_after()).saying(&complaint.message);
    Err(error.advising(format!("see who gives the credentials: {}", client.endpoint())).into())
}

/// As instances and containers tell it.
fn role_keys(response: &Response) -> Result<Keys, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Role {
        access_key_id: String,
        secret_access_key: SecretText,
        token: SecretText,
        expiration: String,
    }
    let role: Role = super::parsed(response)?;
    Ok(Keys {
        access_key_id: role.access_key_id,
        secret_access_key: role.secret_access_key,
        session_token: Some(role.token),
        expires: Some(role.expiration.parse().map_err(|_| alien(response))?),
    })
}

/// As STS tells it.
fn session_keys(response: &Response) -> Result<Keys, Error> {
    let answer = text(response)?;
    let part = |name| element(answer, name).ok_or_else(|| Error::from(alien(response)));
    Ok(Keys {
        access_key_id: part("AccessKeyId")?.to_owned(),
        secret_access_key: SecretText::new(part("SecretAccessKey")?.to_owned()),
        session_token: Some(SecretText::new(part("SessionToken")?.to_owned())),
        expires: Some(part("Expiration")?.parse().map_err(|_| alien(response))?),
    })
}

/// A section of a file in INI form.
fn profile(text: &str, name: &str) -> Result<Keys, Error> {
    let lines = text.lines().map(str::trim).skip_while(|line| *line != format!("[{name}]")).skip(1);
    let section: Vec<_> = lines.take_while(|line| !line.starts_with('[')).collect();
    let value = |wanted: &str| {
        let pairs = section.iter().filter_map(|line| line.split_once('='));
        pairs.map(|(key, value)| (key.trim(), value.trim())).find(|(key, _)| *key == wanted).map(|(_, value)| value)
    };
    let needed = |key| value(key).ok_or_else(|| Error::from(refused(&format!("profile {name} has no {key}"))));
    Ok(Keys {
        access_key_id: needed("aws_access_key_id")?.to_owned(),
        secret_access_key: SecretText::new(needed("aws_secret_access_key")?.to_owned()),
        session_token: value("aws_session_token").map(|token| SecretText::new(token.to_owned())),
        expires: None,
    })
}

fn web_identity_form(role_arn: &str, session_name: &str, token: &SecretText) -> Zeroizing<Vec<u8>> {
    let mut form = Zeroizing::new(Vec::with_capacity(MOST_FORM));
    form.extend_from_slice(b"Action=AssumeRoleWithWebIdentity&Version=2011-06-15");
    for (name, value) in
        [("RoleArn", role_arn), ("RoleSessionName", session_name), ("WebIdentityToken", token.expose())]
    {
        form.extend_from_slice(format!("&{name}=").as_bytes());
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => form.push(byte),
                _ => form.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            }
        }
    }
    form
}

fn container_uri() -> Result<String, Error> {
    let variable = |name| env::var(name).ok().filter(|value: &String| !value.is_empty());
    let relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|path| format!("http://169.254.170.2{path}"));
    relative.or_else(|| variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")).ok_or_else(|| Error::Setting {
        setting: "credentials.uri",
        why: "set it: the environment of this process does not name where a container's role is asked for".into(),
    })
}

fn container_token() -> Option<SecretSource> {
    let file = env::var_os("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").filter(|path| !path.is_empty());
    file.map(|path| SecretSource::File(path.into()))
}

/// Endpoint, and path with query.
fn split(uri: &str) -> Result<(String, String), Error> {
    let host = uri.find("://").map(|at| at + 3);
    let path = host.and_then(|host| uri.get(host..)?.find('/').map(|at| host + at));
    match path.and_then(|path| uri.split_at_checked(path)) {
        Some((endpoint, path)) => Ok((endpoint.to_owned(), path.to_owned())),
        None => Err(Error::Setting { setting: "credentials.uri", why: "write http://host/path".into() }),
    }
}

fn text(response: &Response) -> Result<&str, Error> {
    core::str::from_utf8(&response.body).map_err(|_| alien(response).into())
}

fn refused(what: &str) -> VendorError {
    VendorError::new(VENDOR, CustodyCause::Unauthenticated).saying(what)
}

/// Time enough to get others before they end.
const EARLY: SignedDuration = SignedDuration::from_mins(5);
/// Between two tries to get others while the old ones are good.
const REST: Duration = Duration::from_secs(30);
/// Metadata services stand beside us.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);
/// Three times the longest token: each byte may be escaped.
const MOST_FORM: usize = 3 * 64 * 1024 + 4096;
const X_TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const X_TOKEN_TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");

#[cfg(test)]
mod tests;
