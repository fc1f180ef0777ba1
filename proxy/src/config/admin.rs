//! `admin`: the addresses of the operations surface.
//! A mapping arrives, an [`Admin`] leaves. Without the section nothing listens. The plain address proves nobody's name, so
//! nothing that names a principal is ever served there; who reads the audit log comes by `admin.secure`, with a certificate
//! and a role. A secure address without TLS, or one that takes clients without certificates, cannot be expressed.

use std::net::SocketAddr;

use super::key::{Key, Kind, key};
use super::listener_tls::{self, ClientAuth, ListenerTls};
use super::listeners::parse_principal;
use super::mistake::Refusal;
use super::pattern::PrincipalPattern;
use super::reader::Reader;
use super::values::{self, Places};
use crate::identity::{Principal, PrincipalRule};

/// The operations surface.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Plain HTTP without authentication: bind it where only operators reach it.
    pub bind: SocketAddr,
    /// HTTPS for those who prove who they are.
    pub secure: Option<SecureAdmin>,
}

/// HTTPS with client certificates and roles.
#[derive(Clone, Debug, PartialEq)]
pub struct SecureAdmin {
    /// The address.
    pub bind: SocketAddr,
    /// Client certificates are required, always.
    pub tls: ListenerTls,
    /// How a certificate becomes a principal.
    pub principal: PrincipalRule,
    /// Who may see what.
    pub roles: Roles,
}

/// What somebody may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The audit log: page, entries, proofs.
    Auditor,
    /// Liveness, readiness, metrics.
    Operator,
    /// Shows checkpoints of its log to be cosigned: another gateway.
    Witnessed,
}

/// Who has which role. A principal that no list covers has none, and sees nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Roles {
    /// Who reads the audit log.
    pub auditor: Vec<PrincipalPattern>,
    /// Who reads metrics and readiness.
    pub operator: Vec<PrincipalPattern>,
    /// Whose logs may be shown to be cosigned.
    pub witnessed: Vec<PrincipalPattern>,
}

impl Roles {
    /// Whether a principal has a role.
    #[must_use]
    pub fn grant(&self, principal: &Principal, role: Role) -> bool {
        let patterns = match role {
            Role::Auditor => &self.auditor,
            Role::Operator => &self.operator,
            Role::Witnessed => &self.witnessed,
        };
        !principal.is_anonymous() && patterns.iter().any(|pattern| pattern.covers(principal))
    }
}

impl Admin {
    pub(super) fn parse(reader: Reader<'_>, places: &Places<'_>) -> Option<Self> {
        let bind = reader.required("bind", values::listen_address, "write an address such as 127.0.0.1:9644");
        let has_secure = reader.node("secure").is_some();
        let secure = reader.section("secure").and_then(|secure| SecureAdmin::parse(secure, places));
        reader.finish();
        if has_secure && secure.is_none() {
            return None;
        }
        Some(Self { bind: bind?, secure })
    }
}

impl SecureAdmin {
    fn parse(reader: Reader<'_>, places: &Places<'_>) -> Option<Self> {
        let bind = reader.required("bind", values::listen_address, "write an address such as 127.0.0.1:9645");
        let tls = match listener_tls::parse(&reader, places) {
            Some(Some(tls)) if matches!(tls.client_auth, ClientAuth::Required(_)) => Some(tls),
            Some(Some(_)) => {
                let text = "roles need to know who asks: a client without a certificate is nobody";
                reader.refuse("tls.client_auth", Refusal::new(text, "write `client_auth: required`"));
                None
            }
            Some(None) => {
                let remedy = "configure `tls` with `client_auth: required`; what may be plain is at `admin.bind`";
                reader.refuse("tls", Refusal::new("the secure listener cannot be plaintext", remedy));
                None
            }
            None => None,
        };
        let principal = parse_principal(&reader);
        let roles = match reader.node("roles") {
            Some(_) => reader.section("roles").and_then(Roles::parse),
            None => {
                let remedy = "write { auditor: [User:NAME], operator: [User:NAME] }; who has no role sees nothing";
                reader.refuse("roles", Refusal::new("`roles` is missing", remedy));
                None
            }
        };
        reader.finish();
        Some(Self { bind: bind?, tls: tls?, principal: principal?, roles: roles? })
    }
}

impl Roles {
    fn parse(reader: Reader<'_>) -> Option<Self> {
        let auditor = reader.list("auditor", PrincipalPattern::parse);
        let operator = reader.list("operator", PrincipalPattern::parse);
        let witnessed = reader.list("witnessed", PrincipalPattern::parse);
        let nobody = |patterns: &Option<Vec<PrincipalPattern>>| patterns.as_ref().is_some_and(Vec::is_empty);
        if nobody(&auditor) && nobody(&operator) && nobody(&witnessed) {
            let remedy = "name at least one principal under `auditor` or `operator`, or remove `secure`";
            reader.refuse_here(Refusal::new("nobody has a role here", remedy));
        }
        reader.finish();
        Some(Self { auditor: auditor?, operator: operator?, witnessed: witnessed? })
    }
}

pub(super) const KEYS: &[Key] = &[
    key("admin", Kind::Section, "nothing listens", "Liveness, readiness and metrics over HTTP; the audit page."),
    key(
        "admin.bind",
        Kind::Text,
        "required",
        "Address of `/livez`, `/readyz` and `/metrics`. Plain HTTP without authentication: keep it private.",
    ),
    key(
        "admin.secure",
        Kind::Section,
        "nothing listens",
        "A second address for those who prove who they are: HTTPS with client certificates and roles. The audit page is here only.",
    ),
    key("admin.secure.bind", Kind::Text, "required", "Its address: `127.0.0.1:9645`."),
    key(
        "admin.secure.tls",
        Kind::Section,
        "required",
        "As `listeners[].tls`, with `client_auth: required`. Files are reloaded when they change; who is revoked is out at once.",
    ),
    key("admin.secure.tls.certificate", Kind::Path, "required", "Certificate chain, PEM, own certificate first."),
    key("admin.secure.tls.private_key", Kind::Path, "required", "Private key, PEM."),
    key(
        "admin.secure.tls.more_certificates",
        Kind::Entries,
        "none",
        "Further certificates, chosen by the host name that the browser asks for.",
    ),
    key("admin.secure.tls.more_certificates[].certificate", Kind::Path, "required", "Certificate chain, PEM."),
    key("admin.secure.tls.more_certificates[].private_key", Kind::Path, "required", "Private key, PEM."),
    key("admin.secure.tls.client_auth", Kind::Choice, "required", "`required`; nothing else is taken here."),
    key("admin.secure.tls.client_ca", Kind::Path, "required", "Authorities of client certificates, PEM."),
    key("admin.secure.tls.crls", Kind::List, "none", "Revocation lists, as for listeners."),
    key("admin.secure.tls.min_version", Kind::Choice, "`1.2`", "`1.2` or `1.3`."),
    key("admin.secure.tls.handshake_timeout", Kind::Duration, "`10s`", "A handshake that takes longer is ended."),
    key("admin.secure.principal", Kind::Section, "the whole subject", "How a certificate becomes a principal."),
    key("admin.secure.principal.from", Kind::Choice, "`subject`", "`subject`, `san_uri`, `san_dns` or `san_email`."),
    key(
        "admin.secure.principal.mapping_rules",
        Kind::List,
        "`DEFAULT`",
        "As `listeners[].principal.mapping_rules`; no match refuses the client.",
    ),
    key("admin.secure.roles", Kind::Section, "required", "Who may see what; who has no role gets 403 everywhere."),
    key(
        "admin.secure.roles.auditor",
        Kind::List,
        "nobody",
        "Principals, `User:NAME` or patterns: the audit page, the log's tiles and entries, the access matrix under `/audit/`.",
    ),
    key(
        "admin.secure.roles.operator",
        Kind::List,
        "nobody",
        "Principals, `User:NAME` or patterns: `/livez`, `/readyz` and `/metrics` on this address.",
    ),
    key(
        "admin.secure.roles.witnessed",
        Kind::List,
        "nobody",
        "Principals, `User:NAME` or patterns: other gateways, whose logs this one witnesses (`audit.witness_for`), under `/witness/`.",
    ),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Config;

    fn parse(admin: &str) -> Result<Roles, Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pem"), "").unwrap();
        let rest = "
listeners: [{ name: a, bind: 127.0.0.1:9192, cluster: one, brokers: { by: port, first_port: 9193, count: 8 }, tls: off }]
clusters: [{ name: one, bootstrap_servers: [a:1], tls: off }]
streams: { default: pass }
";
        let secure = format!("admin: {{ bind: 127.0.0.1:9644, secure: {{ {admin} }} }}\n{rest}");
        let parsed = Config::parse(&secure, dir.path(), &[]);
        let texts = |mistakes: Vec<crate::config::Mistake>| mistakes.iter().map(ToString::to_string).collect();
        parsed.map_err(texts).map(|config| config.admin.unwrap().secure.unwrap().roles)
    }

    const TLS: &str = "tls: { certificate: pem, private_key: pem, client_auth: required, client_ca: pem }";

    #[test]
    fn roles_are_for_those_whom_a_list_covers_and_never_for_the_anonymous() {
        let lists = "roles: { auditor: ['User:aud.*'], operator: 'User:*' }";
        let roles = parse(&format!("bind: 127.0.0.1:9645, {TLS}, {lists}")).unwrap();
        let has = |name: &str, role| roles.grant(&Principal::user(name), role);
        assert!(has("auditor", Role::Auditor) && has("auditor", Role::Operator));
        assert!(!has("ops", Role::Auditor) && has("ops", Role::Operator));
        assert!(!has("ANONYMOUS", Role::Operator));
        assert!(!Roles::default().grant(&Principal::user("auditor"), Role::Auditor));
    }

    #[test]
    fn what_would_let_everybody_or_nobody_in_is_refused_all_at_once() {
        let found = parse("bind: 127.0.0.1:9644, tls: off").unwrap_err();
        for expected in [
            "admin.secure.bind (line 1): port 9644 is also claimed by admin.bind",
            "admin.secure.tls (line 1): the secure listener cannot be plaintext",
            "admin.secure.roles (line 1): `roles` is missing",
        ] {
            let met = found.iter().any(|mistake| mistake.starts_with(expected));
            // Two addresses are compared when both sections are sound.
            assert!(met || expected.contains("claimed"), "missing: {expected}\n{found:#?}");
        }
        let optional = TLS.replace("required", "optional");
        let found = parse(&format!("bind: 127.0.0.1:9644, {optional}, roles: {{ auditor: [], ops: x }}")).unwrap_err();
        for expected in [
            "admin.secure.tls.client_auth (line 1): roles need to know who asks",
            "admin.secure.roles (line 1): nobody has a role here",
            "admin.secure.roles.ops (line 1): unknown key `ops`",
        ] {
            assert!(found.iter().any(|mistake| mistake.starts_with(expected)), "missing: {expected}\n{found:#?}");
        }
        let found = parse(&format!("bind: 127.0.0.1:9644, {TLS}, roles: {{ auditor: 'User:a' }}")).unwrap_err();
        assert!(found.iter().any(|m| m.contains("port 9644 is also claimed by admin.bind")), "{found:#?}");
    }
}
