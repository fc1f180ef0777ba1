//! Who a client is: the principal, in the form in which Kafka's own ACLs write it.
//! A client certificate arrives (already verified by TLS); a [`Principal`] leaves. Nothing here verifies a signature or a
//! path: a certificate that TLS did not verify must never reach this module.

mod certificate;
mod mapping;
mod subject;

use std::fmt;
use std::sync::Arc;

pub use certificate::{CertificateNames, NameRefusal, PrincipalRule, PrincipalSource};
pub use mapping::{MappingRules, RuleRefusal};

/// An authenticated name, `User:NAME`, or `User:ANONYMOUS` for a connection that proved nothing.
/// Cheap to clone: it is carried by every request of a connection.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal(Arc<str>);

impl Principal {
    /// The principal of a connection without a client certificate.
    pub fn anonymous() -> Self {
        Self::user("ANONYMOUS")
    }

    /// The principal `User:{name}`.
    pub fn user(name: &str) -> Self {
        Self(format!("{USER}{name}").into())
    }

    /// Reads `User:NAME`; `None` when the prefix is missing or the name is empty.
    pub fn parse(text: &str) -> Option<Self> {
        text.strip_prefix(USER).filter(|name| !name.is_empty()).map(Self::user)
    }

    /// The whole text, `User:NAME`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without `User:`.
    pub fn name(&self) -> &str {
        self.0.strip_prefix(USER).unwrap_or(&self.0)
    }

    /// Whether the connection proved nothing.
    pub fn is_anonymous(&self) -> bool {
        self.name() == "ANONYMOUS"
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Kafka's principal type for clients; the only one that its default authorizer knows.
const USER: &str = "User:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_written_as_kafka_writes_it() {
        assert_eq!(Principal::user("CN=alice").as_str(), "User:CN=alice");
        assert_eq!(Principal::anonymous().to_string(), "User:ANONYMOUS");
        assert!(Principal::anonymous().is_anonymous());
        assert_eq!(Principal::parse("User:bob"), Some(Principal::user("bob")));
        assert_eq!(Principal::parse("User:bob").map(|p| p.name().to_owned()).as_deref(), Some("bob"));
        assert_eq!(Principal::parse("Group:bob"), None);
        assert_eq!(Principal::parse("User:"), None);
    }
}
