//! `kms`: the key management systems, each under a name of the operator's choice.
//! A mapping of names arrives, a list of [`KmsSystem`] leaves, built of the adapters' own settings and found sound by them.
//! Nobody is connected to here. A credential never passes through: only the place where its adapter reads it, each time anew.

pub(super) mod vault;
pub(super) mod aws;
pub(super) mod gcp;
pub(super) mod azure;
pub(super) mod pkcs11;
pub(super) mod kmip;
mod parts;

#[cfg(feature = "pkcs11")]
use barnabas_kms::Pkcs11Settings;
use barnabas_kms::{AwsSettings, AzureSettings, GcpSettings, KmipSettings, VaultSettings};

use super::key::{Key, Kind, key};
use super::mistake::Refusal;
use super::reader::Reader;
use super::values::{self, Places};

/// One key management system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsSystem {
    /// The name that `custody.kms` and commands refer to: 1 to 32 of `[a-z0-9-]`, unique, not `local`.
    pub name: String,
    /// Whose it is, and how to speak to it.
    pub backend: KmsBackend,
}

/// The vendors, each with the settings of its adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KmsBackend {
    /// AWS Key Management Service.
    Aws(AwsSettings),
    /// Azure Key Vault or Managed HSM.
    Azure(AzureSettings),
    /// Google Cloud KMS.
    Gcp(GcpSettings),
    /// A server that speaks KMIP 1.4.
    Kmip(KmipSettings),
    /// A token behind a C module.
    #[cfg(feature = "pkcs11")]
    Pkcs11(Pkcs11Settings),
    /// The Transit engine of HashiCorp Vault or OpenBao.
    Vault(VaultSettings),
}

/// All systems, in the order of the file. `None` when any of them was refused.
pub(super) fn parse(top: &Reader<'_>, places: &Places<'_>) -> Option<Vec<KmsSystem>> {
    let systems: Vec<Option<KmsSystem>> = top
        .named("kms")?
        .into_iter()
        .map(|(name, reader)| {
            let name = system_name(name).map_err(|refusal| top.refuse(&format!("kms.{name}"), refusal)).ok();
            let backend = reader.and_then(|reader| parse_backend(reader, places));
            Some(KmsSystem { name: name?, backend: backend? })
        })
        .collect();
    systems.into_iter().collect()
}

fn parse_backend(reader: Reader<'_>, places: &Places<'_>) -> Option<KmsBackend> {
    // Without a type nobody knows which other keys belong here: they are left alone.
    let vendor = reader.required("type", values::choice(VENDORS), "write vault, aws, gcp, azure, pkcs11 or kmip")?;
    let backend = match vendor {
        Vendor::Aws => aws::parse(&reader, places).map(KmsBackend::Aws),
        Vendor::Azure => azure::parse(&reader, places).map(KmsBackend::Azure),
        Vendor::Gcp => gcp::parse(&reader, places).map(KmsBackend::Gcp),
        Vendor::Kmip => kmip::parse(&reader, places).map(KmsBackend::Kmip),
        Vendor::Pkcs11 => pkcs11::parse(&reader, places),
        Vendor::Vault => vault::parse(&reader, places).map(KmsBackend::Vault),
    };
    reader.finish();
    backend
}

fn system_name(text: &str) -> Result<String, Refusal> {
    if text == LOCAL {
        return Err(Refusal::new(format!("`{LOCAL}` is the name of the local keystore"), "choose another name"));
    }
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() || text.len() > MAX_NAME_BYTES || !text.chars().all(plain) {
        let remedy = format!("use 1 to {MAX_NAME_BYTES} small letters, digits or `-`");
        return Err(Refusal::new(format!("`{text}` is not a name of a KMS"), remedy));
    }
    Ok(text.to_owned())
}

#[derive(Clone, Copy)]
enum Vendor {
    Aws,
    Azure,
    Gcp,
    Kmip,
    Pkcs11,
    Vault,
}

const VENDORS: &[(&str, Vendor)] = &[
    ("vault", Vendor::Vault),
    ("aws", Vendor::Aws),
    ("gcp", Vendor::Gcp),
    ("azure", Vendor::Azure),
    ("pkcs11", Vendor::Pkcs11),
    ("kmip", Vendor::Kmip),
];

/// What the local keystore is called where the name of a KMS stands.
const LOCAL: &str = "local";

/// Names go into logs, metric labels and tables of commands.
const MAX_NAME_BYTES: usize = 32;

pub(super) const KEYS: &[Key] = &[
    key(
        "kms",
        Kind::Named,
        "none",
        "Key management systems by name: 1 to 32 small letters, digits or `-`; not `local`, which is the local keystore.",
    ),
    key(
        "kms.NAME.type",
        Kind::Choice,
        "required",
        "`vault` (OpenBao, too), `aws`, `gcp`, `azure`, `pkcs11` or `kmip`.",
    ),
    key(
        "kms.NAME.endpoint",
        Kind::Text,
        "the vendor's own; required by vault and azure",
        "Not pkcs11 and kmip: where the service is, `https://host[:port][/prefix]`.",
    ),
    key(
        "kms.NAME.plaintext",
        Kind::Choice,
        "`refused`",
        "`refused`, or `loopback`: `http://` to this machine, for a side car.",
    ),
    key(
        "kms.NAME.tls",
        Kind::Section,
        "the system's authorities",
        "Not pkcs11: TLS towards the service. Required by kmip.",
    ),
    key(
        "kms.NAME.tls.ca",
        Kind::Path,
        "the system's",
        "Authorities of the service's certificate, PEM. Read anew when it changes.",
    ),
    key(
        "kms.NAME.tls.certificate",
        Kind::Path,
        "none; required by kmip",
        "What the gateway shows to the service, PEM chain.",
    ),
    key("kms.NAME.tls.private_key", Kind::Path, "none; required by kmip", "Its private key, PEM."),
    key("kms.NAME.connect_timeout", Kind::Duration, "`5s`", "Not pkcs11: name resolution, TCP and TLS together."),
    key("kms.NAME.request_timeout", Kind::Duration, "`10s`", "Not pkcs11: one call, connecting included."),
    key(
        "kms.NAME.keys",
        Kind::Section,
        "`per_client: barnabas-`; required by aws",
        "Not pkcs11 and kmip, where keys have the gateway's own names: which keys of the service are used.",
    ),
    key(
        "kms.NAME.keys.one",
        Kind::Text,
        "none",
        "The name of one key for all clients and streams. With aws an id, ARN or alias.",
    ),
    key(
        "kms.NAME.keys.per_client",
        Kind::Text,
        "`barnabas-`",
        "A key for each client and stream: what stands before each name. With aws an alias, `alias/barnabas-`.",
    ),
    key(
        "kms.NAME.create_keys",
        Kind::Choice,
        "`false`",
        "gcp, azure, pkcs11, kmip: `true` makes missing keys, which needs a right of its own.",
    ),
    key(
        "kms.NAME.credentials",
        Kind::Section,
        "required",
        "aws, gcp, azure: how the gateway proves who it is, by exactly one of the ways below. One without settings is written `{}`.",
    ),
];

#[cfg(test)]
pub(super) mod tests;
