//! `type: gcp`: Google Cloud KMS.
//! A mapping arrives, the adapter's settings leave. Who the gateway is stands under `credentials`: a credential file in Google's
//! own form, or the metadata server.

use barnabas_kms::{Gcp, GcpCredentials, GcpKeys, GcpSettings};

use super::parts::{self, Http, Keys};
use crate::config::key::{Key, Kind, key};
use crate::config::mistake::Refusal;
use crate::config::node::Node;
use crate::config::reader::Reader;
use crate::config::secret::SecretRef;
use crate::config::values::{self, Places};

pub(super) fn parse(reader: &Reader<'_>, places: &Places<'_>) -> Option<GcpSettings> {
    let ring = "write projects/PROJECT/locations/LOCATION/keyRings/RING";
    let key_ring = reader.required("key_ring", values::text, ring);
    let http = Http::parse(reader, places, None);
    let keys = Keys::parse(reader);
    let create_keys = reader.or_default("create_keys", values::truth, false);
    let credentials = parse_credentials(reader, places);
    let mut settings = GcpSettings::new(key_ring?, credentials?);
    http?.put(&mut settings.http);
    settings.create_keys = create_keys?;
    match keys? {
        Some(Keys::One(name)) => settings.keys = GcpKeys::One { name },
        Some(Keys::PerClient(prefix)) => settings.keys = GcpKeys::PerClient { prefix },
        None => {}
    }
    parts::sound(reader, Gcp::new(settings.clone()), &[])?;
    Some(settings)
}

fn parse_credentials(reader: &Reader<'_>, places: &Places<'_>) -> Option<GcpCredentials> {
    if reader.node("credentials").is_none() {
        reader.refuse("credentials", Refusal::new("`credentials` is missing", WAYS_TEXT));
        return None;
    }
    let section = reader.section("credentials")?;
    let credentials = match parts::one_of(&section, &["file", "env", "metadata"], WAYS_TEXT) {
        Some("metadata") => parse_metadata(&section),
        Some(_) => SecretRef::parse_here(&section, places).map(parts::source).map(GcpCredentials::File),
        None => None,
    };
    section.finish();
    credentials
}

fn parse_metadata(section: &Reader<'_>) -> Option<GcpCredentials> {
    let nothing = Node::nothing();
    let inner = section.section_or_empty("metadata", &nothing)?;
    let server = "http://metadata.google.internal".to_owned();
    let address = inner.or_default("address", parts::metadata_address, server);
    let account = inner.or_default("account", values::text, "default".to_owned());
    inner.finish();
    Some(GcpCredentials::Metadata { address: address?, account: account? })
}

const WAYS_TEXT: &str = "write { file: path }, { env: NAME } or { metadata: {} }";

pub(in crate::config) const KEYS: &[Key] = &[
    key(
        "kms.NAME.key_ring",
        Kind::Text,
        "required by gcp",
        "gcp: `projects/PROJECT/locations/LOCATION/keyRings/RING`.",
    ),
    key(
        "kms.NAME.credentials.file",
        Kind::Path,
        "none",
        "gcp: a credential file of type `service_account` or `external_account` (workload identity federation), read at each renewal.",
    ),
    key("kms.NAME.credentials.env", Kind::Text, "none", "gcp: the same in an environment variable."),
    key(
        "kms.NAME.credentials.metadata",
        Kind::Section,
        "none",
        "gcp: the account of the machine, the pod or the function.",
    ),
    key(
        "kms.NAME.credentials.metadata.address",
        Kind::Text,
        "`http://metadata.google.internal`",
        "gcp: the metadata server.",
    ),
    key(
        "kms.NAME.credentials.metadata.account",
        Kind::Text,
        "`default`",
        "gcp: the account, where there is more than one.",
    ),
];
