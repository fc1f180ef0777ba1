//! What the sections of several vendors have in common: addresses, TLS, timeouts, keys, credentials.
//! Readers of mappings arrive, parts of adapters' settings leave. What an adapter itself finds wrong becomes a mistake at the
//! key that it is about.

use std::path::PathBuf;
use std::time::Duration;

use barnabas_kms::{ClientCertificate, Error, HttpSettings, Plaintext, SecretSource, TlsSettings};

use crate::config::mistake::Refusal;
use crate::config::node::Node;
use crate::config::reader::Reader;
use crate::config::secret::SecretRef;
use crate::config::values::{self, Places};

/// How to reach a service over HTTPS.
pub(super) struct Http {
    endpoint: Option<String>,
    tls: TlsSettings,
    plaintext: Plaintext,
    timeouts: Timeouts,
}

impl Http {
    /// Reads it; `remedy` says what to write where the service has no address of its own.
    pub(super) fn parse(reader: &Reader<'_>, places: &Places<'_>, remedy: Option<&str>) -> Option<Self> {
        let plaintext = reader.or_default("plaintext", values::choice(PLAINTEXT), Plaintext::Refused);
        let read = |text: &str| address(text, plaintext == Some(Plaintext::Loopback));
        let endpoint = match remedy {
            Some(remedy) => reader.required("endpoint", read, remedy).map(Some),
            None => reader.optional("endpoint", read),
        };
        let tls = parse_tls(reader, places);
        let timeouts = Timeouts::parse(reader);
        Some(Self { endpoint: endpoint?, tls: tls?, plaintext: plaintext?, timeouts: timeouts? })
    }

    /// Puts it into an adapter's settings; the address that they have stays where none was written.
    pub(super) fn put(self, settings: &mut HttpSettings) {
        if let Some(endpoint) = self.endpoint {
            settings.endpoint = endpoint;
        }
        settings.tls = self.tls;
        settings.plaintext = self.plaintext;
        settings.connect_timeout = self.timeouts.connect;
        settings.request_timeout = self.timeouts.request;
    }

    /// The address that was written.
    pub(super) fn endpoint(&self) -> String {
        self.endpoint.clone().unwrap_or_default()
    }
}

/// How long to wait for a service.
#[derive(Clone, Copy)]
pub(super) struct Timeouts {
    pub(super) connect: Duration,
    pub(super) request: Duration,
}

impl Timeouts {
    pub(super) fn parse(reader: &Reader<'_>) -> Option<Self> {
        let (shortest, minute) = (Duration::from_millis(10), Duration::from_secs(60));
        let connect = reader.or_default("connect_timeout", values::duration(shortest, minute), TIMEOUTS.connect);
        let request = reader.or_default("request_timeout", values::duration(shortest, 5 * minute), TIMEOUTS.request);
        Some(Self { connect: connect?, request: request? })
    }
}

/// The section `tls`, where the operating system's authorities are the default.
pub(super) fn parse_tls(reader: &Reader<'_>, places: &Places<'_>) -> Option<TlsSettings> {
    if reader.node("tls").is_none() {
        return Some(TlsSettings::default());
    }
    let tls = reader.section("tls")?;
    let ca = tls.optional("ca", |text| places.file(text));
    let client_certificate = parse_pair(&tls, places);
    tls.finish();
    Some(TlsSettings { ca: ca?, client_certificate: client_certificate? })
}

/// `certificate` and `private_key`: both or neither.
pub(super) fn parse_pair(reader: &Reader<'_>, places: &Places<'_>) -> Option<Option<ClientCertificate>> {
    let certificate = reader.optional("certificate", |text| places.file(text));
    let private_key = reader.optional("private_key", |text| places.file(text));
    match (certificate?, private_key?) {
        (Some(certificate), Some(private_key)) => Some(Some(ClientCertificate { certificate, private_key })),
        (None, None) => Some(None),
        _ => {
            let text = "`certificate` and `private_key` belong together";
            reader.refuse_here(Refusal::new(text, "write both, or neither"));
            None
        }
    }
}

/// Which keys of a service are used.
pub(super) enum Keys {
    /// One for all.
    One(String),
    /// One for each client and stream, with this before its name.
    PerClient(String),
}

impl Keys {
    /// Reads them. The inner `None`: nothing was written.
    pub(super) fn parse(reader: &Reader<'_>) -> Option<Option<Self>> {
        if reader.node("keys").is_none() {
            return Some(None);
        }
        let section = reader.section("keys")?;
        let one = section.optional("one", values::text);
        // Nothing before the names is a choice, too.
        let prefix = section.optional("per_client", |text| Ok(text.to_owned()));
        let keys = match (one?, prefix?) {
            (Some(name), None) => Some(Self::One(name)),
            (None, Some(prefix)) => Some(Self::PerClient(prefix)),
            _ => {
                let remedy = "write { one: NAME } or { per_client: PREFIX }";
                section.refuse_here(Refusal::new("keys are chosen in exactly one way", remedy));
                None
            }
        };
        section.finish();
        keys.map(Some)
    }
}

/// The only one of several keys that is written. None, or more than one, is a mistake.
pub(super) fn one_of(reader: &Reader<'_>, keys: &[&'static str], remedy: &str) -> Option<&'static str> {
    let mut written = Vec::new();
    for key in keys {
        // Asked for, so that it is known; `instance:` without anything behind it counts as written.
        reader.node(key);
        if reader.free_entries().any(|(name, _)| name == *key) {
            written.push(*key);
        }
    }
    match written.as_slice() {
        [only] => Some(*only),
        [] => {
            reader.refuse_here(Refusal::new("nothing is chosen here", remedy));
            None
        }
        several => {
            let text = format!("{} exclude each other", several.join(" and "));
            reader.refuse_here(Refusal::new(text, remedy));
            None
        }
    }
}

/// A section in which one of several ways is chosen, and what that way holds: `parse` is given its name and its reader.
pub(super) fn way<T>(
    reader: &Reader<'_>,
    (key, ways, remedy): (&str, &[&'static str], &str),
    parse: impl FnOnce(&'static str, &Reader<'_>) -> Option<T>,
) -> Option<T> {
    if reader.node(key).is_none() {
        reader.refuse(key, Refusal::new(format!("`{key}` is missing"), remedy));
        return None;
    }
    let section = reader.section(key)?;
    let nothing = Node::nothing();
    let parsed = one_of(&section, ways, remedy).and_then(|way| {
        let inner = section.section_or_empty(way, &nothing)?;
        let parsed = parse(way, &inner);
        inner.finish();
        parsed
    });
    section.finish();
    parsed
}

/// A secret that must be there.
pub(super) fn secret(reader: &Reader<'_>, key: &str, places: &Places<'_>) -> Option<SecretSource> {
    if reader.node(key).is_none() {
        let remedy = "write { file: path } or { env: NAME }";
        reader.refuse(key, Refusal::new(format!("`{key}` is missing"), remedy));
        return None;
    }
    SecretRef::parse(reader, key, places).map(source)
}

/// A secret that may be there.
pub(super) fn optional_secret(reader: &Reader<'_>, key: &str, places: &Places<'_>) -> Option<Option<SecretSource>> {
    match reader.node(key) {
        Some(_) => SecretRef::parse(reader, key, places).map(source).map(Some),
        None => Some(None),
    }
}

/// As adapters name the place of a secret.
pub(super) fn source(secret: SecretRef) -> SecretSource {
    match secret {
        SecretRef::Env(name) => SecretSource::Environment(name),
        SecretRef::File(path) => SecretSource::File(path),
    }
}

/// The file of a credential that has a usual place, which is not looked for where nothing was written.
pub(super) fn usual_file(path: &str) -> SecretSource {
    SecretSource::File(PathBuf::from(path))
}

/// Asks the adapter about its settings. `keys` are those of ours that its own words do not name.
pub(super) fn sound<A>(reader: &Reader<'_>, built: Result<A, Error>, keys: &[(&str, &str)]) -> Option<()> {
    match built {
        Ok(_) => Some(()),
        Err(Error::Setting { setting, why }) => {
            let key = keys.iter().find(|(theirs, _)| *theirs == setting).map_or(setting, |(_, ours)| *ours);
            reader.refuse(key, Refusal::new(format!("`{key}` cannot be used"), why));
            None
        }
        Err(error) => {
            reader.refuse_here(Refusal::new("the settings cannot be used", error.to_string()));
            None
        }
    }
}

/// An address to speak HTTPS to.
pub(super) fn https(text: &str) -> Result<String, Refusal> {
    address(text, false)
}

/// The address of a metadata service, which is on this machine or link and speaks no TLS.
pub(super) fn metadata_address(text: &str) -> Result<String, Refusal> {
    address(text, true)
}

fn address(text: &str, plaintext: bool) -> Result<String, Refusal> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://").filter(|_| plaintext));
    if host.is_none_or(|host| host.is_empty() || host.starts_with('/') || host.contains(char::is_whitespace)) {
        let remedy =
            if plaintext { "write http://host[:port] or https://host[:port]" } else { "write https://host[:port]" };
        return Err(Refusal::new(format!("`{text}` is not an address that is spoken to here"), remedy));
    }
    Ok(text.to_owned())
}

const PLAINTEXT: &[(&str, Plaintext)] = &[("refused", Plaintext::Refused), ("loopback", Plaintext::Loopback)];

/// The adapters' own.
const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(5), request: Duration::from_secs(10) };
