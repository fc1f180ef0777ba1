//! `rest[]`, who may call: client certificates always count; the rest is written here.
//! The keys of a bridge arrive, a [`BridgeAuth`] leaves. Without a word of the operator nobody is anonymous, no password and no
//! token is taken, and none is taken in the clear from another machine. Only public keys verify tokens: an algorithm with a shared secret, or none,
//! cannot be written.

use std::path::PathBuf;
use std::time::Duration;

use barnabas_kms::{HttpSettings, Plaintext, TlsSettings};

use super::super::key::{Key, Kind, key};
use super::super::mistake::Refusal;
use super::super::reader::Reader;
use super::super::values::{self, Places};
use crate::identity::MappingRules;

/// Which proofs a bridge takes beside client certificates.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BridgeAuth {
    /// Whether a caller without any proof is `User:ANONYMOUS` instead of refused.
    pub anonymous: bool,
    /// Whether passwords and tokens are taken on connections without TLS that do not come from this machine.
    pub in_the_clear: bool,
    /// Names and passwords.
    pub basic: Option<BasicAuth>,
    /// Issuers of tokens; their names are distinct.
    pub bearer: Vec<TokenIssuer>,
}

/// Names and passwords (RFC 7617).
#[derive(Clone, Debug, PartialEq)]
pub struct BasicAuth {
    /// The file that `barnabas credential` writes. It need not be there yet.
    pub credentials: PathBuf,
    /// How a name becomes the principal's.
    pub mapping_rules: MappingRules,
}

/// Who issues tokens, and which of them count.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenIssuer {
    /// As it stands in `iss`; discovery begins here.
    pub issuer: String,
    /// At least one; a token must be for one of them.
    pub audiences: Vec<String>,
    /// Where its keys are; `None`: where discovery says.
    pub jwks_url: Option<String>,
    /// At least one.
    pub algorithms: Vec<TokenAlgorithm>,
    /// The claim that names the caller.
    pub principal_claim: String,
    /// How the claim becomes the principal's name.
    pub mapping_rules: MappingRules,
    /// How wrong clocks may be.
    pub clock_skew: Duration,
    /// How often its keys are fetched.
    pub keys_refresh: Duration,
    /// How long its keys are used when it does not answer any more.
    pub keys_max_age: Duration,
    /// Whom to trust as it.
    pub ca: Option<PathBuf>,
    /// Whether it may be reached without TLS on this machine.
    pub on_loopback: bool,
}

/// Signature algorithms of tokens (RFC 7518, section 3.1; RFC 8037; RFC 9864).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "their names say all there is")]
pub enum TokenAlgorithm {
    EdDsa,
    Es256,
    Es384,
    Ps256,
    Ps384,
    Ps512,
    Rs256,
    Rs384,
    Rs512,
}

impl BridgeAuth {
    /// Reads the keys of the bridge that belong here.
    pub(super) fn parse(bridge: &Reader<'_>, places: &Places<'_>) -> Option<Self> {
        let anonymous = bridge.or_default("anonymous", values::choice(REFUSE_OR_ACCEPT), false);
        let in_the_clear = bridge.or_default("credentials_without_tls", values::choice(REFUSE_OR_ACCEPT), false);
        let basic = match bridge.node("basic") {
            Some(_) => bridge.section("basic").and_then(|basic| BasicAuth::parse(basic, places)).map(Some),
            None => Some(None),
        };
        let bearer: Vec<_> =
            bridge.sections("bearer").into_iter().map(|issuer| TokenIssuer::parse(issuer, places)).collect();
        let bearer: Option<Vec<_>> = bearer.into_iter().collect();
        for (index, issuer) in bearer.iter().flatten().enumerate() {
            if bearer.iter().flatten().take(index).any(|before| before.issuer == issuer.issuer) {
                let refusal = Refusal::new("this issuer is written twice", "write all its audiences in one entry");
                bridge.refuse(&format!("bearer[{index}].issuer"), refusal);
            }
        }
        Some(Self { anonymous: anonymous?, in_the_clear: in_the_clear?, basic: basic?, bearer: bearer? })
    }
}

impl BasicAuth {
    fn parse(reader: Reader<'_>, places: &Places<'_>) -> Option<Self> {
        let remedy = "name the file that `barnabas credential add` is to write";
        let credentials = reader.required("credentials", |text| places.path(text), remedy);
        let mapping_rules = parse_rules(&reader);
        reader.finish();
        Some(Self { credentials: credentials?, mapping_rules: mapping_rules? })
    }
}

impl TokenIssuer {
    fn parse(reader: Reader<'_>, places: &Places<'_>) -> Option<Self> {
        let on_loopback = reader.or_default("plaintext", values::choice(PLAINTEXT), false);
        let address = |text: &str| address(text, on_loopback == Some(true));
        let issuer = reader.required("issuer", address, "write the issuer's address, as it stands in `iss`");
        let audiences = reader.list("audience", values::text);
        if audiences.as_ref().is_some_and(Vec::is_empty) {
            let text = "`audience` is missing: tokens for others would be taken";
            reader.refuse("audience", Refusal::new(text, "write the audience that the issuer gives this bridge"));
        }
        let jwks_url = reader.optional("jwks_url", address);
        let algorithms = reader.list("algorithms", algorithm).map(|written| match written.is_empty() {
            true => DEFAULT_ALGORITHMS.to_vec(),
            false => written,
        });
        let principal_claim = reader.or_default("principal_claim", values::text, "sub".to_owned());
        let mapping_rules = parse_rules(&reader);
        let time = |key: &str, low: u64, high: u64, default: Duration| {
            let bounds = values::duration(Duration::from_secs(low), Duration::from_secs(high));
            reader.or_default(key, bounds, default)
        };
        let clock_skew = time("clock_skew", 0, 300, DEFAULT_CLOCK_SKEW);
        let keys_refresh = time("keys_refresh", 1, 86_400, DEFAULT_KEYS_REFRESH);
        let keys_max_age = time("keys_max_age", 60, 30 * 86_400, DEFAULT_KEYS_MAX_AGE);
        let ca = reader.optional("ca", |text| places.file(text));
        reader.finish();
        Some(Self {
            issuer: issuer?,
            audiences: audiences.filter(|audiences| !audiences.is_empty())?,
            jwks_url: jwks_url?,
            algorithms: algorithms?,
            principal_claim: principal_claim?,
            mapping_rules: mapping_rules?,
            clock_skew: clock_skew?,
            keys_refresh: keys_refresh?,
            keys_max_age: keys_max_age?,
            ca: ca?,
            on_loopback: on_loopback?,
        })
    }

    /// How to reach an address of the issuer.
    pub fn http(&self, origin: &str) -> HttpSettings {
        let plaintext = if self.on_loopback { Plaintext::Loopback } else { Plaintext::Refused };
        let tls = TlsSettings { ca: self.ca.clone(), client_certificate: None };
        HttpSettings { tls, plaintext, ..HttpSettings::new(origin) }
    }
}

impl TokenAlgorithm {
    /// All that can be written.
    pub const ALL: &[Self] = &[
        Self::EdDsa,
        Self::Es256,
        Self::Es384,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
    ];

    /// Reads a name as it stands in `alg`.
    pub fn parse(text: &str) -> Option<Self> {
        // RFC 9864 names EdDSA by its curve; the only one that is used here.
        let text = if text == "Ed25519" { "EdDSA" } else { text };
        Self::ALL.iter().copied().find(|algorithm| algorithm.name() == text)
    }

    /// The name as it stands in `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
        }
    }
}

fn parse_rules(reader: &Reader<'_>) -> Option<MappingRules> {
    let rules = reader.list("mapping_rules", |text| {
        let remedy = "write DEFAULT or RULE:pattern/replacement/, as for certificates";
        MappingRules::parse(text).map_err(|refusal| Refusal::new(refusal.to_string(), remedy))
    });
    rules.map(MappingRules::join)
}

fn algorithm(text: &str) -> Result<TokenAlgorithm, Refusal> {
    TokenAlgorithm::parse(text).ok_or_else(|| {
        let names: Vec<&str> = TokenAlgorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
        let text = format!("`{text}` is no algorithm that tokens may be signed with here");
        Refusal::new(text, format!("write some of {}", names.join(", ")))
    })
}

/// `https://host[:port][/path]`, or the same with `http` where it stays on this machine.
fn address(text: &str, on_loopback: bool) -> Result<String, Refusal> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://").filter(|_| on_loopback));
    let sound = rest.is_some_and(|rest| {
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        !host.is_empty() && !rest.contains(['#', '@']) && rest.chars().all(|c| c.is_ascii_graphic())
    });
    if sound {
        return Ok(text.to_owned());
    }
    let remedy = match on_loopback {
        true => "write https://HOST[:PORT][/PATH], or http:// to this machine",
        false => "write https://HOST[:PORT][/PATH]; http:// to this machine needs `plaintext: loopback`",
    };
    Err(Refusal::new(format!("`{text}` is not an address that an issuer is reached at"), remedy))
}

const REFUSE_OR_ACCEPT: &[(&str, bool)] = &[("refuse", false), ("accept", true)];
const PLAINTEXT: &[(&str, bool)] = &[("refused", false), ("loopback", true)];

/// What issuers use; the longer hashes are there for those that use them.
const DEFAULT_ALGORITHMS: &[TokenAlgorithm] =
    &[TokenAlgorithm::Rs256, TokenAlgorithm::Ps256, TokenAlgorithm::Es256, TokenAlgorithm::EdDsa];

/// Clocks are kept by NTP; a token that has expired must end its streams within seconds.
const DEFAULT_CLOCK_SKEW: Duration = Duration::from_secs(5);

/// A key that the issuer has withdrawn counts for so long at most.
const DEFAULT_KEYS_REFRESH: Duration = Duration::from_secs(300);

/// An outage of a day stops nobody who has a token.
const DEFAULT_KEYS_MAX_AGE: Duration = Duration::from_secs(86_400);

pub(in super::super) const KEYS: &[Key] = &[
    key(
        "rest[].anonymous",
        Kind::Choice,
        "`refuse`",
        "`accept`: a caller who proves nothing is `User:ANONYMOUS`. `refuse`: 401.",
    ),
    key(
        "rest[].credentials_without_tls",
        Kind::Choice,
        "`refuse`",
        "`accept`: passwords and tokens are taken on plaintext connections from other machines, too. Only behind a load balancer that speaks TLS itself.",
    ),
    key("rest[].basic", Kind::Section, "no passwords", "Callers may show a name and a password (HTTP Basic)."),
    key(
        "rest[].basic.credentials",
        Kind::Path,
        "required",
        "The file that `barnabas credential` writes, readable by its owner only. Reloaded when it changes.",
    ),
    key(
        "rest[].basic.mapping_rules",
        Kind::List,
        "`DEFAULT`",
        "How a name becomes a principal's; rules as for certificates. `DEFAULT`: `User:` and the name.",
    ),
    key("rest[].bearer", Kind::Entries, "no tokens", "Issuers of tokens (OpenID Connect) that callers may show."),
    key(
        "rest[].bearer[].issuer",
        Kind::Text,
        "required",
        "Its address exactly as in the claim `iss`; `/.well-known/openid-configuration` below it says where its keys are.",
    ),
    key("rest[].bearer[].audience", Kind::List, "required", "What `aud` must have; one of them is enough."),
    key("rest[].bearer[].jwks_url", Kind::Text, "by discovery", "Where its keys are, for an issuer without discovery."),
    key(
        "rest[].bearer[].algorithms",
        Kind::List,
        "`RS256, PS256, ES256, EdDSA`",
        "Signature algorithms that are accepted; also RS384, RS512, PS384, PS512, ES384.",
    ),
    key("rest[].bearer[].principal_claim", Kind::Text, "`sub`", "The claim that names the caller; a text."),
    key(
        "rest[].bearer[].mapping_rules",
        Kind::List,
        "`DEFAULT`",
        "How the claim becomes a principal's name; rules as for certificates. A rule that sets a prefix keeps an issuer's names apart from others.",
    ),
    key("rest[].bearer[].clock_skew", Kind::Duration, "`5s`", "How wrong clocks may be; `0s` to `5m`."),
    key(
        "rest[].bearer[].keys_refresh",
        Kind::Duration,
        "`5m`",
        "How often its keys are fetched. A key that is not known yet is looked for at once, but not more often than every 10 s.",
    ),
    key(
        "rest[].bearer[].keys_max_age",
        Kind::Duration,
        "`1d`",
        "How long its keys are used while it does not answer; then 503.",
    ),
    key(
        "rest[].bearer[].ca",
        Kind::Path,
        "the system's",
        "Authorities to trust as the issuer instead of the system's, PEM.",
    ),
    key(
        "rest[].bearer[].plaintext",
        Kind::Choice,
        "`refused`",
        "`loopback`: the issuer may be reached by http on this machine, for tests.",
    ),
];
