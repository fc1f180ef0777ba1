//! Who is calling: what is known of a connection, and what a request proved.
//!
//! Arrives: a connection that TLS has accepted, and the headers of a request on it. Leaves: a [`Caller`], one for each request, which
//! streams that stay open keep and ask about again. `rest::auth` makes callers; everything else of the bridge takes them as they
//! are. What must never happen here: a credential kept, logged, or compared in a time that depends on it.

use std::net::SocketAddr;
use std::time::SystemTime;

use super::auth::Ground;
use crate::identity::Principal;

/// What is known of a connection before its first request. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Who its client certificate names; `None` when it showed none. A certificate whose name the rules refuse gets no connection.
    pub certificate: Option<Principal>,
    /// The SHA-256 of that certificate (DER), for tokens that are bound to one (RFC 8705).
    pub thumbprint: Option<[u8; 32]>,
    /// Whether it is TLS: credentials in the clear are not taken.
    pub encrypted: bool,
}

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose keys, grants and quota the request has.
    pub principal: Principal,
    /// How that was shown.
    pub proof: Proof,
    /// When it ends: a token's `exp`. A certificate that ends closes its connection instead.
    pub expires: Option<SystemTime>,
    /// What the proof rests on, for `rest::auth` to ask about again.
    pub ground: Ground,
    /// The replica that passed the request on, and said all this; `None` when the caller is here itself.
    pub replica: Option<Principal>,
    /// Where the caller is, when it is not at the other end of the connection.
    pub peer: Option<SocketAddr>,
}

/// How a caller showed who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// By nothing: only where `rest[].anonymous: accept` is written.
    Nothing,
    /// HTTP Basic, RFC 7617.
    Basic,
    /// A bearer token, RFC 6750.
    Bearer,
    /// A client certificate.
    Certificate,
}

impl Caller {
    /// A caller at the other end of the connection.
    pub fn new(principal: Principal, proof: Proof, expires: Option<SystemTime>, ground: Ground) -> Self {
        Self { principal, proof, expires, ground, replica: None, peer: None }
    }

    /// The caller that a client certificate names.
    pub fn certified(principal: Principal) -> Self {
        Self::new(principal, Proof::Certificate, None, Ground::Connection)
    }

    /// A caller that proved nothing.
    pub fn anonymous() -> Self {
        Self::new(Principal::anonymous(), Proof::Nothing, None, Ground::Connection)
    }

    /// Whether the proof has ended by itself.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

impl Proof {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Nothing, Self::Basic, Self::Bearer, Self::Certificate];

    /// The word in logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Basic => "basic",
            Self::Bearer => "bearer",
            Self::Certificate => "certificate",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_proof_ends_at_its_moment() {
        let now = SystemTime::now();
        let mut caller = Caller::anonymous();
        assert!(!caller.is_expired(now));
        caller.expires = Some(now + Duration::from_secs(1));
        assert!(!caller.is_expired(now));
        assert!(caller.is_expired(now + Duration::from_secs(1)));
    }
}
