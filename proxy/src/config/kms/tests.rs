//! The section `kms`: every key of every vendor is read, and what is wrong is told with its place and a remedy.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::time::Duration;

use barnabas_kms::{
    AwsCredentials, AwsKeys, AzureCredentials, AzureStore, ClientCertificate, GcpCredentials, GcpKeys, GcpSettings,
    HttpSettings, Plaintext, SecretSource, TlsSettings, VaultAuth, VaultKeys, VaultSettings,
};

use super::*;
use crate::config::Config;

/// Systems that use every key between them, but for PKCS#11, which not every build has.
pub(in crate::config) const EVERY_SYSTEM: &str = r#"
kms:
  vault-eu:
    type: vault
    endpoint: https://vault.internal:8200
    plaintext: refused
    tls: { ca: file, certificate: file, private_key: file }
    connect_timeout: 2s
    request_timeout: 4s
    namespace: team
    mount: team/transit
    keys: { one: barnabas }
    auth: { app_role: { mount: approle-2, role_id: abc, secret_id: { file: file } } }
  pod: { type: vault, endpoint: "http://127.0.0.1:8200", plaintext: loopback, auth: { kubernetes: { mount: k8s, role: r, token: { file: file } } } }
  jwt: { type: vault, endpoint: "https://v", keys: { per_client: b- }, auth: { jwt: { mount: oidc, role: r, token: { env: PASSPHRASE } } } }
  agent: { type: vault, endpoint: "https://v", auth: { token: { file: file } } }
  aws-oidc:
    type: aws
    region: eu-central-1
    keys: { per_client: alias/barnabas- }
    credentials: { web_identity: { role_arn: "arn:aws:iam::1:role/b", session_name: gateway, token: { file: file }, sts_endpoint: "https://sts.internal" } }
  aws-pod:
    type: aws
    region: eu-central-1
    endpoint: https://vpce-1.kms.eu-central-1.vpce.amazonaws.com
    keys: { one: mrk-1 }
    credentials: { container: { uri: "http://169.254.170.23/v1/credentials", token: { file: file } } }
  aws-instance: { type: aws, region: us-east-1, keys: { one: alias/b }, credentials: { instance: { endpoint: "http://[fd00:ec2::254]" } } }
  aws-profile: { type: aws, region: us-east-1, keys: { one: alias/b }, credentials: { profile: { file: file, name: kms } } }
  aws-static:
    type: aws
    region: us-east-1
    keys: { one: alias/b }
    credentials: { static: { access_key_id: { file: file }, secret_access_key: { file: file }, session_token: { env: PASSPHRASE } } }
  gcp:
    type: gcp
    key_ring: projects/p/locations/europe-west3/keyRings/barnabas
    keys: { per_client: b- }
    create_keys: true
    credentials: { file: file }
  gcp-env: { type: gcp, key_ring: projects/p/locations/l/keyRings/r, credentials: { env: PASSPHRASE } }
  gcp-machine:
    type: gcp
    key_ring: projects/p/locations/l/keyRings/r
    credentials: { metadata: { address: "http://169.254.169.254", account: kms@p.iam.gserviceaccount.com } }
  azure:
    type: azure
    endpoint: https://barnabas.managedhsm.azure.net
    store: managed-hsm
    resource: https://managedhsm.azure.net
    create_keys: true
    keys: { one: barnabas }
    credentials: { client_secret: { authority: "https://login.microsoftonline.us", tenant: t, client_id: c, secret: { file: file } } }
  azure-cert: { type: azure, endpoint: "https://b.vault.azure.net", credentials: { certificate: { authority: "https://a", tenant: t, client_id: c, certificate: file, private_key: file } } }
  azure-pod: { type: azure, endpoint: "https://b.vault.azure.net", credentials: { workload_identity: { authority: "https://a", tenant: t, client_id: c, token_file: file } } }
  azure-vm: { type: azure, endpoint: "https://b.vault.azure.net", credentials: { managed_identity: { address: "http://169.254.169.254", client_id: c } } }
  azure-app: { type: azure, endpoint: "https://b.vault.azure.net", credentials: { app_service: { endpoint: { env: PASSPHRASE }, header: { env: PASSPHRASE }, client_id: c } } }
  kmip:
    type: kmip
    address: kmip.internal:5696
    tls: { ca: file, certificate: file, private_key: file }
    create_keys: true
    connections: 8
    connect_timeout: 1s
    request_timeout: 3s
"#;

/// Its keys are known to every build.
pub(in crate::config) const TOKEN: &str = r#"
  token:
    type: pkcs11
    module: file
    token: barnabas
    pin: { file: file }
    mechanism: aes-key-wrap
    create_keys: true
    sessions: 4
    call_timeout: 3s
"#;

const REST: &str = "
listeners: [{ name: a, bind: 127.0.0.1:9192, cluster: one, brokers: { by: port, first_port: 9193, count: 8 }, tls: off }]
clusters: [{ name: one, bootstrap_servers: [a:1], tls: off }]
streams: { default: pass }
";

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "secret\n").unwrap();
    dir
}

fn parse(kms: &str, dir: &Path) -> Result<Config, Vec<String>> {
    let env = [("PASSPHRASE".to_owned(), "x".to_owned())];
    let parsed = Config::parse(&format!("{}{REST}", kms.trim_start()), dir, &env);
    parsed.map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

fn systems(kms: &str, dir: &Path) -> Vec<KmsSystem> {
    parse(kms, dir).unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).kms
}

fn backend<'s>(systems: &'s [KmsSystem], name: &str) -> &'s KmsBackend {
    &systems.iter().find(|system| system.name == name).unwrap().backend
}

#[test]
fn every_key_of_vault_is_read_into_its_type() {
    let dir = folder();
    let file = dir.path().join("file");
    let systems = systems(EVERY_SYSTEM, dir.path());
    let http = HttpSettings {
        endpoint: "https://vault.internal:8200".into(),
        tls: TlsSettings {
            ca: Some(file.clone()),
            client_certificate: Some(ClientCertificate { certificate: file.clone(), private_key: file.clone() }),
        },
        plaintext: Plaintext::Refused,
        connect_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(4),
    };
    let auth = VaultAuth::AppRole {
        mount: "approle-2".into(),
        role_id: "abc".into(),
        secret_id: SecretSource::File(file.clone()),
    };
    let (namespace, mount, keys) =
        (Some("team".into()), "team/transit".into(), VaultKeys::One { name: "barnabas".into() });
    let vault = KmsBackend::Vault(VaultSettings { http, namespace, mount, auth, keys });
    assert_eq!(backend(&systems, "vault-eu"), &vault);
    let KmsBackend::Vault(pod) = backend(&systems, "pod") else { panic!("vault") };
    let kubernetes = ("k8s".into(), "r".into(), SecretSource::File(file.clone()));
    assert_eq!(pod.auth, VaultAuth::Kubernetes { mount: kubernetes.0, role: kubernetes.1, token: kubernetes.2 });
    assert_eq!(pod.http.plaintext, Plaintext::Loopback);
    let KmsBackend::Vault(jwt) = backend(&systems, "jwt") else { panic!("vault") };
    assert!(matches!(&jwt.auth, VaultAuth::Jwt { token: SecretSource::Environment(name), .. } if name == "PASSPHRASE"));
    assert_eq!(jwt.keys, VaultKeys::PerClient { prefix: "b-".into() });
    let KmsBackend::Vault(agent) = backend(&systems, "agent") else { panic!("vault") };
    assert_eq!(agent, &VaultSettings::new("https://v", VaultAuth::Token(SecretSource::File(file))));
}

#[test]
fn every_key_of_the_clouds_and_kmip_is_read_into_its_type() {
    let dir = folder();
    let file = dir.path().join("file");
    let systems = systems(EVERY_SYSTEM, dir.path());
    let KmsBackend::Aws(oidc) = backend(&systems, "aws-oidc") else { panic!("aws") };
    assert_eq!(oidc.http.endpoint, "https://kms.eu-central-1.amazonaws.com");
    assert_eq!(oidc.keys, AwsKeys::PerClient { alias_prefix: "alias/barnabas-".into() });
    assert!(matches!(&oidc.credentials, AwsCredentials::WebIdentity { session_name, .. } if session_name == "gateway"));
    let KmsBackend::Aws(pod) = backend(&systems, "aws-pod") else { panic!("aws") };
    assert!(pod.http.endpoint.starts_with("https://vpce-1."));
    let KmsBackend::Aws(profile) = backend(&systems, "aws-profile") else { panic!("aws") };
    assert_eq!(profile.credentials, AwsCredentials::Profile { file: file.clone(), name: "kms".into() });
    let KmsBackend::Gcp(gcp) = backend(&systems, "gcp") else { panic!("gcp") };
    let credentials = GcpCredentials::File(SecretSource::File(file.clone()));
    let mut wanted = GcpSettings::new("projects/p/locations/europe-west3/keyRings/barnabas", credentials);
    (wanted.create_keys, wanted.keys) = (true, GcpKeys::PerClient { prefix: "b-".into() });
    assert_eq!(gcp, &wanted);
    let KmsBackend::Azure(azure) = backend(&systems, "azure") else { panic!("azure") };
    assert_eq!((azure.store, azure.create_keys), (AzureStore::ManagedHsm, true));
    assert_eq!(azure.resource.as_deref(), Some("https://managedhsm.azure.net"));
    let AzureCredentials::ClientSecret(identity, secret) = &azure.credentials else { panic!("a client secret") };
    assert_eq!(identity.authority, "https://login.microsoftonline.us");
    assert_eq!(secret, &SecretSource::File(file));
    let KmsBackend::Kmip(kmip) = backend(&systems, "kmip") else { panic!("kmip") };
    assert_eq!((kmip.address.as_str(), kmip.connections, kmip.create_keys), ("kmip.internal:5696", 8, true));
    assert_eq!((kmip.connect_timeout, kmip.request_timeout), (Duration::from_secs(1), Duration::from_secs(3)));
}

#[test]
fn every_system_has_an_adapter() {
    let dir = folder();
    let systems = systems(EVERY_SYSTEM, dir.path());
    assert!(systems.len() >= 18);
    for system in &systems {
        let adapter = crate::gateway::adapter(system).unwrap_or_else(|error| panic!("{}: {error}", system.name));
        assert!(!adapter.describe().is_empty(), "{}", system.name);
    }
}

#[test]
fn what_is_not_written_is_as_the_table_says() {
    let dir = folder();
    let least = systems(
        r#"
kms:
  v: { type: vault, endpoint: "https://v", auth: { kubernetes: { role: r } } }
  w: { type: aws, region: r-1, keys: { one: k }, credentials: { web_identity: { role_arn: a, token: { file: file } } } }
  g: { type: gcp, key_ring: projects/p/locations/l/keyRings/r, credentials: { metadata: } }
  z: { type: azure, endpoint: "https://b.vault.azure.net", credentials: { app_service: {} } }
  k: { type: kmip, address: "k:5696", tls: { certificate: file, private_key: file } }
"#,
        dir.path(),
    );
    let KmsBackend::Vault(vault) = backend(&least, "v") else { panic!("vault") };
    let token = SecretSource::File("/var/run/secrets/kubernetes.io/serviceaccount/token".into());
    let auth = VaultAuth::Kubernetes { mount: "kubernetes".into(), role: "r".into(), token };
    assert_eq!(vault, &VaultSettings::new("https://v", auth));
    assert_eq!((vault.mount.as_str(), &vault.keys), ("transit", &VaultKeys::PerClient { prefix: "barnabas-".into() }));
    assert_eq!(vault.http.connect_timeout, Duration::from_secs(5));
    assert_eq!(vault.http.request_timeout, Duration::from_secs(10));
    let KmsBackend::Aws(aws) = backend(&least, "w") else { panic!("aws") };
    assert!(
        matches!(&aws.credentials, AwsCredentials::WebIdentity { session_name, sts_endpoint: None, .. } if session_name == "barnabas")
    );
    let KmsBackend::Gcp(gcp) = backend(&least, "g") else { panic!("gcp") };
    assert_eq!(gcp, &GcpSettings::new("projects/p/locations/l/keyRings/r", GcpCredentials::metadata()));
    let KmsBackend::Azure(azure) = backend(&least, "z") else { panic!("azure") };
    assert_eq!(azure.credentials, AzureCredentials::app_service(None));
    let KmsBackend::Kmip(kmip) = backend(&least, "k") else { panic!("kmip") };
    assert_eq!(kmip, &barnabas_kms::KmipSettings::new("k:5696", kmip.tls.clone()));
}

#[test]
fn all_mistakes_of_all_systems_are_told_in_one_run() {
    let dir = folder();
    let found = parse(
        r#"kms:
  local: { type: vault, endpoint: "https://v", auth: { token: { file: file } } }
  Vault_1: { type: vault, endpoint: "https://v", auth: { token: { file: file } } }
  a: { type: hsm, whatever: 1 }
  b: { type: vault, endpoint: "http://vault:8200", tls: { ca: none, certificate: file }, auth: { token: hvs.secret } }
  c: { type: vault, endpoint: "https://v", mount: "/", auth: { token: { file: file }, jwt: {} }, region: x, keys: { one: a, per_client: b } }
  d: { type: vault, endpoint: "https://v", mount: "a b", auth: { app_role: { role_id: r } } }
  e: { type: vault, endpoint: "https://v", mount: "a b", auth: { token: { env: UNSET } }, connect_timeout: 5 }
  f: { type: vault, endpoint: "https://v", mount: "a b", auth: { token: { file: file } } }
  g: { type: aws, region: Frankfurt, credentials: { instance: {} } }
  h: { type: aws, region: r-1, keys: { per_client: barnabas- }, credentials: { static: { access_key_id: AKIA, secret_access_key: { file: file } } } }
  i: { type: aws, region: r-1, keys: { per_client: barnabas- }, credentials: { instance: {} } }
  j: { type: gcp, key_ring: ring, credentials: { metadata: {} }, create_key: true }
  k: { type: gcp, credentials: { file: file, env: PASSPHRASE } }
  l: { type: azure, endpoint: "https://b.vault.azure.net", store: hsm, credentials: { workload_identity: { client_id: c } } }
  m: { type: kmip, address: kmip.internal, tls: { ca: file }, connections: 65 }
  n: vault
custody: { max_age: 2d, outage_grace: 8d }
"#,
        dir.path(),
    );
    let found = found.unwrap_err();
    for expected in [
        "kms.local (line 2): `local` is the name of the local keystore; choose another name",
        "kms.Vault_1 (line 3): `Vault_1` is not a name of a KMS; use 1 to 32 small letters, digits or `-`",
        "kms.a.type (line 4): `hsm` is not a choice here; write one of vault, aws, gcp, azure, pkcs11, kmip",
        "kms.b.endpoint (line 5): `http://vault:8200` is not an address that is spoken to here; write https://",
        "kms.b.tls.ca (line 5): `",
        "kms.b.tls (line 5): `certificate` and `private_key` belong together",
        "kms.b.auth.token (line 5): a secret is written out",
        "kms.c.auth (line 6): jwt and token exclude each other",
        "kms.c.region (line 6): unknown key `region`",
        "kms.c.keys (line 6): keys are chosen in exactly one way",
        "kms.d.auth.app_role.secret_id (line 7): `secret_id` is missing; write { file: path } or { env: NAME }",
        "kms.e.auth.token.env (line 8): the environment variable `UNSET` is not set",
        "kms.e.connect_timeout (line 8): `5` is not a duration",
        "kms.f.mount (line 9): `mount` cannot be used; write the path of the Transit engine",
        "kms.g.keys (line 10): `keys` is missing",
        "kms.h.credentials.static.access_key_id (line 11): a secret is written out",
        "kms.i.keys.per_client (line 12): `keys.per_client` cannot be used; it begins with `alias/`",
        "kms.j.key_ring (line 13): `key_ring` cannot be used",
        "kms.j.create_key (line 13): unknown key `create_key`; did you mean `create_keys`?",
        "kms.k.key_ring (line 14): `key_ring` is missing",
        "kms.k.credentials (line 14): file and env exclude each other",
        "kms.l.store (line 15): `hsm` is not a choice here; write one of vault, managed-hsm",
        "kms.l.credentials.workload_identity.tenant (line 15): `tenant` is missing",
        "kms.l.credentials.workload_identity.token_file (line 15): `token_file` is missing",
        "kms.m.address (line 16): `kmip.internal` is not a host and port",
        "kms.m.tls (line 16): a KMIP server knows its clients by their certificate",
        "kms.m.connections (line 16): 65 is out of bounds",
        "kms.n (line 17): expected a mapping of keys, found a single value",
        "custody.max_age (line 18): `2d` is out of bounds",
        "custody.outage_grace (line 18): `8d` is out of bounds",
    ] {
        assert!(found.iter().any(|mistake| mistake.starts_with(expected)), "missing: {expected}\n{found:#?}");
    }
    assert!(!found.iter().any(|mistake| mistake.contains("hvs.secret")), "a secret is repeated: {found:#?}");
    assert!(!found.iter().any(|mistake| mistake.contains("AKIA")), "a secret is repeated: {found:#?}");
    assert!(!found.iter().any(|mistake| mistake.starts_with("kms.a.whatever")), "{found:#?}");
    assert_eq!(found.len(), 30, "{found:#?}");
}

#[test]
fn custody_names_one_of_the_systems_or_none() {
    let dir = folder();
    let with = |custody: &str| parse(&format!("{EVERY_SYSTEM}\ncustody: {custody}\n"), dir.path());
    let config = with("{ kms: kmip }").unwrap();
    assert_eq!(config.custody_kms().unwrap().name, "kmip");
    assert_eq!(config.custody.max_age, Duration::from_secs(3600));
    assert_eq!(config.custody.outage_grace, Duration::from_secs(3600));
    assert_eq!(with("{ max_age: 10m }").unwrap().custody_kms(), None);
    assert!(with("{ kms: vault }").unwrap_err().iter().any(|mistake| mistake.starts_with("custody.kms")));
    let none = parse("custody: { kms: vault }\n", dir.path()).unwrap_err();
    assert_eq!(
        none,
        [
            "custody.kms (line 1): no KMS is named `vault`; define it under `kms`, or leave `kms` away for the local keystore"
        ]
    );
}

#[test]
fn variables_set_single_keys_of_a_system() {
    let dir = folder();
    let set = |name: &str, value: &str| (format!("BARNABAS__KMS__{name}"), value.to_owned());
    let env = [
        set("VAULT_EU__TYPE", "vault"),
        set("VAULT_EU__ENDPOINT", "https://v"),
        set("VAULT_EU__AUTH__TOKEN__FILE", "file"),
        set("G", "{ type: gcp, key_ring: projects/p/locations/l/keyRings/r, credentials: { metadata: {} } }"),
    ];
    let config = Config::parse(REST, dir.path(), &env).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let names: Vec<&str> = config.kms.iter().map(|system| system.name.as_str()).collect();
    assert_eq!(names, ["g", "vault-eu"]);
}

#[cfg(feature = "pkcs11")]
#[test]
fn a_token_is_read_into_its_type() {
    use barnabas_kms::{Pkcs11Mechanism, Pkcs11Settings};
    let dir = folder();
    let systems = systems(&format!("kms:{TOKEN}"), dir.path());
    let file = dir.path().join("file");
    let mut wanted = Pkcs11Settings::new(file.clone(), "barnabas", SecretSource::File(file));
    (wanted.mechanism, wanted.create_keys, wanted.sessions) = (Pkcs11Mechanism::AesKeyWrap, true, 4);
    wanted.call_timeout = Duration::from_secs(3);
    assert_eq!(backend(&systems, "token"), &KmsBackend::Pkcs11(wanted));
}

#[cfg(not(feature = "pkcs11"))]
#[test]
fn a_binary_without_pkcs11_says_how_to_build_one() {
    let dir = folder();
    let found = parse(&format!("kms:{TOKEN}"), dir.path()).unwrap_err();
    let remedy = "build one with `cargo build --release -p barnabas --features pkcs11`";
    assert_eq!(found, [format!("kms.token.type (line 3): this binary was built without PKCS#11; {remedy}")]);
}
