//! `audit.witnesses` and `audit.witness_for`: who cosigns this log, and whose logs this gateway cosigns.
//! A list of mappings and a list of keys arrive, a [`Witnessing`] leaves. A key says whose it is: its name is that of the witness
//! or of the log, and a key of the wrong kind is refused.

use std::collections::BTreeSet;
use std::time::Duration;

use super::clusters::{self, UpstreamTls};
use super::key::{Key, Kind, key};
use super::mistake::Refusal;
use super::reader::Reader;
use super::values::{self, Places};
use crate::audit::log::note::{KeyKind, NoteKey};

/// Witnesses of this log, and the logs that this gateway is a witness of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnessing {
    /// Who is shown this log; names are distinct.
    pub witnesses: Vec<WitnessAddress>,
    /// How often.
    pub interval: Duration,
    /// The keys of the logs that are cosigned.
    pub logs: Vec<NoteKey>,
}

/// A witness (C2SP tlog-witness).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessAddress {
    /// Its submission prefix, without a slash at its end.
    pub url: String,
    /// Its key.
    pub key: NoteKey,
    /// Whom to trust, and what is shown; `None` for HTTP.
    pub tls: Option<UpstreamTls>,
}

impl Witnessing {
    /// Out of `audit`.
    pub(super) fn parse(audit: &Reader<'_>, places: &Places<'_>, origin: Option<&str>) -> Option<Self> {
        let readers = audit.sections("witnesses");
        if readers.len() > MOST_WITNESSES {
            let text = format!("{} witnesses are more than {MOST_WITNESSES}", readers.len());
            audit.refuse("witnesses", Refusal::new(text, "they are asked one after the other: name fewer"));
        }
        let witnesses: Vec<_> = readers.into_iter().map(|reader| WitnessAddress::parse(reader, places)).collect();
        let bounds = values::duration(Duration::from_secs(1), Duration::from_secs(3_600));
        let interval = audit.or_default("witness_interval", bounds, DEFAULT_INTERVAL);
        let logs = audit.list("witness_for", |text| vkey(text, KeyKind::Log));
        let mut names = BTreeSet::new();
        for (index, witness) in witnesses.iter().enumerate() {
            if let Some(witness) = witness
                && !names.insert(witness.key.name())
            {
                let text = format!("the witness `{}` is there twice", witness.key.name());
                audit.refuse(&format!("witnesses[{index}].key"), Refusal::new(text, "name each witness once"));
            }
        }
        if logs.iter().flatten().any(|key| Some(key.name()) == origin) {
            let refusal = Refusal::new("a log does not witness itself", "name the logs of other gateways");
            audit.refuse("witness_for", refusal);
        }
        Some(Self { witnesses: witnesses.into_iter().collect::<Option<_>>()?, interval: interval?, logs: logs? })
    }
}

impl WitnessAddress {
    fn parse(reader: Reader<'_>, places: &Places<'_>) -> Option<Self> {
        let url = reader.required("url", url, "write http://HOST:PORT/witness, or https:// with `tls`");
        let remedy = "write its verifier key: of a gateway, `barnabas audit keys` prints it";
        let key = reader.required("key", |text| vkey(text, KeyKind::Witness), remedy);
        let tls = match reader.node("tls") {
            Some(_) => clusters::parse_tls(&reader, places),
            None => Some(None),
        };
        if let (Some(url), Some(tls)) = (&url, &tls)
            && url.starts_with("https://") != tls.is_some()
        {
            let text = "an address by https needs `tls`, and one by http has none";
            reader.refuse("tls", Refusal::new(text, "write tls: { ca: path }, or an address by http"));
        }
        reader.finish();
        Some(Self { url: url?, key: key?, tls: tls? })
    }
}

fn url(text: &str) -> Result<String, Refusal> {
    let trimmed = text.trim_end_matches('/');
    let rest = trimmed.strip_prefix("https://").or_else(|| trimmed.strip_prefix("http://"));
    let sound = rest.is_some_and(|rest| {
        let authority = rest.split('/').next().unwrap_or_default();
        !authority.is_empty() && !rest.contains(['?', '#', '@']) && rest.chars().all(|c| c.is_ascii_graphic())
    });
    let refusal =
        || Refusal::new(format!("`{text}` is not the address of a witness"), "write http://HOST:PORT/witness");
    if sound { Ok(trimmed.to_owned()) } else { Err(refusal()) }
}

fn vkey(text: &str, kind: KeyKind) -> Result<NoteKey, Refusal> {
    let remedy = "write it as `barnabas audit keys` prints it: NAME+ID+KEY";
    let key: NoteKey = text.parse().map_err(|_| Refusal::new(format!("`{text}` is not a verifier key"), remedy))?;
    if key.kind() != kind {
        let wanted = if kind == KeyKind::Log { "a log" } else { "a witness" };
        return Err(Refusal::new(format!("`{text}` is not the key of {wanted}"), remedy));
    }
    Ok(key)
}

/// What is cut off in between is not noticed by a witness.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

/// They are asked one after the other.
const MOST_WITNESSES: usize = 16;

pub(super) const KEYS: &[Key] = &[
    key(
        "audit.witnesses",
        Kind::Entries,
        "none",
        "Who cosigns that this log only ever grew (C2SP tlog-witness): other gateways, or any public witness.",
    ),
    key(
        "audit.witnesses[].url",
        Kind::Text,
        "required",
        "Its submission prefix; of a gateway `http://HOST:PORT/witness` at `admin.bind`, or `https` at `admin.secure.bind`.",
    ),
    key(
        "audit.witnesses[].key",
        Kind::Text,
        "required",
        "Its verifier key; of a gateway `barnabas audit keys` prints it.",
    ),
    key("audit.witnesses[].tls", Kind::Section, "with https", "How the witness is verified."),
    key("audit.witnesses[].tls.ca", Kind::Path, "required", "PEM file of the authority of its certificate."),
    key(
        "audit.witnesses[].tls.certificate",
        Kind::Path,
        "none",
        "What the gateway shows, PEM; `admin.secure` asks for one.",
    ),
    key("audit.witnesses[].tls.private_key", Kind::Path, "with `certificate`", "Its key, PEM."),
    key("audit.witnesses[].tls.server_name", Kind::Text, "the host", "The name in the witness's certificate."),
    key(
        "audit.witness_interval",
        Kind::Duration,
        "`10s`",
        "How often witnesses are shown the log; 1 second to 1 hour.",
    ),
    key(
        "audit.witness_for",
        Kind::List,
        "nobody",
        "Verifier keys of other gateways' logs that this gateway witnesses, at `/witness` of the admin listeners. Needs `admin`.",
    ),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Config;

    fn parse(audit: &str) -> Result<Witnessing, Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        for name in ["pem", "key"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let text = format!(
            "
listeners: [{{ name: a, bind: 127.0.0.1:9192, cluster: one, brokers: {{ by: port, first_port: 9193, count: 8 }}, tls: off }}]
clusters: [{{ name: one, bootstrap_servers: [a:1], tls: off }}]
streams: {{ default: pass }}
keystore: {{ type: local, path: ., unlock: {{ key_file: key }} }}
audit: {{ directory: audit, origin: a.example/1, {audit} }}
"
        );
        let parsed = Config::parse(&text, dir.path(), &[]);
        let texts = |mistakes: Vec<crate::config::Mistake>| mistakes.iter().map(ToString::to_string).collect();
        parsed.map_err(texts).map(|config| config.audit.unwrap().witnessing)
    }

    fn key(name: &str, kind: KeyKind) -> String {
        NoteKey::new(name, kind, [7; 32]).unwrap().to_string()
    }

    #[test]
    fn witnesses_are_known_by_address_and_key() {
        let (w, l) = (key("b.example/1/witness", KeyKind::Witness), key("c.example/1", KeyKind::Log));
        let one = format!("witnesses: [{{ url: 'http://b:9644/witness/', key: '{w}' }}], witness_interval: 1m");
        let found = parse(&one).unwrap();
        assert_eq!(found.interval, Duration::from_secs(60));
        let address = found.witnesses.first().unwrap();
        assert_eq!((address.url.as_str(), address.key.to_string()), ("http://b:9644/witness", w.clone()));
        assert!(address.tls.is_none() && found.logs.is_empty());
        let two = format!("witnesses: [{{ url: 'https://b/witness', key: '{w}', tls: {{ ca: pem }} }}]");
        assert!(parse(&two).unwrap().witnesses.first().unwrap().tls.is_some());
        let mistakes = parse(&format!(
            "witnesses: [{{ url: 'https://b/w', key: '{l}' }}, {{ url: x, key: '{w}' }}, {{ url: 'http://b', key: '{w}' }}, {{ url: 'https://c', key: '{w}' }}],
             witness_for: ['{w}', '{}', x]",
            key("a.example/1", KeyKind::Log)
        ));
        let mistakes = mistakes.unwrap_err();
        for expected in [
            "is not the key of a witness",
            "`x` is not the address of a witness",
            "is there twice",
            "an address by https needs `tls`",
            "is not the key of a log",
            "`x` is not a verifier key",
        ] {
            assert!(mistakes.iter().any(|mistake| mistake.contains(expected)), "{expected}: {mistakes:#?}");
        }
        let own = parse(&format!("witness_for: ['{}']", key("a.example/1", KeyKind::Log))).unwrap_err();
        assert!(own.iter().any(|mistake| mistake.contains("does not witness itself")), "{own:?}");
        let nowhere = parse(&format!("witness_for: ['{l}']")).unwrap_err();
        assert!(nowhere.iter().any(|mistake| mistake.contains("there is no admin listener")), "{nowhere:?}");
    }
}
