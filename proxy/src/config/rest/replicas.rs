//! `rest[].replicas`: the gateways that serve this address together, so that each can pass on a call for what another one holds.
//! A mapping arrives, [`Replicas`] leave. All replicas have the same list of members. Calls go by TLS only, and what a replica says of a
//! caller is believed because of its certificate: so the bridge must ask for certificates, and each member has a principal.

use super::super::clusters::{self, UpstreamTls};
use super::super::key::{Key, Kind, key};
use super::super::listener_tls::{ClientAuth, ListenerTls};
use super::super::mistake::Refusal;
use super::super::reader::Reader;
use super::super::values::{self, HostPort, Places};
use crate::identity::Principal;

/// The replicas of a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replicas {
    /// Which one this is; one of the members.
    pub id: String,
    /// All, this one included; their ids are distinct.
    pub members: Vec<Replica>,
    /// Whom to trust as a replica, and what is shown to it.
    pub tls: UpstreamTls,
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its name in the ids of what it holds; without `~`.
    pub id: String,
    /// Where the others reach it.
    pub address: HostPort,
    /// Who its certificate says it is.
    pub principal: Principal,
}

impl Replicas {
    /// The outer `None`: refused. The inner: there is none.
    pub(super) fn parse(
        bridge: &Reader<'_>,
        tls: Option<&Option<ListenerTls>>,
        places: &Places<'_>,
    ) -> Option<Option<Self>> {
        if bridge.node("replicas").is_none() {
            return Some(None);
        }
        let reader = bridge.section("replicas")?;
        let id = reader.required("id", values::name, "write which of `members` this gateway is");
        let own = clusters::parse_tls(&reader, places);
        if let Some(own) = &own
            && own.as_ref().is_none_or(|own| own.certificate.is_none())
        {
            let remedy = "write tls: { ca, certificate, private_key }, so that the others know this one";
            reader.refuse("tls", Refusal::new("replicas speak by TLS, each with a certificate", remedy));
        }
        let members: Vec<_> = reader.sections("members").into_iter().map(Replica::parse).collect();
        let members: Option<Vec<Replica>> = members.into_iter().collect();
        for (index, member) in members.iter().flatten().enumerate() {
            if members.iter().flatten().take(index).any(|before| before.id == member.id) {
                let refusal = Refusal::new(format!("`{}` is there twice", member.id), "give each replica its own id");
                reader.refuse(&format!("members[{index}].id"), refusal);
            }
        }
        if let (Some(id), Some(members)) = (&id, &members)
            && !members.iter().any(|member| member.id == *id)
        {
            let text = format!("`{id}` is none of `members`");
            reader.refuse("id", Refusal::new(text, "list all replicas there, this one included"));
        }
        if tls.is_some_and(|tls| tls.as_ref().is_none_or(|tls| matches!(tls.client_auth, ClientAuth::Off))) {
            let remedy = "set rest[].tls.client_auth to required or optional";
            reader.refuse_here(Refusal::new("replicas are known by their certificates, none are asked for", remedy));
        }
        reader.finish();
        Some(Some(Self { id: id?, members: members?, tls: own?? }))
    }
}

impl Replica {
    fn parse(reader: Reader<'_>) -> Option<Self> {
        let id = reader.required("id", values::name, "name it, as in its own `id`");
        let address = reader.required("url", address, "write https://HOST[:PORT] of its bridge");
        let remedy = "write User:NAME, whom its certificate names by rest[].principal";
        let principal = reader.required("principal", principal, remedy);
        reader.finish();
        Some(Self { id: id?, address: address?, principal: principal? })
    }
}

/// `https://host[:port]`.
fn address(text: &str) -> Result<HostPort, Refusal> {
    let refusal = || Refusal::new(format!("`{text}` is not the address of a replica"), "write https://HOST[:PORT]");
    let rest = text.strip_prefix("https://").ok_or_else(refusal)?.trim_end_matches('/');
    let has_port = rest.rsplit_once(':').is_some_and(|(before, _)| !before.starts_with('[') || before.ends_with(']'));
    let whole = if has_port { rest.to_owned() } else { format!("{rest}:443") };
    values::host_port(&whole).map_err(|_| refusal())
}

fn principal(text: &str) -> Result<Principal, Refusal> {
    let refusal = || Refusal::new(format!("`{text}` is not a principal with a certificate"), "write User:NAME");
    Principal::parse(text).filter(|principal| !principal.is_anonymous()).ok_or_else(refusal)
}

pub(in super::super) const KEYS: &[Key] = &[
    key(
        "rest[].replicas",
        Kind::Section,
        "none",
        "Gateways that serve this address together: each passes calls for a consumer on to the one that has it.",
    ),
    key("rest[].replicas.id", Kind::Text, "required", "Which of the members this gateway is."),
    key("rest[].replicas.tls", Kind::Section, "required", "TLS towards the other replicas."),
    key("rest[].replicas.tls.ca", Kind::Path, "required", "Authorities of their certificates, PEM."),
    key(
        "rest[].replicas.tls.certificate",
        Kind::Path,
        "required",
        "The certificate that this one shows to them, PEM chain. Reloaded when it changes.",
    ),
    key("rest[].replicas.tls.private_key", Kind::Path, "required", "Its private key, PEM."),
    key(
        "rest[].replicas.tls.server_name",
        Kind::Text,
        "the host of the `url`",
        "The name that their certificates must carry.",
    ),
    key("rest[].replicas.members", Kind::Entries, "required", "All replicas, this one too; the same list in each."),
    key(
        "rest[].replicas.members[].id",
        Kind::Text,
        "required",
        "Its name, which stands in the ids of its consumers. Keep it as long as they live.",
    ),
    key(
        "rest[].replicas.members[].url",
        Kind::Text,
        "required",
        "Where the others reach its bridge: `https://host:port`.",
    ),
    key(
        "rest[].replicas.members[].principal",
        Kind::Text,
        "required",
        "Whom its certificate names. It may say for whom it asks: nobody else may have this name.",
    ),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn replicas_are_reached_by_https_alone() {
        let read = |text| address(text).map(|address| address.to_string()).ok();
        assert_eq!(read("https://b.example.com:8443").as_deref(), Some("b.example.com:8443"));
        assert_eq!(read("https://b.example.com/").as_deref(), Some("b.example.com:443"));
        assert!(address("https://[::1]").unwrap().port == 443 && address("https://[::1]:1").unwrap().port == 1);
        for wrong in ["http://b:1", "b:1", "https://b:1/path", "https://", "https://user@b", "https://b:0"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nobody_is_no_replica() {
        assert!(principal("User:gateway-a").is_ok());
        for wrong in ["gateway-a", "User:", "User:ANONYMOUS"] {
            assert!(principal(wrong).is_err(), "{wrong}");
        }
    }
}
