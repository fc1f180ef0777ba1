//! `tls` of a listener: certificates, what is asked of clients, versions.
//! A mapping or the word `off` arrives, a [`ListenerTls`] or plaintext leaves. Whether clients prove who they are is
//! written by the operator, never assumed; trust in client certificates exists only where they are asked for.

use std::path::PathBuf;
use std::time::Duration;

use super::mistake::Refusal;
use super::node::Tree;
use super::reader::Reader;
use super::values::{self, Places};

/// TLS towards clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// Served when no other certificate fits the requested name.
    pub certificate: CertificateFiles,
    /// Further certificates, chosen by the requested name (SNI), wildcards included.
    pub more_certificates: Vec<CertificateFiles>,
    /// What is asked of clients.
    pub client_auth: ClientAuth,
    /// The lowest protocol version.
    pub min_version: TlsVersion,
    /// How long a handshake may take before the connection is closed.
    pub handshake_timeout: Duration,
}

impl ListenerTls {
    /// Which client certificates are valid; `None` when none is asked for.
    pub fn trust(&self) -> Option<&ClientTrust> {
        match &self.client_auth {
            ClientAuth::Off => None,
            ClientAuth::Optional(trust) | ClientAuth::Required(trust) => Some(trust),
        }
    }
}

/// A certificate chain and its private key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, own certificate first.
    pub certificate: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub private_key: PathBuf,
}

/// What a listener asks of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// No certificate is asked for: every client is anonymous.
    Off,
    /// A certificate is verified when one is sent; without one the client is anonymous.
    Optional(ClientTrust),
    /// Without a valid certificate there is no connection.
    Required(ClientTrust),
}

/// Which client certificates are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTrust {
    /// The trust anchors, PEM.
    pub client_ca: PathBuf,
    /// Revocation lists, PEM or DER. With any list, a certificate whose issuer has no list is refused.
    pub crls: Vec<PathBuf>,
}

/// The versions that are offered at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// The outer `None`: refused. The inner: plaintext, which must be written.
pub(super) fn parse(reader: &Reader<'_>, places: &Places<'_>) -> Option<Option<ListenerTls>> {
    let Some(node) = reader.node("tls") else {
        let remedy = "write the TLS settings, or `tls: off` for plaintext";
        reader.refuse("tls", Refusal::new("`tls` is missing", remedy));
        return None;
    };
    if let Tree::Scalar(word) = &node.tree {
        if word != "off" {
            reader
                .refuse("tls", Refusal::new(format!("`{word}` is not a choice here"), "write off or the TLS settings"));
            return None;
        }
        return Some(None);
    }
    let tls = reader.section("tls")?;
    let certificate = parse_certificate(&tls, places);
    let more = tls.sections("more_certificates");
    let more: Vec<_> = more
        .into_iter()
        .map(|entry| {
            let files = parse_certificate(&entry, places);
            entry.finish();
            files
        })
        .collect();
    let client_auth = parse_client_auth(&tls, places);
    let min_version = tls.or_default("min_version", values::choice(TLS_VERSIONS), TlsVersion::Tls12);
    let bounds = values::duration(Duration::from_millis(100), Duration::from_secs(120));
    let handshake_timeout = tls.or_default("handshake_timeout", bounds, DEFAULT_HANDSHAKE_TIMEOUT);
    tls.finish();
    Some(Some(ListenerTls {
        certificate: certificate?,
        more_certificates: more.into_iter().collect::<Option<_>>()?,
        client_auth: client_auth?,
        min_version: min_version?,
        handshake_timeout: handshake_timeout?,
    }))
}

fn parse_certificate(reader: &Reader<'_>, places: &Places<'_>) -> Option<CertificateFiles> {
    let certificate =
        reader.required("certificate", |text| places.file(text), "name the PEM file of the certificate chain");
    let private_key = reader.required("private_key", |text| places.file(text), "name the PEM file of the private key");
    Some(CertificateFiles { certificate: certificate?, private_key: private_key? })
}

fn parse_client_auth(tls: &Reader<'_>, places: &Places<'_>) -> Option<ClientAuth> {
    let remedy = "write required, optional or off: whether clients prove who they are is for the operator to say";
    let asked = tls.required("client_auth", values::choice(CLIENT_AUTH), remedy);
    let client_ca = tls.optional("client_ca", |text| places.file(text));
    let crls = tls.list("crls", |text| places.file(text));
    let asked = asked?;
    if asked == Asked::Off {
        for key in ["client_ca", "crls"].into_iter().filter(|key| tls.node(key).is_some()) {
            let text = format!("`{key}` has no effect with `client_auth: off`");
            tls.refuse(key, Refusal::new(text, "remove it, or ask for client certificates"));
        }
        return Some(ClientAuth::Off);
    }
    let Some(client_ca) = client_ca? else {
        let remedy = "name the PEM file of the authority that signs client certificates";
        tls.refuse("client_ca", Refusal::new("`client_ca` is missing", remedy));
        return None;
    };
    let trust = ClientTrust { client_ca, crls: crls? };
    Some(if asked == Asked::Required { ClientAuth::Required(trust) } else { ClientAuth::Optional(trust) })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Off,
    Optional,
    Required,
}

const CLIENT_AUTH: &[(&str, Asked)] =
    &[("required", Asked::Required), ("optional", Asked::Optional), ("off", Asked::Off)];

const TLS_VERSIONS: &[(&str, TlsVersion)] = &[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];

/// A handshake costs a client two round trips; ten seconds cover a satellite link and still end a slow drip soon.
pub const DEFAULT_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
