//! AWS Key Management Service, by three calls of its JSON protocol: Encrypt, Decrypt, DescribeKey.
//!
//! Arrives: 32 bytes to wrap with their context, or a blob of ours. Leaves: that blob (the ARN of the key that made it and
//! KMS's ciphertext), or the bytes. The context and the client's key name go along as encryption context, so KMS itself
//! refuses a wrap that was moved, a key policy can tell clients apart, and CloudTrail names them. Requests are signed; a
//! secret key never leaves this process. Keys are made by the operator, never here: each costs money every month.

use barnabas_crypto::custody::{CustodyCause, CustodyFuture};
use barnabas_crypto::{Custody, CustodyContext, Secret};
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::http::{Client, Request, Response};
use crate::secret::{SecretBytes, encoded, json_body};
use crate::{Error, HttpSettings, VendorError};

mod credentials;
mod sigv4;

use credentials::{Credentials, Keys};
use sigv4::{Moment, Signing};

// Settings.

/// Which region, who we are there, and which keys we use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AwsSettings {
    /// The region, as in `eu-central-1`.
    pub region: String,
    /// Address, TLS and timeouts. The address is the region's own, or a VPC or FIPS endpoint's.
    pub http: HttpSettings,
    /// Who we are.
    pub credentials: AwsCredentials,
    /// Which keys we use.
    pub keys: AwsKeys,
}

impl AwsSettings {
    /// The region's own endpoint.
    #[must_use]
    pub fn new(region: impl Into<String>, credentials: AwsCredentials, keys: AwsKeys) -> Self {
        let region = region.into();
        let http = HttpSettings::new(service_endpoint("kms", &region));
        Self { region, http, credentials, keys }
    }
}

pub use credentials::AwsCredentials;

/// Which KMS keys are used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AwsKeys {
    /// One key for all: its id, ARN or alias. The encryption context tells clients apart. The bare id of a multi-region key
    /// (`mrk-...`) means its replica in each gateway's own region.
    One {
        /// The key.
        key_id: String,
    },
    /// A key for each client and stream, found by an alias: this prefix and the client's key name.
    PerClient {
        /// Begins with `alias/`, as in `alias/barnabas-`.
        alias_prefix: String,
    },
}

/// The adapter.
pub struct Aws {
    client: Client,
    credentials: Credentials,
    settings: AwsSettings,
}

impl Aws {
    /// Checks the settings; asks nobody.
    ///
    /// # Errors
    /// `Setting`.
    pub fn new(settings: AwsSettings) -> Result<Self, Error> {
        let unfit = |setting, why: &str| Err(Error::Setting { setting, why: why.to_owned() });
        let is_region = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if settings.region.is_empty() || !settings.region.chars().all(is_region) {
            return unfit("region", "write it as in `eu-central-1`");
        }
        match &settings.keys {
            AwsKeys::One { key_id } if key_id.is_empty() || !key_id.chars().all(is_of_key_ids) => {
                return unfit("keys.key_id", "write a key id, an ARN or an alias/name");
            }
            AwsKeys::PerClient { alias_prefix }
                if !alias_prefix.starts_with("alias/") || !alias_prefix.chars().all(is_of_key_ids) =>
            {
                return unfit("keys.alias_prefix", "it begins with `alias/`, as in `alias/barnabas-`");
            }
            _ => {}
        }
        let client = Client::new(settings.http.clone())?;
        let credentials = Credentials::new(settings.credentials.clone(), &settings.region, &settings.http)?;
        Ok(Self { client, credentials, settings })
    }
}

/// `https://SERVICE.REGION.amazonaws.com`; China's regions are a partition with a domain of their own.
fn service_endpoint(service: &str, region: &str) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://{service}.{region}.{domain}")
}

// Authentication.

impl Aws {
    /// Sends an action, signed. What comes out is an answer to credentials that KMS knows, if we have some.
    async fn call(&self, action: &str, body: &impl Serialize) -> Result<Response, Error> {
        loop {
            let (keys, is_fresh) = self.credentials.current().await?;
            let response = self.client.send(&self.signed(action, json_body(body), &keys)?).await;
            let response = response.map_err(|e| e.into_vendor(VENDOR))?;
            if response.status < 400 || is_fresh || self.cause(&response) != CustodyCause::Unauthenticated {
                return Ok(response);
            }
            self.credentials.forget(&keys).await;
        }
    }

    fn signed(&self, action: &str, body: Zeroizing<Vec<u8>>, keys: &Keys) -> Result<Request, Error> {
        let moment = Moment::now();
        let target = format!("TrentService.{action}");
        let mut headers = vec![
            ("content-type", CONTENT),
            ("host", self.client.authority()),
            ("x-amz-date", moment.stamp()),
            ("x-amz-target", &target),
        ];
        if let Some(token) = &keys.session_token {
            headers.insert(3, ("x-amz-security-token", token.expose()));
        }
        let path = format!("{}/", self.client.prefix());
        let signing = Signing { keys, region: &self.settings.region, service: "kms", moment: &moment };
        let authorization = signing.authorization("POST", &path, "", &headers, &body);
        let mut request = Request::new(Method::POST, "/").header(CONTENT_TYPE, CONTENT);
        request = request.header(X_AMZ_DATE, moment.stamp()).header(X_AMZ_TARGET, &target);
        if let Some(token) = &keys.session_token {
            request = request.secret_header(X_AMZ_SECURITY_TOKEN, token.expose());
        }
        Ok(request.secret_header(AUTHORIZATION, &authorization).body(body))
    }
}

// Calls.

impl Custody for Aws {
    fn ensure_key<'a>(&'a self, key: &'a str) -> CustodyFuture<'a, ()> {
        Box::pin(async move { Ok(self.describe_key(key).await.map(|_| ())?) })
    }

    fn wrap<'a>(
        &'a self,
        key: &'a str,
        secret: &'a Secret<32>,
        context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Vec<u8>> {
        Box::pin(async move { Ok(self.encrypt(key, secret, context).await?) })
    }

    fn unwrap<'a>(
        &'a self,
        key: &'a str,
        wrapped: &'a [u8],
        context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Secret<32>> {
        Box::pin(async move { Ok(self.decrypt(key, wrapped, context).await?) })
    }

    fn describe(&self) -> String {
        let keys = match &self.settings.keys {
            AwsKeys::One { key_id } => key_id,
            AwsKeys::PerClient { alias_prefix } => alias_prefix,
        };
        format!("aws {} (region {}, keys {keys})", self.client.endpoint(), self.settings.region)
    }

    fn version_of(&self, wrapped: &[u8]) -> Option<String> {
        Blob::parse(wrapped).map(|blob| version(blob.arn).to_owned())
    }

    fn current_version<'a>(&'a self, key: &'a str) -> CustodyFuture<'a, Option<String>> {
        Box::pin(async move { Ok(self.describe_key(key).await.map(|found| Some(version(&found.arn).to_owned()))?) })
    }
}

impl Aws {
    async fn describe_key(&self, key: &str) -> Result<KeyMetadata, Error> {
        let response = self.call("DescribeKey", &DescribeKey { key_id: &self.key_id(key)? }).await?;
        match response.status {
            200 => Ok(parsed::<Described>(&response)?.key_metadata),
            _ => Err(self.refusal(key, &response).into()),
        }
    }

    async fn encrypt(&self, key: &str, secret: &Secret<32>, context: &CustodyContext) -> Result<Vec<u8>, Error> {
        let plaintext = encoded(secret);
        let request = Encrypt {
            key_id: &self.key_id(key)?,
            plaintext: plaintext.expose(),
            encryption_context: EncryptionContext::new(key, context),
        };
        let response = self.call("Encrypt", &request).await?;
        if response.status != 200 {
            return Err(self.refusal(key, &response).into());
        }
        let made: Encrypted = parsed(&response)?;
        let ciphertext = STANDARD.decode(&made.ciphertext_blob).map_err(|_| alien(&response))?;
        let blob = Blob { arn: &made.key_id, ciphertext: &ciphertext };
        blob.encode().ok_or_else(|| alien(&response).into())
    }

    async fn decrypt(&self, key: &str, wrapped: &[u8], context: &CustodyContext) -> Result<Secret<32>, Error> {
        let corrupt = || Error::Wrapped(key.to_owned());
        let blob = Blob::parse(wrapped).ok_or_else(corrupt)?;
        let request = Decrypt {
            // Named, so that a ciphertext of another key is refused, whoever may use that one.
            key_id: &self.key_id(key)?,
            ciphertext_blob: STANDARD.encode(blob.ciphertext),
            encryption_context: EncryptionContext::new(key, context),
        };
        let response = self.call("Decrypt", &request).await?;
        if response.status != 200 {
            return Err(self.refusal(key, &response).into());
        }
        let opened: Decrypted = parsed(&response)?;
        // KMS does not authenticate the name that we wrote beside the ciphertext: it has to be the one that KMS says.
        if version(&opened.key_id) != version(blob.arn) {
            return Err(corrupt());
        }
        opened.plaintext.to_secret().ok_or_else(corrupt)
    }

    /// The KMS key for one of ours.
    fn key_id(&self, key: &str) -> Result<String, Error> {
        match &self.settings.keys {
            AwsKeys::One { key_id } => Ok(key_id.clone()),
            AwsKeys::PerClient { alias_prefix } if !key.is_empty() && key.chars().all(is_of_key_ids) => {
                Ok(format!("{alias_prefix}{key}"))
            }
            AwsKeys::PerClient { .. } => Err(VendorError::new(VENDOR, CustodyCause::Invalid).about(key).into()),
        }
    }
}

/// What we keep: version (1) ‖ length of the ARN (1 byte) ‖ ARN ‖ KMS's ciphertext.
struct Blob<'a> {
    arn: &'a str,
    ciphertext: &'a [u8],
}

impl<'a> Blob<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&[version, length], rest) = bytes.split_first_chunk::<2>()?;
        let (arn, ciphertext) = rest.split_at_checked(usize::from(length))?;
        let arn = core::str::from_utf8(arn).ok()?;
        (version == BLOB_VERSION && !arn.is_empty() && !ciphertext.is_empty()).then_some(Self { arn, ciphertext })
    }

    fn encode(&self) -> Option<Vec<u8>> {
        let length = u8::try_from(self.arn.len()).ok()?;
        Some([&[BLOB_VERSION, length], self.arn.as_bytes(), self.ciphertext].concat())
    }
}

/// The replicas of a multi-region key are one key under several ARNs, which differ in the region.
fn version(arn: &str) -> &str {
    match arn.rsplit_once(":key/") {
        Some((_, id)) if id.starts_with("mrk-") => id,
        _ => arn,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeKey<'a> {
    key_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Encrypt<'a> {
    key_id: &'a str,
    plaintext: &'a str,
    encryption_context: EncryptionContext<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypt<'a> {
    key_id: &'a str,
    ciphertext_blob: String,
    encryption_context: EncryptionContext<'a>,
}

/// What a wrap is bound to. Key policies see it as `kms:EncryptionContext:barnabas-key`.
#[derive(Serialize)]
struct EncryptionContext<'a> {
    #[serde(rename = "barnabas-key")]
    key: &'a str,
    #[serde(rename = "barnabas-context")]
    context: String,
}

impl<'a> EncryptionContext<'a> {
    fn new(key: &'a str, context: &CustodyContext) -> Self {
        Self { key, context: STANDARD.encode(context.associated_data()) }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Encrypted {
    ciphertext_blob: String,
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypted {
    plaintext: SecretBytes,
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    key_metadata: KeyMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyMetadata {
    arn: String,
}

// Errors.

impl Aws {
    fn cause(&self, response: &Response) -> CustodyCause {
        cause(&Complaint::of(response).code, response)
    }

    fn refusal(&self, key: &str, response: &Response) -> VendorError {
        let complaint = Complaint::of(response);
        let error = VendorError::new(VENDOR, cause(&complaint.code, response)).about(key).after(response.retry_after());
        let error = error.coded(format!("HTTP {} {}", response.status, complaint.code)).saying(&complaint.message);
        match (error.cause, complaint.code.as_str()) {
            (_, "IncorrectKeyException") => {
                error.advising("the alias or setting names another key than the one that wrapped this: name that one")
            }
            (_, "KMSInvalidStateException") => error.advising("enable the key, or cancel its deletion"),
            (CustodyCause::Denied, _) => error
                .advising("allow kms:Encrypt, kms:Decrypt and kms:DescribeKey on the key to the gateway's identity"),
            (CustodyCause::NotFound, _) => error.advising("create the key and its alias, or set region and keys"),
            (
                CustodyCause::Unauthenticated,
                "InvalidSignatureException" | "SignatureDoesNotMatch" | "RequestExpired",
            ) => error.advising("set the clock, and see that the secret access key belongs to its id"),
            _ => error,
        }
    }
}

/// What a code means. Unknown ones are judged by the status.
fn cause(code: &str, response: &Response) -> CustodyCause {
    match code {
        "InvalidCiphertextException" | "IncorrectKeyException" => CustodyCause::Corrupt,
        "AccessDenied" | "AccessDeniedException" => CustodyCause::Denied,
        "DisabledException" | "KMSInvalidStateException" => CustodyCause::Disabled,
        "NotFoundException" => CustodyCause::NotFound,
        "LimitExceededException"
        | "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequestsException" => CustodyCause::Throttled,
        "AuthFailure"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "InvalidIdentityToken"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "RequestExpired"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => CustodyCause::Unauthenticated,
        "DependencyTimeoutException" | "KMSInternalException" | "KeyUnavailableException" => CustodyCause::Unreachable,
        _ => response.usual_cause(),
    }
}

/// An error as AWS tells it: in JSON by KMS, in XML by STS and by what stands before the services.
#[derive(Default)]
struct Complaint {
    code: String,
    message: String,
}

impl Complaint {
    fn of(response: &Response) -> Self {
        #[derive(Deserialize)]
        struct Json {
            #[serde(rename = "__type", default)]
            code: String,
            #[serde(alias = "Message", default)]
            message: String,
        }
        if let Ok(Json { code, message }) = serde_json::from_slice(&response.body) {
            let code = code.rsplit_once('#').map_or(code.as_str(), |(_, code)| code).to_owned();
            return Self { code, message };
        }
        let text = core::str::from_utf8(&response.body).unwrap_or_default();
        let part = |name| element(text, name).unwrap_or_default().to_owned();
        Self { code: part("Code"), message: part("Message") }
    }
}

/// The text of the first XML element of this name; enough for answers that hold each once, without attributes.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inside, _)| inside.trim())
}

/// An answer of another form is not that of AWS: somebody stands between. Its text is not shown, for it may be a secret.
fn parsed<'a, T: Deserialize<'a>>(response: &'a Response) -> Result<T, Error> {
    serde_json::from_slice(&response.body).map_err(|_| alien(response).into())
}

fn alien(response: &Response) -> VendorError {
    let error = VendorError::new(VENDOR, CustodyCause::Unreachable).coded(format!("HTTP {}", response.status));
    error.saying("an answer of another form").advising("see what really listens at the endpoint")
}

fn is_of_key_ids(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/' | ':')
}

const VENDOR: &str = "aws";
const CONTENT: &str = "application/x-amz-json-1.1";
const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const X_AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const X_AMZ_TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const BLOB_VERSION: u8 = 1;

#[cfg(test)]
mod tests;
