//! HashiCorp Vault and OpenBao: the Transit secrets engine.
//!
//! Arrives: 32 bytes to wrap with their context, or Vault's ciphertext (`vault:v1:...`). Leaves: that ciphertext, or the
//! bytes. The context goes along as associated data, so Vault itself refuses a wrap that was moved. A key is never made by
//! an encryption: the policy in the README does not allow it, and what is missing is reported as missing. Tokens are
//! renewed before they end. Neither a token nor a plaintext may reach an error text. (Long, because a vendor is one file:
//! settings, authentication, calls, errors, in this order.)

mod refused;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use barnabas_crypto::custody::{CustodyCause, CustodyFuture};
use barnabas_crypto::{Custody, CustodyContext, Secret};
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::Method;
use hyper::header::HeaderName;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use self::refused::Refused;
use crate::http::{Client, Request, Response};
use crate::secret::{SecretBytes, encoded, json_body};
use crate::{Error, HttpSettings, SecretSource, SecretText, VendorError};

// Settings.

/// Where Vault is, who we are there, and which keys we use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VaultSettings {
    /// Address, TLS and timeouts. The address is Vault's own, without `/v1`.
    pub http: HttpSettings,
    /// The namespace, for installations that have some.
    pub namespace: Option<String>,
    /// Where the Transit engine is mounted.
    pub mount: String,
    /// Who we are.
    pub auth: VaultAuth,
    /// Which keys we use.
    pub keys: VaultKeys,
}

impl VaultSettings {
    /// The mount `transit`, one key per client with the prefix `barnabas-`, no namespace.
    #[must_use]
    pub fn new(endpoint: impl Into<String>, auth: VaultAuth) -> Self {
        Self {
            http: HttpSettings::new(endpoint),
            namespace: None,
            mount: String::from("transit"),
            auth,
            keys: VaultKeys::PerClient { prefix: String::from("barnabas-") },
        }
    }
}

/// How the gateway gets its token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VaultAuth {
    /// A role and its secret.
    AppRole {
        /// Where the method is mounted, usually `approle`.
        mount: String,
        /// The role's id.
        role_id: String,
        /// The secret id.
        secret_id: SecretSource,
    },
    /// A signed token of another issuer, read anew at each login.
    Jwt {
        /// Where the method is mounted, usually `jwt`.
        mount: String,
        /// The role.
        role: String,
        /// The token.
        token: SecretSource,
    },
    /// The service account token of a pod, read anew at each login.
    Kubernetes {
        /// Where the method is mounted, usually `kubernetes`.
        mount: String,
        /// The role.
        role: String,
        /// The token, usually `/var/run/secrets/kubernetes.io/serviceaccount/token`.
        token: SecretSource,
    },
    /// A token that somebody else made; a file is read anew at each call.
    Token(SecretSource),
}

/// Which Transit keys are used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VaultKeys {
    /// One derived key for all (`derived=true`), the client's key name as its context: one key to look after, and a policy
    /// that cannot tell clients apart.
    One {
        /// The key's name in Transit.
        name: String,
    },
    /// A key for each client and stream: each can be denied, rotated and deleted by itself.
    PerClient {
        /// Before each name, so that one line of policy covers them all.
        prefix: String,
    },
}

/// The adapter. Clones nothing, keeps one token.
pub struct Vault(Arc<Shared>);

impl Vault {
    /// Checks the settings; asks nobody.
    ///
    /// # Errors
    /// `Setting`.
    pub fn new(settings: VaultSettings) -> Result<Self, Error> {
        let unfit = |setting, why: &str| Err(Error::Setting { setting, why: why.to_owned() });
        if !is_path(&settings.mount) {
            return unfit("mount", "write the path of the Transit engine, as in `transit` or `team/transit`");
        }
        if let VaultAuth::AppRole { mount, .. } | VaultAuth::Jwt { mount, .. } | VaultAuth::Kubernetes { mount, .. } =
            &settings.auth
            && !is_path(mount)
        {
            return unfit("auth.mount", "write the path of the method below auth/, as in `approle`");
        }
        let (VaultKeys::One { name: text } | VaultKeys::PerClient { prefix: text }) = &settings.keys;
        if !text.chars().all(is_of_names) || (text.is_empty() && matches!(settings.keys, VaultKeys::One { .. })) {
            return unfit("keys", "names and prefixes have letters, digits, `_`, `-` and `.`");
        }
        let client = Client::new(settings.http.clone())?;
        let (session, refused, is_kept) = (Mutex::new(None), Refused::default(), AtomicBool::new(false));
        Ok(Self(Arc::new(Shared { client, settings, session, refused, is_kept })))
    }
}

// Authentication.

struct Shared {
    client: Client,
    settings: VaultSettings,
    session: Mutex<Option<Session>>,
    refused: Refused,
    /// True once the task runs that renews the token.
    is_kept: AtomicBool,
}

struct Session {
    token: Arc<SecretText>,
    lease: Option<Lease>,
}

/// How long a token lives. None for one that does not end.
struct Lease {
    full: Duration,
    renew_at: Instant,
    ends: Instant,
    is_renewable: bool,
}

impl Lease {
    fn new(seconds: u64, is_renewable: bool) -> Option<Self> {
        let (full, now) = (Duration::from_secs(seconds.min(LONGEST_LEASE)), Instant::now());
        (seconds > 0).then(|| Self { full, renew_at: now + full * 2 / 3, ends: now + full, is_renewable })
    }
}

impl Shared {
    /// A token, and whether it was got just now.
    async fn token(self: &Arc<Self>) -> Result<(Arc<SecretText>, bool), Error> {
        let mut session = self.session.lock().await;
        if let Some(kept) = &*session
            && kept.lease.as_ref().is_none_or(|lease| Instant::now() < lease.ends)
            && self.is_current(&kept.token)?
        {
            return Ok((Arc::clone(&kept.token), false));
        }
        *session = None;
        let fresh = self.log_in().await?;
        let token = Arc::clone(&fresh.token);
        *session = Some(fresh);
        drop(session);
        if !self.is_kept.swap(true, Ordering::SeqCst) {
            tokio::spawn(keep(Arc::downgrade(self)));
        }
        Ok((token, true))
    }

    /// A token that somebody else makes may have been exchanged in the meantime.
    fn is_current(&self, token: &SecretText) -> Result<bool, Error> {
        match &self.settings.auth {
            VaultAuth::Token(source) => Ok(source.read()?.matches(token)),
            _ => Ok(true),
        }
    }

    async fn log_in(&self) -> Result<Session, Error> {
        let mut tried = None;
        let (mount, body) = match &self.settings.auth {
            VaultAuth::Token(source) => return self.take_over(source.read()?).await,
            VaultAuth::AppRole { mount, role_id, secret_id } => {
                let secret_id = secret_id.read()?;
                if let Some(error) = self.refused.lately(&secret_id) {
                    return Err(error.into());
                }
                let body = json_body(&AppRoleLogin { role_id, secret_id: secret_id.expose() });
                tried = Some(secret_id);
                (mount, body)
            }
            VaultAuth::Jwt { mount, role, token } | VaultAuth::Kubernetes { mount, role, token } => {
                let token = token.read()?;
                (mount, json_body(&JwtLogin { role, jwt: token.expose() }))
            }
        };
        let request = self.request(Method::POST, &format!("auth/{mount}/login"), None).body(body);
        let response = self.send(&request).await?;
        if response.status != 200 {
            let error = self.unauthenticated(&response, mount);
            return Err(match tried {
                // Who is at the wrong place (404) has not shown a wrong secret.
                Some(secret_id) if response.status != 404 => self.refused.note(secret_id, error).into(),
                _ => error.into(),
            });
        }
        let login: Login = parsed(&response)?;
        let lease = Lease::new(login.auth.lease_duration, login.auth.renewable);
        Ok(Session { token: Arc::new(login.auth.client_token), lease })
    }

    /// Asks how long a token lives that somebody else made.
    async fn take_over(&self, token: SecretText) -> Result<Session, Error> {
        let request = self.request(Method::GET, "auth/token/lookup-self", Some(&token));
        let response = self.send(&request).await?;
        if response.status != 200 {
            return Err(self.unauthenticated(&response, "token").into());
        }
        let found: LookedUp = parsed(&response)?;
        Ok(Session { token: Arc::new(token), lease: Lease::new(found.data.ttl, found.data.renewable) })
    }

    /// Whether the server takes this token at all; it answers 403 to a bad one and to a good one without the right.
    async fn takes(&self, token: &SecretText) -> Result<bool, Error> {
        let request = self.request(Method::GET, "auth/token/lookup-self", Some(token));
        let response = self.send(&request).await?;
        match response.status {
            200 => Ok(true),
            403 => Ok(false),
            _ => Err(response.refusal(VENDOR).saying(&complaint(&response)).into()),
        }
    }

    async fn forget(&self, token: &Arc<SecretText>) {
        let mut session = self.session.lock().await;
        if session.as_ref().is_some_and(|kept| Arc::ptr_eq(&kept.token, token)) {
            *session = None;
        }
    }

    /// Renews the token if it is time, or gets another one. Whatever goes wrong, the old one is used until it ends.
    async fn renew(&self) {
        let mut session = self.session.lock().await;
        let Some(kept) = &mut *session else { return };
        let Some(lease) = &mut kept.lease else { return };
        if Instant::now() < lease.renew_at {
            return;
        }
        lease.renew_at += lease.ends.saturating_duration_since(Instant::now()) / 10 + SHORTEST_PAUSE;
        if lease.is_renewable
            && let Ok(Some(renewed)) = self.renewed(&kept.token).await
            // Near the end of its longest life a token is renewed for less and less: then a new one is due.
            && (renewed.full * 2 >= lease.full || matches!(self.settings.auth, VaultAuth::Token(_)))
        {
            kept.lease = Some(Lease { full: lease.full.max(renewed.full), ..renewed });
        } else if !matches!(self.settings.auth, VaultAuth::Token(_))
            && let Ok(fresh) = self.log_in().await
        {
            *session = Some(fresh);
        }
    }

    async fn renewed(&self, token: &SecretText) -> Result<Option<Lease>, Error> {
        let response = self.send(&self.request(Method::POST, "auth/token/renew-self", Some(token))).await?;
        if response.status != 200 {
            return Ok(None);
        }
        let login: Login = parsed(&response)?;
        Ok(Lease::new(login.auth.lease_duration, login.auth.renewable))
    }

    async fn next_renewal(&self) -> Instant {
        let session = self.session.lock().await;
        let lease = session.as_ref().and_then(|kept| kept.lease.as_ref());
        let latest = Instant::now() + LONGEST_PAUSE;
        lease.map_or(latest, |lease| lease.renew_at.min(latest))
    }
}

/// Renews the token in the background, so that it outlives hours without a call. Ends with the adapter.
async fn keep(shared: Weak<Shared>) {
    while let Some(alive) = shared.upgrade() {
        let next = alive.next_renewal().await;
        drop(alive);
        sleep_until(next.max(Instant::now() + SHORTEST_PAUSE)).await;
        if let Some(alive) = shared.upgrade() {
            alive.renew().await;
        }
    }
}

#[derive(Serialize)]
struct AppRoleLogin<'a> {
    role_id: &'a str,
    secret_id: &'a str,
}

#[derive(Serialize)]
struct JwtLogin<'a> {
    role: &'a str,
    jwt: &'a str,
}

#[derive(Deserialize)]
struct Login {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: SecretText,
    lease_duration: u64,
    renewable: bool,
}

#[derive(Deserialize)]
struct LookedUp {
    data: TokenLife,
}

#[derive(Deserialize)]
struct TokenLife {
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

// Calls.

impl Custody for Vault {
    fn ensure_key<'a>(&'a self, key: &'a str) -> CustodyFuture<'a, ()> {
        Box::pin(async move { Ok(self.0.ensure(key).await?) })
    }

    fn wrap<'a>(
        &'a self,
        key: &'a str,
        secret: &'a Secret<32>,
        context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Vec<u8>> {
        Box::pin(async move { Ok(self.0.encrypt(key, secret, context).await?) })
    }

    fn unwrap<'a>(
        &'a self,
        key: &'a str,
        wrapped: &'a [u8],
        context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Secret<32>> {
        Box::pin(async move { Ok(self.0.decrypt(key, wrapped, context).await?) })
    }

    fn describe(&self) -> String {
        let settings = &self.0.settings;
        let namespace = settings.namespace.as_ref().map(|name| format!(", namespace {name}")).unwrap_or_default();
        format!("vault {} (Transit at {}{namespace})", self.0.client.endpoint(), settings.mount)
    }

    fn version_of(&self, wrapped: &[u8]) -> Option<String> {
        let text = core::str::from_utf8(wrapped).ok()?.strip_prefix("vault:")?;
        let (version, _) = text.split_once(':')?;
        let number = version.strip_prefix('v')?;
        (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| version.to_owned())
    }

    fn current_version<'a>(&'a self, key: &'a str) -> CustodyFuture<'a, Option<String>> {
        Box::pin(async move {
            let found = self.0.read_key(key).await?;
            Ok(Some(format!("v{}", found.latest_version)))
        })
    }
}

impl Shared {
    async fn ensure(self: &Arc<Self>, key: &str) -> Result<(), Error> {
        let error = match self.read_key(key).await {
            Err(Error::Vendor(error)) if error.cause == CustodyCause::NotFound => error,
            other => return other.map(|_| ()),
        };
        let is_derived = matches!(self.settings.keys, VaultKeys::One { .. });
        let path = self.path("keys", &self.name(key)?);
        let body = serde_json::json!({ "type": "aes256-gcm96", "derived": is_derived });
        let response = self.call(Method::POST, &path, Some(&body)).await?;
        match response.status {
            200 | 204 => Ok(()),
            403 => Err((*error).advising(format!("create it: vault write -f {path}, or allow create on it")).into()),
            _ => Err(self.refusal(key, &response).into()),
        }
    }

    async fn encrypt(
        self: &Arc<Self>,
        key: &str,
        secret: &Secret<32>,
        context: &CustodyContext,
    ) -> Result<Vec<u8>, Error> {
        let name = self.name(key)?;
        let plaintext = encoded(secret);
        let request = Encrypt { plaintext: plaintext.expose(), bound: self.bound(key, context) };
        let response = self.call(Method::POST, &self.path("encrypt", &name), Some(&request)).await?;
        match response.status {
            200 => {
                let answer: Answer<Ciphertext> = parsed(&response)?;
                Ok(answer.data.ciphertext.into_bytes())
            }
            // To encrypt under a key that is missing would be to create it, which the policy denies.
            403 => Err(self.absent_or_denied(key, &response).await),
            _ => Err(self.refusal(key, &response).into()),
        }
    }

    async fn decrypt(
        self: &Arc<Self>,
        key: &str,
        wrapped: &[u8],
        context: &CustodyContext,
    ) -> Result<Secret<32>, Error> {
        let name = self.name(key)?;
        let ciphertext = core::str::from_utf8(wrapped).ok().filter(|text| text.starts_with("vault:v"));
        let ciphertext = ciphertext.ok_or_else(|| Error::Wrapped(key.to_owned()))?;
        let request = Decrypt { ciphertext, bound: self.bound(key, context) };
        let response = self.call(Method::POST, &self.path("decrypt", &name), Some(&request)).await?;
        match response.status {
            200 => {
                let answer: Answer<Plaintext> = parsed(&response)?;
                answer.data.plaintext.to_secret().ok_or_else(|| Error::Wrapped(key.to_owned()))
            }
            _ => Err(self.refusal(key, &response).into()),
        }
    }

    async fn read_key(self: &Arc<Self>, key: &str) -> Result<KeyState, Error> {
        let response = self.call(Method::GET, &self.path("keys", &self.name(key)?), None::<&()>).await?;
        match response.status {
            200 => Ok(parsed::<Answer<KeyState>>(&response)?.data),
            _ => Err(self.refusal(key, &response).into()),
        }
    }

    /// Sends with a token that the server takes, if there is one. A 403 that comes out is about the key.
    async fn call(
        self: &Arc<Self>,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Response, Error> {
        loop {
            let (token, is_fresh) = self.token().await?;
            let mut request = self.request(method.clone(), path, Some(&token));
            if let Some(body) = body {
                request = request.body(json_body(body));
            }
            let response = self.send(&request).await?;
            if response.status != 403 || is_fresh || self.takes(&token).await? {
                return Ok(response);
            }
            self.forget(&token).await;
        }
    }

    fn request(&self, method: Method, path: &str, token: Option<&SecretText>) -> Request {
        let mut request = Request::new(method, format!("/v1/{path}")).header(X_VAULT_REQUEST, "true");
        if let Some(namespace) = &self.settings.namespace {
            request = request.header(X_VAULT_NAMESPACE, namespace);
        }
        match token {
            Some(token) => request.secret_header(X_VAULT_TOKEN, token.expose()),
            None => request,
        }
    }

    async fn send(&self, request: &Request) -> Result<Response, Error> {
        Ok(self.client.send(request).await.map_err(|e| e.into_vendor(VENDOR))?)
    }

    fn path(&self, action: &str, name: &str) -> String {
        format!("{}/{action}/{name}", self.settings.mount)
    }

    /// The Transit key for one of ours.
    fn name(&self, key: &str) -> Result<String, Error> {
        match &self.settings.keys {
            VaultKeys::One { name } => Ok(name.clone()),
            VaultKeys::PerClient { prefix } if !key.is_empty() && key.chars().all(is_of_names) => {
                Ok(format!("{prefix}{key}"))
            }
            VaultKeys::PerClient { .. } => Err(VendorError::new(VENDOR, CustodyCause::Invalid).about(key).into()),
        }
    }

    fn bound(&self, key: &str, context: &CustodyContext) -> Bound {
        let is_one = matches!(self.settings.keys, VaultKeys::One { .. });
        Bound {
            associated_data: STANDARD.encode(context.associated_data()),
            context: is_one.then(|| STANDARD.encode(key)),
        }
    }
}

#[derive(Serialize)]
struct Encrypt<'a> {
    plaintext: &'a str,
    #[serde(flatten)]
    bound: Bound,
}

#[derive(Serialize)]
struct Decrypt<'a> {
    ciphertext: &'a str,
    #[serde(flatten)]
    bound: Bound,
}

/// What a wrap is bound to.
#[derive(Serialize)]
struct Bound {
    associated_data: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<String>,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
struct Ciphertext {
    ciphertext: String,
}

#[derive(Deserialize)]
struct Plaintext {
    plaintext: SecretBytes,
}

#[derive(Deserialize)]
struct KeyState {
    latest_version: u64,
}

// Errors.

#[derive(Deserialize)]
struct Complaint {
    #[serde(default)]
    errors: Vec<String>,
}

impl Shared {
    /// What an answer that is none means. Vault says most things with 400 and words.
    fn refusal(&self, key: &str, response: &Response) -> VendorError {
        let said = complaint(response);
        let has = |words: &str| said.contains(words);
        let cause = match response.status {
            400 if has("encryption key not found") => CustodyCause::NotFound,
            400 if has("soft-deleted") || has("disallowed by policy") => CustodyCause::Disabled,
            400 if has("ciphertext") || has("message authentication failed") => CustodyCause::Corrupt,
            // 412: a standby that has not caught up; 472, 473: a standby that does not serve.
            412 | 472 | 473 => CustodyCause::Unreachable,
            _ => response.usual_cause(),
        };
        let error = VendorError::new(VENDOR, cause).about(key).coded(format!("HTTP {}", response.status));
        let error = error.after(response.retry_after()).saying(&said);
        let mount = &self.settings.mount;
        match (cause, response.status) {
            (CustodyCause::Unreachable, 503) => error.advising("unseal it, or wait until it has a leader"),
            (CustodyCause::NotFound, 404) if has("no handler") => {
                error.advising(format!("enable the Transit engine at {mount}, or set mount and namespace"))
            }
            (CustodyCause::Denied, _) => {
                error.advising(format!("allow update on {mount}/encrypt and {mount}/decrypt in the gateway's policy"))
            }
            _ => error,
        }
    }

    /// Every refusal of a login but slowing down and being broken is about the credential, or about where it is shown.
    fn unauthenticated(&self, response: &Response, method: &str) -> VendorError {
        let cause = match response.usual_cause() {
            kept @ (CustodyCause::Throttled | CustodyCause::Unreachable) => kept,
            _ => CustodyCause::Unauthenticated,
        };
        let said = complaint(response);
        let error = VendorError::new(VENDOR, cause).coded(format!("HTTP {}", response.status));
        let error = error.after(response.retry_after()).saying(&said);
        let renew = format!("renew the gateway's credential for auth/{method}");
        let remedy = match &self.settings.namespace {
            Some(name) if said.contains("namespace not found") => {
                format!("make the namespace {name}, or set `namespace`")
            }
            Some(name) => format!("{renew}; it counts in the namespace {name} alone"),
            None => format!("{renew}; set `namespace` if it is not of the root namespace"),
        };
        match cause {
            CustodyCause::Unauthenticated => error.advising(remedy),
            _ => error,
        }
    }

    async fn absent_or_denied(self: &Arc<Self>, key: &str, response: &Response) -> Error {
        match self.read_key(key).await {
            Err(Error::Vendor(error)) if error.cause == CustodyCause::NotFound => Error::Vendor(error),
            _ => self.refusal(key, response).into(),
        }
    }
}

fn complaint(response: &Response) -> String {
    let complaint: Option<Complaint> = serde_json::from_slice(&response.body).ok();
    complaint.map(|said| said.errors.join("; ")).unwrap_or_default()
}

/// An answer of another form is not Vault's: somebody stands between. Its text is not shown, for it may be a secret.
fn parsed<'a, T: Deserialize<'a>>(response: &'a Response) -> Result<T, Error> {
    serde_json::from_slice(&response.body).map_err(|_| {
        let error = VendorError::new(VENDOR, CustodyCause::Unreachable).coded(format!("HTTP {}", response.status));
        error.saying("an answer of another form").advising("see what really listens at the endpoint").into()
    })
}

fn is_of_names(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && text.split('/').all(|part| !part.is_empty() && part != ".." && part.chars().all(is_of_names))
}

const VENDOR: &str = "vault";
const X_VAULT_TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const X_VAULT_NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// Agents and proxies of Vault may insist on it against request forgery.
const X_VAULT_REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
/// Leases beyond a year are as good as endless, and no clock overflows.
const LONGEST_LEASE: u64 = 365 * 24 * 3600;
/// How often the renewing task looks whether there is something to renew.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Between two tries to renew.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
