//! `type: kmip`: a key management server or HSM that speaks KMIP 1.4.
//! A mapping arrives, the adapter's settings leave. The gateway is known there by its certificate, so there is always one.

use barnabas_kms::{Kmip, KmipSettings};

use super::parts::{self, Timeouts};
use crate::config::key::{Key, Kind, key};
use crate::config::mistake::Refusal;
use crate::config::reader::Reader;
use crate::config::values::{self, Places};

pub(super) fn parse(reader: &Reader<'_>, places: &Places<'_>) -> Option<KmipSettings> {
    let address = reader.required("address", values::host_port, "write host:port, such as kmip.internal:5696");
    let tls = parts::parse_tls(reader, places);
    if tls.as_ref().is_some_and(|tls| tls.client_certificate.is_none()) {
        let text = "a KMIP server knows its clients by their certificate";
        reader.refuse("tls", Refusal::new(text, "write { ca: path, certificate: path, private_key: path }"));
    }
    let create_keys = reader.or_default("create_keys", values::truth, false);
    let connections = reader.or_default("connections", values::number(1, 64), 4);
    let timeouts = Timeouts::parse(reader);
    let tls = tls.filter(|tls| tls.client_certificate.is_some());
    let mut settings = KmipSettings::new(address?.to_string(), tls?);
    settings.create_keys = create_keys?;
    settings.connections = usize::try_from(connections?).ok()?;
    let timeouts = timeouts?;
    settings.connect_timeout = timeouts.connect;
    settings.request_timeout = timeouts.request;
    parts::sound(reader, Kmip::new(settings.clone()), &[])?;
    Some(settings)
}

pub(in crate::config) const KEYS: &[Key] = &[
    key("kms.NAME.address", Kind::Text, "required by kmip", "kmip: `host:port`; the registered port is 5696."),
    key("kms.NAME.connections", Kind::Number, "`4`", "kmip: connections at the same time, 1 to 64."),
];
