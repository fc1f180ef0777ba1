//! `rest[].schema_registry`: where schemas are.
//! A mapping arrives, a [`SchemaRegistry`] leaves. Credentials are references; an address by HTTPS names whom to trust.

use std::time::Duration;

use super::super::clusters::{self, UpstreamTls};
use super::super::key::{Key, Kind, key};
use super::super::mistake::Refusal;
use super::super::node::Node;
use super::super::reader::Reader;
use super::super::secret::SecretRef;
use super::super::values::{self, Places};

/// A registry of schemas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaRegistry {
    /// `https://host[:port][/prefix]`, or `http://`, without a slash at its end.
    pub url: String,
    /// Whom to trust, and what is shown; `None` for HTTP.
    pub tls: Option<UpstreamTls>,
    /// What proves who is asking.
    pub credential: Option<SchemaRegistryCredential>,
    /// For one look-up, connecting included.
    pub timeout: Duration,
    /// Schemas that are kept.
    pub max_schemas: usize,
}

/// What proves to a registry who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaRegistryCredential {
    /// A name and a password.
    Basic(String, SecretRef),
    /// A token.
    Bearer(SecretRef),
}

impl SchemaRegistry {
    /// The outer `None`: refused. The inner: there is none.
    pub(super) fn parse(bridge: &Reader<'_>, places: &Places<'_>) -> Option<Option<Self>> {
        if bridge.node("schema_registry").is_none() {
            return Some(None);
        }
        let nothing = Node::nothing();
        let reader = bridge.section("schema_registry")?;
        let url = reader.required("url", super::url, "write https://HOST[:PORT]");
        let tls = match reader.node("tls") {
            Some(_) => clusters::parse_tls(&reader, places),
            None => Some(None),
        };
        let credential = parse_credential(&reader, &nothing, places);
        let bounds = values::duration(Duration::from_millis(100), Duration::from_secs(300));
        let timeout = reader.or_default("timeout", bounds, DEFAULT_TIMEOUT);
        let count = |text: &str| {
            let value = values::number(1, 1_000_000)(text)?;
            usize::try_from(value).map_err(|_| Refusal::new("out of bounds", "write a smaller number"))
        };
        let max_schemas = reader.or_default("max_schemas", count, DEFAULT_MAX_SCHEMAS);
        if let (Some(url), Some(tls)) = (&url, &tls)
            && url.starts_with("https://") != tls.is_some()
        {
            let text = "an address by https needs `tls`, and one by http has none";
            reader.refuse("tls", Refusal::new(text, "write tls: { ca: path }, or an address by http"));
        }
        if !cfg!(feature = "schemas") {
            let remedy = "build with `--features schemas`, or remove the section";
            reader.refuse_here(Refusal::new("this program was built without schemas", remedy));
        }
        reader.finish();
        Some(Some(Self { url: url?, tls: tls?, credential: credential?, timeout: timeout?, max_schemas: max_schemas? }))
    }
}

fn parse_credential(
    reader: &Reader<'_>,
    nothing: &Node,
    places: &Places<'_>,
) -> Option<Option<SchemaRegistryCredential>> {
    let has = |key| reader.node(key).is_some();
    match (has("basic"), has("bearer")) {
        (false, false) => Some(None),
        (true, true) => {
            reader.refuse("bearer", Refusal::new("a password and a token at once", "write one of them"));
            None
        }
        (true, false) => {
            let basic = reader.section_or_empty("basic", nothing)?;
            let username = basic.required("username", values::text, "write the name");
            let password = SecretRef::parse(&basic, "password", places);
            if basic.node("password").is_none() {
                basic.refuse_here(Refusal::new("`password` is missing", "write password: { file: path }"));
            }
            basic.finish();
            Some(Some(SchemaRegistryCredential::Basic(username?, password?)))
        }
        (false, true) => {
            SecretRef::parse(reader, "bearer", places).map(|token| Some(SchemaRegistryCredential::Bearer(token)))
        }
    }
}

/// A registry beside the brokers answers in milliseconds.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// A schema takes some ten kilobytes when it is compiled.
pub const DEFAULT_MAX_SCHEMAS: usize = 1_000;

pub(in super::super) const KEYS: &[Key] = &[
    key("rest[].schema_registry", Kind::Section, "none", "Where schemas are, for Avro, Protobuf and JSON Schema."),
    key("rest[].schema_registry.url", Kind::Text, "required", "Its address: `https://registry.example.com`."),
    key("rest[].schema_registry.tls", Kind::SectionOrOff, "`off`", "TLS towards it; required for an address by https."),
    key("rest[].schema_registry.tls.ca", Kind::Path, "required", "Authorities of its certificate, PEM."),
    key("rest[].schema_registry.tls.certificate", Kind::Path, "none", "What the gateway shows to it, PEM chain."),
    key("rest[].schema_registry.tls.private_key", Kind::Path, "none", "Its private key, PEM."),
    key("rest[].schema_registry.tls.server_name", Kind::Text, "the host", "The name that its certificate must carry."),
    key("rest[].schema_registry.basic", Kind::Section, "none", "A name and a password for it."),
    key("rest[].schema_registry.basic.username", Kind::Text, "required", "The name."),
    key("rest[].schema_registry.basic.password", Kind::Secret, "required", "The password."),
    key("rest[].schema_registry.bearer", Kind::Secret, "none", "A token for it, instead of a password."),
    key("rest[].schema_registry.timeout", Kind::Duration, "`5s`", "How long a look-up may take."),
    key("rest[].schema_registry.max_schemas", Kind::Number, "`1000`", "Schemas that are kept."),
];
