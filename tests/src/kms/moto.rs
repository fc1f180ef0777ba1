//! Moto, a server that imitates AWS: KMS, IAM and STS. It checks signatures and the actions of policies, not their resources.
//!
//! It keeps everything in memory, so it cannot be restarted with its keys; its going away is played by a proxy that stands
//! before it all the time and closes the door. A key that is disabled decrypts there still, so a key is taken away by its alias.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use barnabas_crypto::Custody;
use barnabas_kms::{Aws, AwsCredentials, AwsKeys, AwsSettings, Plaintext, SecretSource, TlsSettings};
use serde_json::{Value, json};

use super::fault::{Fault, FaultProxy, http_answer};
use super::metadata::RoleSession;
use super::{Bench, Case, Via, http, python};
use crate::ports;
use crate::process::Process;
use crate::scratch::{Scratch, root, unique};
use crate::wait;

/// A server with one user for the gateway.
pub struct Moto {
    port: u16,
    door: FaultProxy,
    _process: Process,
    scratch: Scratch,
}

impl Moto {
    /// Settings as the documentation shows them, with short timeouts.
    pub fn settings(&self, via: &Via) -> AwsSettings {
        let file = |name: &str| SecretSource::File(self.scratch.join(name));
        let credentials = AwsCredentials::Static {
            access_key_id: file("access-key-id"),
            secret_access_key: file("secret-access-key"),
            session_token: None,
        };
        let keys = AwsKeys::PerClient { alias_prefix: "alias/barnabas-".into() };
        let mut settings = AwsSettings::new(REGION, credentials, keys);
        let (scheme, host) = if via.ca.is_some() { ("https", "localhost") } else { ("http", "127.0.0.1") };
        settings.http.endpoint = format!("{scheme}://{host}:{}", via.port);
        settings.http.tls = TlsSettings { ca: via.ca.clone(), client_certificate: None };
        settings.http.plaintext = Plaintext::Loopback;
        settings.http.request_timeout = Duration::from_millis(1500);
        settings
    }

    /// A call of the operator to KMS.
    ///
    /// # Panics
    /// When the server does not do it.
    pub fn operate(&self, action: &str, body: &Value) -> Value {
        let target = format!("TrentService.{action}");
        let headers = [
            ("Authorization", &*authorization("kms")),
            ("X-Amz-Target", &target),
            ("Content-Type", "application/x-amz-json-1.1"),
        ];
        self.unchecked(|| {
            let (status, answer) = http::call(self.port, "POST", "/", &headers, body).expect("moto answers");
            assert_eq!(status, 200, "{action}: {answer}");
            answer
        })
    }

    /// A call of the operator to IAM; the answer is XML.
    ///
    /// # Panics
    /// When the server does not do it.
    pub fn administer(&self, form: &str) -> String {
        self.administer_at("iam", form)
    }

    fn administer_at(&self, service: &str, form: &str) -> String {
        let headers =
            [("Authorization", &*authorization(service)), ("Content-Type", "application/x-www-form-urlencoded")];
        self.unchecked(|| {
            let (status, answer) = http::exchange(self.port, "POST", "/", &headers, form).expect("moto answers");
            assert_eq!(status, 200, "{form}: {answer}");
            answer
        })
    }

    /// Lets the gateway's user do exactly these actions.
    pub fn allow(&self, actions: &Value) {
        let document = policy(actions);
        self.administer(&format!(
            "Action=PutUserPolicy&Version=2010-05-08&UserName=gateway&PolicyName=barnabas&PolicyDocument={document}"
        ));
    }

    /// The actions of the policy that the documentation shows.
    pub fn documented_actions() -> Value {
        let path = root().join("kms-adapters/policies/aws.json");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let policy: Value = serde_json::from_str(&text).expect("the policy is JSON");
        policy["Statement"][0]["Action"].clone()
    }

    /// Makes a role that a web identity, an instance or a container may assume, with the documented actions; says its ARN.
    pub fn make_role(&self) -> String {
        let allowed = |action, who| json!({ "Effect": "Allow", "Action": action, "Principal": who });
        let trust = json!({ "Version": "2012-10-17", "Statement": [
            allowed("sts:AssumeRoleWithWebIdentity", json!({ "Federated": "*" })),
            allowed("sts:AssumeRole", json!({ "Service": ["ec2.amazonaws.com", "ecs-tasks.amazonaws.com"] })),
        ] });
        let trust = escaped(&trust.to_string());
        self.administer(&format!(
            "Action=CreateRole&Version=2010-05-08&RoleName=gateway&AssumeRolePolicyDocument={trust}"
        ));
        self.allow_role(&Self::documented_actions());
        "arn:aws:iam::123456789012:role/gateway".into()
    }

    /// Lets the role of [`Moto::make_role`] do exactly these actions, also in sessions that it has.
    pub fn allow_role(&self, actions: &Value) {
        let document = policy(actions);
        self.administer(&format!(
            "Action=PutRolePolicy&Version=2010-05-08&RoleName=gateway&PolicyName=barnabas&PolicyDocument={document}"
        ));
    }

    /// A session of a role, as the metadata services of instances and containers get it from STS.
    pub fn role_session(&self, role: &str) -> RoleSession {
        let role = escaped(role);
        let form = format!("Action=AssumeRole&Version=2011-06-15&RoleArn={role}&RoleSessionName=machine");
        let made = self.administer_at("sts", &form);
        let part = |name| element(&made, name).to_owned();
        RoleSession {
            access_key_id: part("AccessKeyId"),
            secret_access_key: part("SecretAccessKey"),
            session_token: part("SessionToken"),
            expiration: part("Expiration"),
        }
    }

    /// The server itself, past the door.
    pub fn server(&self) -> u16 {
        self.port
    }

    /// Where a file of the test is, or one with a part of the user's access key: `access-key-id`, `secret-access-key`.
    pub fn file_named(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// Writes a file for a test.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        self.scratch.write(name, content)
    }

    /// Signatures and policies are checked at all times but while `act` runs. STS has to be asked so: the call that gives a
    /// session is not signed, and the server would look for a signature.
    pub fn unchecked<T>(&self, act: impl FnOnce() -> T) -> T {
        let free = |calls: u32| {
            let text = [("Content-Type", "text/plain")];
            let reset = http::exchange(self.port, "POST", "/moto-api/reset-auth", &text, &calls.to_string());
            assert!(matches!(reset, Ok((200, _))), "{reset:?}");
        };
        free(1_000_000);
        let done = act();
        free(0);
        done
    }
}

impl Bench for Moto {
    const NAME: &'static str = "aws (moto)";
    const CANNOT: &'static [(Case, &'static str)] =
        &[(Case::Forbidden, "moto does not look at a policy's resource; a denied action is tested by itself")];

    fn start() -> Self {
        let scratch = Scratch::new("moto");
        let port = ports::one();
        let home = python::environment("moto", include_str!("moto.txt"));
        let mut command = Command::new(home.join("bin/moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).env("INITIAL_NO_AUTH_ACTION_COUNT", "0");
        let process = Process::start("moto", &command, &scratch.join("moto.log"));
        wait::until_true("moto listens", || http::exchange(port, "GET", "/moto-api/", &[], "").is_ok());
        let bench = Self { port, door: FaultProxy::start(port), _process: process, scratch };
        bench.administer("Action=CreateUser&Version=2010-05-08&UserName=gateway");
        bench.allow(&Self::documented_actions());
        let mut bench = bench;
        bench.renew_credentials();
        bench
    }

    fn port(&self) -> u16 {
        self.door.port()
    }

    fn adapter(&mut self, via: &Via) -> Arc<dyn Custody> {
        Arc::new(Aws::new(self.settings(via)).expect("the settings are right"))
    }

    fn make_key(&mut self) -> String {
        let key = unique("client");
        let made = self.operate("CreateKey", &json!({}));
        let alias =
            json!({ "AliasName": format!("alias/barnabas-{key}"), "TargetKeyId": made["KeyMetadata"]["KeyId"] });
        self.operate("CreateAlias", &alias);
        key
    }

    fn make_forbidden_key(&mut self) -> String {
        unreachable!("the list of exceptions has it")
    }

    fn missing_key(&mut self) -> String {
        unique("missing")
    }

    fn disable_key(&mut self, key: &str) {
        self.operate("DeleteAlias", &json!({ "AliasName": format!("alias/barnabas-{key}") }));
    }

    fn end_credentials(&mut self) {
        let id = fs::read_to_string(self.scratch.join("access-key-id")).expect("the harness wrote the file");
        self.administer(&format!("Action=DeleteAccessKey&Version=2010-05-08&UserName=gateway&AccessKeyId={id}"));
    }

    fn renew_credentials(&mut self) {
        let made = self.administer("Action=CreateAccessKey&Version=2010-05-08&UserName=gateway");
        for (name, file) in [("AccessKeyId", "access-key-id"), ("SecretAccessKey", "secret-access-key")] {
            self.scratch.write(file, element(&made, name));
        }
    }

    fn throttled(&self) -> Vec<u8> {
        refusal("400 Bad Request", "ThrottlingException", "Rate exceeded")
    }

    fn broken(&self) -> Vec<u8> {
        refusal("500 Internal Server Error", "KMSInternalException", "")
    }

    fn stop(&mut self) {
        self.door.put(Fault::Refuse);
    }

    fn restart(&mut self) {
        self.door.put(Fault::Pass);
    }
}

/// A refusal in the form of KMS.
pub fn refusal(status: &str, code: &str, message: &str) -> Vec<u8> {
    let body = json!({ "__type": code, "message": message }).to_string();
    http_answer(status, &[("Content-Type", "application/x-amz-json-1.1")], &body)
}

/// Names the service; nobody checks the signature of the operator.
fn authorization(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=operator/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

/// The text of an element that has no others in it.
fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let (_, rest) = xml.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {xml}"));
    rest.split_once('<').expect("a whole element").0
}

fn policy(actions: &Value) -> String {
    let statement = json!([{ "Effect": "Allow", "Action": actions, "Resource": "*" }]);
    escaped(&json!({ "Version": "2012-10-17", "Statement": statement }).to_string())
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

const REGION: &str = "eu-central-1";
