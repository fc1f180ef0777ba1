//! `clients`: which principals get an identity of their own without an operator's command.
//! A mapping arrives, a list of [`EnrolmentRule`] leaves. Anonymous connections are never enrolled: an identity that
//! everybody shares would be a key that everybody shares.

use super::key::{Key, Kind, key};
use super::mistake::Refusal;
use super::pattern::PrincipalPattern;
use super::reader::Reader;
use super::values;

/// Principals that are enrolled when they first connect.
#[derive(Clone, Debug, PartialEq)]
pub struct EnrolmentRule {
    /// Whom the rule is about.
    pub principal: PrincipalPattern,
    /// Where their keys will live.
    pub custody: Custody,
}

/// Where a client's private keys live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Custody {
    /// With the client: never made here, so a matching principal is not enrolled by the gateway.
    Client,
    /// In the gateway, wrapped by the keystore.
    Gateway,
}

pub(super) fn parse(reader: Reader<'_>) -> Option<Vec<EnrolmentRule>> {
    let rules: Vec<_> = reader.sections("enroll").into_iter().map(parse_rule).collect();
    reader.finish();
    rules.into_iter().collect()
}

fn parse_rule(reader: Reader<'_>) -> Option<EnrolmentRule> {
    let principal =
        reader.required("principal", PrincipalPattern::parse, "write User:NAME or a pattern such as User:CN=.*");
    let choices = values::choice(&[("gateway", Custody::Gateway), ("client", Custody::Client)]);
    let custody = reader.required("custody", choices, "write gateway or client");
    if principal.as_ref().is_some_and(|pattern| pattern.as_str() == "User:ANONYMOUS") {
        let remedy = "enrol principals that prove who they are";
        reader.refuse("principal", Refusal::new("anonymous clients cannot have a key of their own", remedy));
    }
    reader.finish();
    Some(EnrolmentRule { principal: principal?, custody: custody? })
}

pub(super) const KEYS: &[Key] = &[
    key("clients", Kind::Section, "nobody is enrolled", "Which principals get an identity without a command."),
    key("clients.enroll", Kind::Entries, "none", "First match wins. Anonymous clients are never enrolled."),
    key(
        "clients.enroll[].principal",
        Kind::Text,
        "required",
        "`User:NAME`, or a regular expression over the whole of it; `User:*` is everyone.",
    ),
    key(
        "clients.enroll[].custody",
        Kind::Choice,
        "required",
        "`gateway`: keys are made here and wrapped by the keystore. `client`: the client brings its own.",
    ),
];
