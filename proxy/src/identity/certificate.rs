//! A client certificate that TLS has verified arrives, its principal leaves, by the rule of the listener.
//! The certificate's bytes come from a peer: a name that is missing, ambiguous, empty or reserved refuses the client. It
//! must never become anonymous instead, and two certificates must never share a name by a decoding accident.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{MappingRules, Principal, subject};

/// How a verified certificate becomes a principal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PrincipalRule {
    /// The part of the certificate that holds the name.
    pub from: PrincipalSource,
    /// Kafka's mapping rules, applied to that name.
    pub mapping_rules: MappingRules,
}

/// The part of a certificate that holds the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrincipalSource {
    /// The subject as RFC 2253 text, which is what Kafka takes.
    #[default]
    Subject,
    /// The only DNS name of the subject alternative name.
    SanDns,
    /// The only e-mail address of the subject alternative name.
    SanEmail,
    /// The only URI of the subject alternative name, such as a SPIFFE ID (a SPIFFE certificate has exactly one).
    SanUri,
}

impl PrincipalRule {
    /// The principal of a certificate (DER).
    pub fn principal(&self, certificate: &[u8]) -> Result<Principal, NameRefusal> {
        let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| NameRefusal::Malformed)?;
        let name = match self.from {
            PrincipalSource::Subject => subject::print(certificate.subject()).ok_or(NameRefusal::Malformed)?,
            source => alternative_name(&certificate, source)?,
        };
        self.mapping_rules.principal(&name)
    }
}

/// Why a verified certificate, or another name that was proved, has no principal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameRefusal {
    /// More than one name of the kind that the listener takes.
    #[error(
        "the certificate has {0} names of the kind that the listener takes its principal from; it needs exactly one"
    )]
    Ambiguous(usize),
    /// The rules made an empty name.
    #[error("the mapping rules leave an empty name")]
    Empty,
    /// The certificate or its names are not well-formed.
    #[error("the certificate's names are malformed")]
    Malformed,
    /// No name of the kind that the listener takes.
    #[error("the certificate has no name of the kind that the listener takes its principal from")]
    Missing,
    /// A certificate must not be taken for no certificate.
    #[error("the name ANONYMOUS is kept for clients that prove nothing")]
    Reserved,
    /// No rule matches.
    #[error("no mapping rule matches `{0}`; add one, or DEFAULT at the end")]
    Unmapped(String),
}

fn alternative_name(certificate: &X509Certificate<'_>, source: PrincipalSource) -> Result<String, NameRefusal> {
    let extension = certificate.subject_alternative_name().map_err(|_| NameRefusal::Malformed)?;
    let names = extension.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let mut found = names.iter().filter_map(|name| match (source, name) {
        (PrincipalSource::SanDns, GeneralName::DNSName(name)) => Some(*name),
        (PrincipalSource::SanEmail, GeneralName::RFC822Name(name)) => Some(*name),
        (PrincipalSource::SanUri, GeneralName::URI(name)) => Some(*name),
        _ => None,
    });
    let first = found.next().ok_or(NameRefusal::Missing)?;
    match found.count() {
        0 => Ok(first.to_owned()),
        more => Err(NameRefusal::Ambiguous(more + 1)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(common_name: &str, names: &[SanType]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = names.to_vec();
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    fn rule(from: PrincipalSource, rules: &str) -> PrincipalRule {
        PrincipalRule { from, mapping_rules: MappingRules::parse(rules).unwrap() }
    }

    #[test]
    fn the_subject_is_mapped_by_kafkas_rules() {
        let alice = certificate("Alice", &[]);
        let whole = PrincipalRule::default().principal(&alice);
        assert_eq!(whole, Ok(Principal::user("CN=Alice,O=Example")));
        let mapped = rule(PrincipalSource::Subject, "RULE:^CN=(.*?),O=Example$/$1/L").principal(&alice);
        assert_eq!(mapped, Ok(Principal::user("alice")));
        let unmapped = rule(PrincipalSource::Subject, "RULE:^CN=(.*?),O=Other$/$1/").principal(&alice);
        assert_eq!(unmapped, Err(NameRefusal::Unmapped("CN=Alice,O=Example".to_owned())));
    }

    #[test]
    fn alternative_names_must_be_the_only_one_of_their_kind() {
        let names = [
            SanType::URI("spiffe://example.com/shop".try_into().unwrap()),
            SanType::DnsName("a.example.com".try_into().unwrap()),
            SanType::DnsName("b.example.com".try_into().unwrap()),
            SanType::Rfc822Name("a@example.com".try_into().unwrap()),
        ];
        let shop = certificate("x", &names);
        let by = |from| rule(from, "DEFAULT").principal(&shop);
        assert_eq!(by(PrincipalSource::SanUri), Ok(Principal::user("spiffe://example.com/shop")));
        assert_eq!(by(PrincipalSource::SanEmail), Ok(Principal::user("a@example.com")));
        assert_eq!(by(PrincipalSource::SanDns), Err(NameRefusal::Ambiguous(2)));
        let bare = certificate("x", &[]);
        assert_eq!(rule(PrincipalSource::SanUri, "").principal(&bare), Err(NameRefusal::Missing));
        let mapped = rule(PrincipalSource::SanUri, r"RULE:^spiffe:\/\/example\.com\/(.*)$/$1/").principal(&shop);
        assert_eq!(mapped, Ok(Principal::user("shop")));
    }

    #[test]
    fn a_certificate_never_becomes_anonymous_or_nobody() {
        let rules = rule(PrincipalSource::Subject, "RULE:^CN=(.*?),.*$/$1/");
        assert_eq!(rules.principal(&certificate("ANONYMOUS", &[])), Err(NameRefusal::Reserved));
        assert_eq!(rules.principal(&certificate("", &[])), Err(NameRefusal::Empty));
        assert_eq!(rules.principal(b"no certificate"), Err(NameRefusal::Malformed));
    }

    #[test]
    fn a_truncated_certificate_is_refused_at_every_length() {
        let whole = certificate("alice", &[]);
        for length in 0..whole.len() {
            assert!(PrincipalRule::default().principal(whole.get(..length).unwrap()).is_err());
        }
    }
}
